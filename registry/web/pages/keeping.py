"""Keeping repositories: making, editing, renaming and deleting them and their tags."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from auth.policy import Role
from registry.catalog import CATEGORIES, Catalog, Details
from registry.descriptions import RepositoryEdit
from registry.errors import Problem, RegistryError
from registry.organizations import Organizations
from registry.web.pages.attempts import Attempt, Words, attempt
from registry.web.pages.paths import repository_in, version_of
from registry.web.pages.repository import in_frame
from registry.web.pages.shell import Shell, Visitor, see_other

ROLES: Final = (("read", "Read"), ("write", "Write"), ("admin", "Admin"))

_MAX_ORGANIZATIONS: Final = 100


class Keeping:
    """The handlers of `/repositories/new` and of what changes a repository, behind its name."""

    def __init__(self, shell: Shell, catalog: Catalog, organizations: Organizations) -> None:
        self._shell = shell
        self._catalog = catalog
        self._organizations = organizations

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        one = "/r/{name:.+}/-"
        tag = one + "/tags/{tag}/-"
        return [
            # Before those of the repository, whose name would take in the whole path of a tag.
            web.get(tag + "/settings", self.get_tag_settings),
            web.post(tag + "/settings", self.deprecate_tag),
            web.post(tag + "/delete", self.delete_tag),
            web.get("/repositories/new", self.get_new),
            web.post("/repositories/new", self.create),
            web.get(one + "/settings", self.get_settings),
            web.post(one + "/settings", self.edit),
            web.post(one + "/visibility", self.set_visibility),
            web.post(one + "/archive", self.set_archived),
            web.post(one + "/rename", self.rename),
            web.post(one + "/roles", self.set_role),
            web.get(one + "/delete", self.confirm_deletion),
            web.post(one + "/delete", self.delete),
        ]

    # -- making ----------------------------------------------------------------------------------------

    async def get_new(self, request: web.Request) -> web.StreamResponse:
        """Show the form for a repository."""
        visitor = await self._shell.require_login(request)
        said = {"namespace": request.query.get("namespace", visitor.name)}
        return await self._show_new(request, visitor, said, Attempt())

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Make a repository that nothing was pushed to yet."""
        visitor = await self._shell.require_login(request)
        form = await self._shell.read_form(request)
        name = f"{form.get('namespace', '').strip()}/{form.get('name', '').strip()}"
        edit = RepositoryEdit(summary=form.get("summary", ""), public=form.get("visibility") == "public")
        tried = await attempt(
            self._catalog.create(visitor.identity, name, edit), taken="name", missing="namespace"
        )
        if tried.value is None:
            return await self._show_new(request, visitor, form, tried)
        return see_other(f"/r/{tried.value.card.name}", notice="created")

    async def _show_new(
        self, request: web.Request, visitor: Visitor, said: Mapping[str, str], tried: Attempt[Any]
    ) -> web.Response:
        mine = await self._organizations.organizations(visitor.identity, mine=True, limit=_MAX_ORGANIZATIONS)
        own = [visitor.name] if visitor.signed_in else []
        official = ["library"] if visitor.administers else []
        return self._shell.render(
            request,
            "repository/new.html",
            status=422 if tried.failed else 200,
            namespaces=[*own, *(each.name for each in mine.items), *official],
            said=Words(said or {}),
            tried=tried,
        )

    # -- settings --------------------------------------------------------------------------------------

    async def get_settings(self, request: web.Request) -> web.StreamResponse:
        """Show what can be changed, to whoever may change something."""
        visitor = await self._shell.require_login(request)
        return await self._show_settings(request, visitor, None, Attempt())

    async def edit(self, request: web.Request) -> web.StreamResponse:
        """Change what the repository says of itself."""
        visitor = await self._shell.require_login(request)
        fields = await self._shell.read_fields(request)
        chosen = [value for name, value in fields if name == "category"]
        form = {**dict(fields), "categories": " ".join(chosen)}
        edit = RepositoryEdit(
            summary=form.get("summary", ""),
            overview=form.get("overview", ""),
            categories=chosen,
            deprecation=form.get("deprecation", "").strip() or None,
        )
        name = repository_in(request)
        change = self._catalog.edit(visitor.identity, name, edit, version=version_of(form))
        return await self._settle(request, visitor, change, form)

    async def set_visibility(self, request: web.Request) -> web.StreamResponse:
        """Let everybody pull, or only those with a role."""
        visitor, form = await self._form(request)
        edit = RepositoryEdit(public=form.get("visibility") == "public")
        change = self._catalog.edit(visitor.identity, repository_in(request), edit)
        return await self._settle(request, visitor, change)

    async def set_archived(self, request: web.Request) -> web.StreamResponse:
        """Close the repository to pushes, or open it again."""
        visitor, form = await self._form(request)
        edit = RepositoryEdit(archived=form.get("archived") == "yes")
        change = self._catalog.edit(visitor.identity, repository_in(request), edit)
        return await self._settle(request, visitor, change)

    async def rename(self, request: web.Request) -> web.StreamResponse:
        """Give the repository another name, maybe in another namespace."""
        visitor, form = await self._form(request)
        name = repository_in(request)
        change = self._catalog.rename(visitor.identity, name, form.get("new_name", "").strip())
        tried = await attempt(change, taken="name", missing="name")
        if tried.value is None:
            return await self._show_settings(request, visitor, form, tried)
        return see_other(f"/r/{tried.value.card.name}/-/settings", notice="renamed")

    async def set_role(self, request: web.Request) -> web.StreamResponse:
        """Give a person a role, or take it away."""
        visitor, form = await self._form(request)
        role = Role.__members__.get(form.get("role", "").upper())
        person = form.get("person", "").strip()
        change = self._catalog.set_role(visitor.identity, repository_in(request), person, role)
        return await self._settle(request, visitor, change, form, missing="person")

    async def _settle(
        self,
        request: web.Request,
        visitor: Visitor,
        change: Awaitable[object],
        said: Mapping[str, str] | None = None,
        missing: str = "",
    ) -> web.StreamResponse:
        tried = await attempt(change, missing=missing)
        if tried.failed:
            return await self._show_settings(request, visitor, said, tried)
        return see_other(f"/r/{repository_in(request)}/-/settings", notice="saved")

    async def _show_settings(
        self,
        request: web.Request,
        visitor: Visitor,
        said: Mapping[str, str] | None,
        tried: Attempt[Any],
    ) -> web.Response:
        details = await self._kept(visitor, repository_in(request))
        roles: Sequence[object] = ()
        if "admin" in details.may:
            roles = await self._catalog.roles(visitor.identity, details.card.name)
        return self._render(
            request, "settings", details, tried, said=Words(said or {}), collaborators=roles, role_names=ROLES
        )

    # -- deleting --------------------------------------------------------------------------------------

    async def confirm_deletion(self, request: web.Request) -> web.StreamResponse:
        """Say what goes with the repository."""
        visitor = await self._shell.require_login(request)
        return await self._show_deletion(request, visitor, Attempt())

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Delete the repository."""
        visitor, form = await self._form(request)
        name = repository_in(request)
        if form.get("confirm") != name:
            wrong: Attempt[None] = Attempt(errors=Words(confirm="This is not its name"))
            return await self._show_deletion(request, visitor, wrong)
        await self._catalog.delete(visitor.identity, name)
        return see_other("/", notice="deleted")

    async def _show_deletion(
        self, request: web.Request, visitor: Visitor, tried: Attempt[Any]
    ) -> web.Response:
        details = await self._kept(visitor, repository_in(request))
        goes = await self._catalog.consequences(visitor.identity, details.card.name)
        return self._render(request, "delete", details, tried, goes=goes)

    # -- tags ------------------------------------------------------------------------------------------

    async def get_tag_settings(self, request: web.Request) -> web.StreamResponse:
        """Show what is told to whoever pulls by the tag, and what goes with its deletion."""
        visitor = await self._shell.require_login(request)
        return await self._show_tag(request, visitor, {}, Attempt())

    async def deprecate_tag(self, request: web.Request) -> web.StreamResponse:
        """Tell whoever pulls by the tag something, or nothing any more."""
        visitor, form = await self._form(request)
        name, tag = repository_in(request), request.match_info["tag"]
        text = form.get("deprecation", "").strip() or None
        tried = await attempt(self._catalog.deprecate_tag(visitor.identity, name, tag, text))
        if tried.failed:
            return await self._show_tag(request, visitor, form, tried)
        return see_other(f"/r/{name}/-/tags/{tag}", notice="saved")

    async def _show_tag(
        self, request: web.Request, visitor: Visitor, said: Mapping[str, str], tried: Attempt[Any]
    ) -> web.Response:
        name, tag = repository_in(request), request.match_info["tag"]
        details = await self._kept(visitor, name)
        row = await self._catalog.tag(visitor.identity, name, tag)
        goes = await self._catalog.consequences(visitor.identity, name, tag)
        return self._render(
            request, "tag_settings", details, tried, goes=goes, row=row, said=Words(said or {})
        )

    async def delete_tag(self, request: web.Request) -> web.StreamResponse:
        """Delete the tag."""
        visitor, _ = await self._form(request)
        name, tag = repository_in(request), request.match_info["tag"]
        await self._catalog.delete_tag(visitor.identity, name, tag)
        return see_other(f"/r/{name}/-/tags", notice="deleted")

    # -- what all of them share ------------------------------------------------------------------------

    async def _kept(self, visitor: Visitor, name: str) -> Details:
        """Return the repository if the visitor may change something in it."""
        details = await self._catalog.repository(visitor.identity, name)
        if not details.may:
            raise RegistryError(Problem.DENIED)
        return details

    async def _form(self, request: web.Request) -> tuple[Visitor, Mapping[str, str]]:
        visitor = await self._shell.require_login(request)
        return visitor, await self._shell.read_form(request)

    def _render(
        self, request: web.Request, page: str, details: Details, tried: Attempt[Any], **values: Any
    ) -> web.Response:
        return self._shell.render(
            request,
            f"repository/{page}.html",
            status=422 if tried.failed else 200,
            **in_frame(details, "/-/settings"),
            tried=tried,
            all_categories=CATEGORIES,
            **values,
        )
