"""What a row of the table is: an attempt, and the refusal that is expected."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.attacks.town import LAYER, Town
from tests.e2e.wire import Answer

# What two refusals may differ in: what was asked for, ids and the time.
_ECHO: Final = re.compile(rb"sha(?:256|512):[0-9a-f]+|[0-9a-f]{16,}|[a-z]+/(?:secret|absent)\b|secret|absent")

# What tells more than the answer's kind: lengths follow from what was asked for.
_TELLING: Final = ("Content-Type", "WWW-Authenticate", "Location", "Cache-Control", "Range", "Link", "ETag")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What comes of an attempt: one answer of this status, unless `answers` says how many."""

    status: int
    says: str = ""
    """Somewhere in its headers or body."""
    never: str = ""
    """Nowhere in its headers and body."""
    alike: bool = False
    """The answers are about what is there and what is not, and cannot be told apart."""
    answers: int = 1

    def __str__(self) -> str:
        words = [str(self.status)]
        words += [f"`{self.says}`"] if self.says else []
        words += [f"never `{self.never}`"] if self.never else []
        return ", ".join([*words, "as for what is not there"] if self.alike else words)

    def faults(self, answers: Sequence[Answer]) -> Iterator[str]:
        """Yield what is otherwise than expected."""
        wanted = 2 if self.alike else self.answers
        if len(answers) != wanted:
            yield f"{len(answers)} answers, not {wanted}"
        for answer in answers:
            said = f"{answer.headers}\n{answer.body.decode(errors='replace')}"
            if answer.status != self.status:
                yield f"{answer.status}, not {self.status}: {said[:2000]}"
            if self.says not in said:
                yield f"does not say {self.says!r}: {said[:2000]}"
            if self.never and self.never in said:
                yield f"says {self.never!r}: {said[:2000]}"
            if LAYER.data in answer.body:
                yield "holds the secret"
        if self.alike and len({looks(each) for each in answers}) > 1:
            yield f"can be told apart: {[looks(each) for each in answers]}"


@dataclass(frozen=True, slots=True)
class Attack:
    """A row. `name` says what is tried, behind the topic that it belongs to."""

    name: str
    attempt: Callable[[Town], Answer | Sequence[Answer]]
    refusal: Refusal

    @property
    def topic(self) -> str:
        """What the attack is about."""
        return self.name.partition(": ")[0]

    def faults(self, town: Town) -> list[str]:
        """Try it; return what is otherwise than expected."""
        came = self.attempt(town)
        return list(self.refusal.faults([came] if isinstance(came, Answer) else came))


def looks(answer: Answer) -> tuple[object, ...]:
    """What somebody can tell an answer by, but for what they asked for themselves."""
    headers = [
        _ECHO.sub(b"x", (answer.headers[name] or "").encode("latin-1", "replace")) for name in _TELLING
    ]
    return answer.status, *headers, _ECHO.sub(b"x", answer.body)
