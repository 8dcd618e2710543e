"""Light or dark: a cookie, so that the page comes in the right colours at once."""

from typing import Final

from aiohttp import web

from registry.web.origin import Origins
from registry.web.pages.shell import THEME, Shell, local_path, see_other

_YEAR: Final = 365 * 24 * 3600


class Theme:
    """The handler of the choice at the foot of each page."""

    def __init__(self, shell: Shell, origins: Origins) -> None:
        self._shell = shell
        self._origins = origins

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.post("/theme", self.choose_theme)]

    async def choose_theme(self, request: web.Request) -> web.StreamResponse:
        """Remember the choice and go back. It is a matter of taste: whoever sends the form may choose."""
        form = await self._shell.read_open_form(request)
        response = see_other(local_path(form.get("next")))
        theme = form.get(THEME)
        if theme in ("light", "dark"):
            secure = self._origins.base_url(request).startswith("https:")
            response.set_cookie(THEME, theme, max_age=_YEAR, path="/", secure=secure, samesite="Lax")
        else:
            response.del_cookie(THEME, path="/")
        return response
