"""What services ask of a caller before they do something, and of text before they keep it."""

import re
from collections.abc import Mapping
from typing import Final

from auth.identity import Identity, Permission
from registry.errors import Problem, RegistryError

MAX_FULL_NAME: Final = 100
MAX_ABOUT: Final = 1000
MAX_WEBSITE: Final = 200

_WEBSITE: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][!-~]*)?")


def not_here() -> RegistryError:
    """Return the refusal of what is not there, or not for this caller's eyes: the two look the same."""
    return RegistryError(Problem.NOT_HERE)


def invalid(**fields: str) -> RegistryError:
    """Return the refusal of values, by the names of their fields."""
    message = "; ".join(f"{name}: {text}" for name, text in fields.items())
    return RegistryError(Problem.INVALID, message, detail={"fields": fields})


def require_account(caller: Identity) -> int:
    """Return the account of the caller.

    Raises:
        RegistryError: UNAUTHORIZED for nobody in particular; DENIED for who has no account here.
    """
    if caller.is_anonymous:
        raise RegistryError(Problem.UNAUTHORIZED)
    if caller.account_id is None:
        raise RegistryError(Problem.DENIED, "this takes an account of this registry")
    return caller.account_id


def require_login(caller: Identity, permission: Permission) -> None:
    """Return if somebody in particular asks, with nothing that is good for less than `permission`.

    Raises:
        RegistryError: UNAUTHORIZED or DENIED.
    """
    if caller.is_anonymous:
        raise RegistryError(Problem.UNAUTHORIZED)
    if not caller.may(permission):
        raise RegistryError(
            Problem.DENIED, f"the access token is not good for this: it takes {permission.name.lower()}"
        )


def require_administrator(caller: Identity) -> None:
    """Return if the caller administers the registry.

    Raises:
        RegistryError: UNAUTHORIZED or DENIED.
    """
    require_login(caller, Permission.ADMIN)
    if not caller.administers:
        raise RegistryError(Problem.DENIED, "this is for administrators")


def check_version(asked: int | None, stored: int) -> None:
    """Return if an edit is one of what is stored.

    Raises:
        RegistryError: EDITED.
    """
    if asked is not None and asked != stored:
        raise RegistryError(Problem.EDITED)


def check_line(name: str, text: str, limit: int) -> str:
    """Return one line of text without the space around it.

    Raises:
        RegistryError: INVALID.
    """
    text = text.strip()
    if len(text) > limit:
        raise invalid(**{name: f"at most {limit} characters"})
    if not text.isprintable():
        raise invalid(**{name: "one line of printable characters"})
    return text


def check_text(name: str, text: str, limit: int) -> str:
    """Return text of several lines; limits count characters.

    Raises:
        RegistryError: INVALID.
    """
    text = text.replace("\r\n", "\n").strip()
    if len(text) > limit:
        raise invalid(**{name: f"at most {limit} characters"})
    if not all(each.isprintable() or each in "\n\t" for each in text):
        raise invalid(**{name: "no control characters"})
    return text


def check_profile(values: Mapping[str, str | None]) -> dict[str, str]:
    """Return those of full_name, about and website that were said, checked.

    Raises:
        RegistryError: INVALID.
    """
    said = {name: value for name, value in values.items() if value is not None}
    if "full_name" in said:
        said["full_name"] = check_line("full_name", said["full_name"], MAX_FULL_NAME)
    if "about" in said:
        said["about"] = check_text("about", said["about"], MAX_ABOUT)
    if "website" in said:
        said["website"] = check_line("website", said["website"], MAX_WEBSITE)
        if said["website"] and not _WEBSITE.fullmatch(said["website"]):
            raise invalid(website="an address that begins with http:// or https://")
    return said
