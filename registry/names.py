"""Repository names, tags and references (distribution specification, "Pulling manifests")."""

import re
from typing import Final

from registry.errors import Problem, RegistryError
from storage.digest import Digest, InvalidDigest

LIBRARY: Final = "library"
"""The namespace of names without a slash: `app` and `library/app` are the same repository."""

# What clients can write together with a host name.
MAX_NAME: Final = 255

# What would pass for the registry itself or for its keepers.
_KEPT: Final = frozenset(
    {
        LIBRARY,
        "admin",
        "administrator",
        "anonymous",
        "api",
        "docs",
        "explore",
        "login",
        "longshore",
        "me",
        "outside",
        "root",
        "search",
        "security",
        "settings",
        "static",
        "support",
        "system",
        "token",
    }
)

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_NAMESPACE: Final = re.compile(_COMPONENT)
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


class RepositoryName(str):
    """A valid repository name in full: `library/app`, never `app`."""

    __slots__ = ()

    @property
    def aliases(self) -> tuple[str, ...]:
        """Every way to write this name."""
        namespace, _, rest = self.partition("/")
        return (self, rest) if namespace == LIBRARY and "/" not in rest else (self,)


class Tag(str):
    """A valid tag."""

    __slots__ = ()


Reference = Tag | Digest


def parse_name(text: str) -> RepositoryName:
    """Check a repository name and write it in full.

    Raises:
        RegistryError: NAME_INVALID.
    """
    full = text if "/" in text else f"{LIBRARY}/{text}"
    if len(full) > MAX_NAME:
        raise RegistryError(Problem.NAME_INVALID, f"a repository name has at most {MAX_NAME} characters")
    if not _NAME.fullmatch(text):
        raise RegistryError(
            Problem.NAME_INVALID,
            "a repository name is made of lower-case letters, digits and single separators (. _ __ - /)",
        )
    return RepositoryName(full)


def is_namespace(text: str) -> bool:
    """Tell whether an account or a namespace may have this name."""
    return 2 <= len(text) <= 64 and _NAMESPACE.fullmatch(text) is not None


def is_new_namespace(text: str) -> bool:
    """Tell whether somebody may choose this name for themselves."""
    return is_namespace(text) and text not in _KEPT


def parse_tag(text: str) -> Tag:
    """Check a tag.

    Raises:
        RegistryError: MANIFEST_INVALID.
    """
    if not _TAG.fullmatch(text):
        raise RegistryError(
            Problem.MANIFEST_INVALID,
            "a tag has at most 128 letters, digits and . _ -, and starts with no . or -",
        )
    return Tag(text)


def parse_digest(text: str) -> Digest:
    """Check a digest.

    Raises:
        RegistryError: DIGEST_INVALID.
    """
    try:
        return Digest.parse(text)
    except InvalidDigest as error:
        raise RegistryError(Problem.DIGEST_INVALID, str(error)) from error


def parse_reference(text: str) -> Reference:
    """Check a reference: with a colon it is a digest, without one a tag.

    Raises:
        RegistryError: DIGEST_INVALID or MANIFEST_INVALID.
    """
    return parse_digest(text) if ":" in text else parse_tag(text)
