"""What a caller asks for and what a token grants: sets of (type, name, actions).

The text form is the one of the Docker token specification
(https://distribution.github.io/distribution/spec/auth/scope/), the form in a token's `access` claim
is the one of https://distribution.github.io/distribution/spec/auth/jwt/.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, final

EVERY_ACTION: Final = "*"

MAX_ACCESSES: Final = 100
MAX_NAME: Final = 256
MAX_ACTIONS: Final = 16
_MAX_ITEM: Final = 1024

_TYPE: Final = re.compile(r"[a-z0-9]{1,64}")
_TYPE_WITH_CLASS: Final = re.compile(r"([a-z0-9]{1,64})(?:\([a-z0-9]{1,64}\))?")
_ACTION: Final = re.compile(r"[a-z]{1,32}|\*")
# Visible ASCII without what would end a quoted string: a scope is printed into WWW-Authenticate.
_NAME: Final = re.compile(rf"[!#-\[\]-~]{{1,{MAX_NAME}}}")


class InvalidScope(ValueError):
    """Text or claims that are no scope. The message is safe to show to the caller."""


@dataclass(frozen=True, slots=True)
class Access:
    """Some actions on one resource. `type` is "repository" or "registry"; "*" covers every action."""

    type: str
    name: str
    actions: frozenset[str]

    def __str__(self) -> str:
        return f"{self.type}:{self.name}:{','.join(sorted(self.actions))}"


@final
class Scope:
    """An immutable set of accesses, at most one for each (type, name).

    Actions of the same resource are merged, an access without actions is dropped, and "*" absorbs its
    neighbours. So equal rights are equal values, and `<=` is a partial order.
    """

    __slots__ = ("_actions",)

    _actions: Mapping[tuple[str, str], frozenset[str]]

    def __init__(self, accesses: Iterable[Access] = ()) -> None:
        merged: dict[tuple[str, str], frozenset[str]] = {}
        for access in accesses:
            if access.actions:
                key = (access.type, access.name)
                merged[key] = _absorb(merged.get(key, frozenset()) | access.actions)
        self._actions = merged

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Scope":
        """Read the values of repeated `scope` parameters, each of them space-separated items.

        An item is `type[(class)]:name:action[,action]`; the name may hold colons and the class is
        ignored. Raises InvalidScope for a malformed item and for more than MAX_ACCESSES items.
        """
        accesses: list[Access] = []
        for text in texts:
            if len(text) > MAX_ACCESSES * _MAX_ITEM:
                raise InvalidScope("the scope is too long")
            for item in text.split(" "):
                if item:
                    accesses.append(_parse_item(item))
                if len(accesses) > MAX_ACCESSES:
                    raise InvalidScope(f"a scope may name at most {MAX_ACCESSES} resources")
        return cls(accesses)

    @classmethod
    def from_claims(cls, claims: object) -> "Scope":
        """Read a token's `access` claim: a list of {"type", "name", "actions"}, other members ignored.

        Nothing is assumed about the shape. Raises InvalidScope.
        """
        if not isinstance(claims, list):
            raise InvalidScope("the access claim is not a list")
        if len(claims) > MAX_ACCESSES:
            raise InvalidScope(f"the access claim holds more than {MAX_ACCESSES} resources")
        return cls([_read_claim(claim) for claim in claims])

    def to_claims(self) -> list[dict[str, str | list[str]]]:
        """Return the `access` claim of a token, sorted."""
        return [{"type": each.type, "name": each.name, "actions": sorted(each.actions)} for each in self]

    def allows(self, type_: str, name: str, action: str) -> bool:
        """Whether `action` on this resource is covered: one dictionary lookup, it is on every request."""
        actions = self._actions.get((type_, name))
        return actions is not None and (action in actions or EVERY_ACTION in actions)

    def actions(self, type_: str, name: str) -> frozenset[str]:
        """Return the actions on this resource, empty where there are none."""
        return self._actions.get((type_, name), frozenset())

    def __iter__(self) -> Iterator[Access]:
        for (type_, name), actions in sorted(self._actions.items(), key=lambda item: item[0]):
            yield Access(type_, name, actions)

    def __len__(self) -> int:
        return len(self._actions)

    def __le__(self, other: "Scope") -> bool:
        return all(
            _covers(other._actions.get(key, frozenset()), actions) for key, actions in self._actions.items()
        )

    def __and__(self, other: "Scope") -> "Scope":
        return Scope(
            Access(*key, _intersect(actions, other._actions[key]))
            for key, actions in self._actions.items()
            if key in other._actions
        )

    def __or__(self, other: "Scope") -> "Scope":
        return Scope([*self, *other])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scope) and self._actions == other._actions

    def __hash__(self) -> int:
        return hash(frozenset(self._actions.items()))

    def __str__(self) -> str:
        return " ".join(map(str, self))

    def __repr__(self) -> str:
        return f"Scope.parse([{str(self)!r}])"


def _absorb(actions: frozenset[str]) -> frozenset[str]:
    return frozenset((EVERY_ACTION,)) if EVERY_ACTION in actions else actions


def _covers(granted: frozenset[str], actions: frozenset[str]) -> bool:
    return EVERY_ACTION in granted or actions <= granted


def _intersect(left: frozenset[str], right: frozenset[str]) -> frozenset[str]:
    if EVERY_ACTION in left:
        return right
    return left if EVERY_ACTION in right else left & right


def _parse_item(item: str) -> Access:
    # The name may hold colons (a host with a port), so the type ends at the first and the actions
    # start at the last.
    type_, _, rest = item[:_MAX_ITEM].partition(":")
    name, _, actions = rest.rpartition(":")
    match = _TYPE_WITH_CLASS.fullmatch(type_)
    if len(item) > _MAX_ITEM or match is None:
        raise InvalidScope(f"{_quote(item)} is not of the form type:name:actions")
    return _access(match[1], name, actions.split(","), item)


def _read_claim(claim: object) -> Access:
    if not isinstance(claim, dict):
        raise InvalidScope("the access claim holds something that is not an object")
    type_, name, actions = claim.get("type"), claim.get("name"), claim.get("actions")
    if not isinstance(type_, str) or not isinstance(name, str) or not isinstance(actions, list):
        raise InvalidScope("an access claim needs a type, a name and a list of actions")
    texts = [action for action in actions if isinstance(action, str)]
    if len(texts) != len(actions) or _TYPE.fullmatch(type_) is None:
        raise InvalidScope("an access claim holds a type or an action that is no word")
    return _access(type_, name, texts, name)


def _access(type_: str, name: str, actions: list[str], shown: str) -> Access:
    if _NAME.fullmatch(name) is None:
        raise InvalidScope(f"the name in {_quote(shown)} is empty, too long or holds a forbidden character")
    if len(actions) > MAX_ACTIONS or not all(map(_ACTION.fullmatch, actions)):
        raise InvalidScope(f"the actions in {_quote(shown)} are not words separated by commas")
    return Access(type_, name, frozenset(actions))


def _quote(text: str) -> str:
    # ascii() so that the message can be logged and sent in a header whatever was in the request.
    return ascii(text if len(text) <= 80 else text[:77] + "...")
