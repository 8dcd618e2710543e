"""What comes of a form: the value, or the words that go beside its fields."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from auth.identity import AuthenticationFailed
from registry.errors import Problem, RegistryError

T = TypeVar("T")

# What whoever filled in a form can mend in it. Everything else is a page of its own.
_MENDABLE: Final = frozenset(
    {
        Problem.INVALID,
        Problem.NAME_TAKEN,
        Problem.NAME_INVALID,
        Problem.CONFLICT,
        Problem.EDITED,
        Problem.NOT_HERE,
    }
)

# Those of them that are about a name which was to be a new one.
_NAMES: Final = frozenset({Problem.NAME_TAKEN, Problem.NAME_INVALID})


class Words(dict[str, str]):
    """Words by the name of a field; "" for one that has none."""

    def __missing__(self, name: str) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class Attempt(Generic[T]):
    """What was tried: `value` if it went well, or else messages by field and one for the whole."""

    value: T | None = None
    errors: Mapping[str, str] = field(default_factory=Words)
    message: str = ""
    edited: bool = False
    """Whether somebody else changed meanwhile what was to be changed: both texts are to be shown."""

    @property
    def failed(self) -> bool:
        """Whether the form is to be shown again."""
        return bool(self.errors or self.message)


async def attempt(work: Awaitable[T], *, taken: str = "", missing: str = "") -> Attempt[T]:
    """Wait for the work and say what came of it; what no other words in the form would mend is raised.

    Args:
        work: What the form asks for.
        taken: The field with the name of something new.
        missing: The field with the name of something that is there already.
    """
    try:
        return Attempt(await work)
    except AuthenticationFailed as error:
        return Attempt(message=_sentence(str(error)))
    except RegistryError as error:
        if error.problem not in _MENDABLE:
            raise
        fields = error.detail.get("fields", {}) if isinstance(error.detail, dict) else {}
        if blamed := {Problem.NOT_HERE: missing}.get(error.problem, taken if error.problem in _NAMES else ""):
            fields = fields or {blamed: error.message}
        words = Words({name: _sentence(text) for name, text in fields.items()})
        return Attempt(
            errors=words,
            message="" if words else _sentence(error.message),
            edited=error.problem is Problem.EDITED,
        )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
