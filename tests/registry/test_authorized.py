"""Authorized asks for the right thing, before anything else, for every method of the protocol."""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Literal, cast

import pytest

from registry.authorized import Action, Authorized, Mount
from registry.errors import Problem, RegistryError
from registry.interface import Registry
from registry.names import RepositoryName
from tests.registry.content import refused

# What each method of the protocol takes; a method that is missing here has not been thought about.
ASKS: Final[dict[str, Action | Literal["mount", "catalog"]]] = {
    "find_manifest": "pull",
    "get_manifest": "pull",
    "put_manifest": "push",
    "delete_manifest": "delete",
    "delete_tag": "delete",
    "find_blob": "pull",
    "open_blob": "pull",
    "link_blob": "pull",
    "delete_blob": "delete",
    "mount_blob": "mount",
    "start_upload": "push",
    "get_upload": "push",
    "append_upload": "push",
    "finish_upload": "push",
    "cancel_upload": "push",
    "list_tags": "pull",
    "list_repositories": "catalog",
    "list_referrers": "pull",
}

Method = Callable[..., Coroutine[Any, Any, Any]]


def methods_of(class_: type) -> dict[str, Method]:
    """Return what the class itself defines, not what it inherits."""
    return {
        name: value
        for name, value in vars(class_).items()
        if inspect.iscoroutinefunction(value) and not name.startswith("_")
    }


METHODS: Final = methods_of(Registry)


class Journal:
    """An access and a registry that write down what they are asked."""

    def __init__(
        self,
        answer: RegistryError | bool = True,
        renamed: Mapping[RepositoryName, RepositoryName] | None = None,
    ) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.called: list[tuple[str, inspect.BoundArguments]] = []
        self.answer = answer
        self._renamed = dict(renamed or {})

    def _ask(self, *question: object) -> bool:
        assert not self.called, "asked too late"
        self.asked.append(question)
        if isinstance(self.answer, RegistryError):
            raise self.answer
        return self.answer

    async def require(self, repository: RepositoryName, action: Action) -> RepositoryName:
        self._ask(action, repository)
        return self._renamed.get(repository, repository)

    async def require_mount(self, repository: RepositoryName, source: RepositoryName | None) -> Mount:
        may_read = self._ask("mount", repository, source)
        renamed = None if source is None else self._renamed.get(source, source)
        return Mount(self._renamed.get(repository, repository), renamed, may_read)

    async def require_catalog(self) -> None:
        self._ask("catalog")

    def __getattr__(self, name: str) -> Method:
        signature = inspect.signature(METHODS[name])

        async def method(*args: object, **kwargs: object) -> str:
            self.called.append((name, signature.bind(self, *args, **kwargs)))
            return f"the result of {name}"

        return method


def arguments_of(method: Method) -> tuple[list[object], dict[str, object]]:
    """Return a value of its own for each parameter."""
    args: list[object] = []
    kwargs: dict[str, object] = {}
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY:
            kwargs[parameter.name] = object()
        else:
            args.append(RepositoryName(f"a/{parameter.name}"))
    return args, kwargs


async def call(journal: Journal, method: str) -> tuple[object, list[object], dict[str, object]]:
    args, kwargs = arguments_of(METHODS[method])
    authorized = Authorized(cast(Registry, journal), journal)
    return await getattr(authorized, method)(*args, **kwargs), args, kwargs


def question_for(method: str, args: list[object]) -> tuple[object, ...]:
    match ASKS[method]:
        case "catalog":
            return ("catalog",)
        case "mount":
            return ("mount", args[0], args[2])
        case action:
            return (action, args[0])


def test_every_method_of_the_protocol_was_thought_about() -> None:
    assert set(METHODS) == set(ASKS)
    assert not vars(Registry).get("__slots__")
    others = {name for name in vars(Registry) if not name.startswith("_")} - set(METHODS)
    assert not others, "the protocol has something that is no coroutine"


def test_every_method_is_written_out() -> None:
    assert set(methods_of(Authorized)) == set(METHODS)
    assert Authorized.__bases__ == (object,)
    assert not hasattr(Authorized, "__getattr__")


@pytest.mark.parametrize("method", METHODS)
def test_signatures_are_those_of_the_protocol(method: str) -> None:
    assert inspect.signature(getattr(Authorized, method)) == inspect.signature(METHODS[method])


@pytest.mark.parametrize("method", METHODS)
async def test_allowed_call_is_passed_on(method: str) -> None:
    journal = Journal()
    result, args, kwargs = await call(journal, method)
    assert journal.asked == [question_for(method, args)]
    [(name, bound)] = journal.called
    assert name == method
    assert bound == inspect.signature(METHODS[method]).bind(journal, *args, **kwargs)
    # What has no result hands over none.
    returns_nothing = inspect.signature(METHODS[method]).return_annotation is None
    assert result == (None if returns_nothing else f"the result of {method}")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("problem", [Problem.UNAUTHORIZED, Problem.DENIED])
async def test_denied_call_reaches_nothing(method: str, problem: Problem) -> None:
    journal = Journal(RegistryError(problem))
    with refused(problem) as caught:
        await call(journal, method)
    assert caught.value is journal.answer
    assert len(journal.asked) == 1
    assert journal.called == []


@pytest.mark.parametrize("method", [name for name, action in ASKS.items() if action != "catalog"])
async def test_call_is_passed_on_under_the_name_of_now(method: str) -> None:
    old, new = RepositoryName("a/repository"), RepositoryName("b/renamed")
    source, moved = RepositoryName("a/source"), RepositoryName("b/source")
    journal = Journal(renamed={old: new, source: moved})
    await call(journal, method)
    [(_, bound)] = journal.called
    assert bound.arguments["repository"] == new
    assert bound.arguments.get("source", moved) == moved


async def test_mount_without_the_pull_is_no_mount() -> None:
    journal = Journal(answer=False)
    result, _, _ = await call(journal, "mount_blob")
    assert result is None
    assert journal.called == []


async def test_mount_from_anywhere_asks_for_the_push() -> None:
    journal = Journal()
    target, digest = RepositoryName("a/b"), object()
    await Authorized(cast(Registry, journal), journal).mount_blob(target, cast(Any, digest), None)
    assert journal.asked == [("mount", target, None)]
