"""Before it is parsed a request gets the answer of the ordinary way, or none at all."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import pytest

from registry.web import recall
from registry.web.connection import Connection
from tests.registry.web.live import Client, Live, Raw, connect, until
from tests.registry.web.test_connections import has_connections, server_of
from tests.registry.web.test_recall import APP, TARGETS, prepared

_TARGET: Final = TARGETS[0]
_KEPT: Final = TARGETS[:2] + TARGETS[3:6]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each request that could have been answered before it was parsed was."""
    answered: list[bool] = []
    ask = recall.Recall.at_once

    def noting(self: recall.Recall, sent: bytes, remote: str) -> bytes | None:
        answer = ask(self, sent, remote)
        answered.append(answer is not None)
        return answer

    monkeypatch.setattr(recall.Recall, "at_once", noting)
    monkeypatch.setattr(recall, "_LASTS", 60.0)  # however slow the machine is
    return answered


def head(
    client: Client, target: str = _TARGET, method: str = "GET", version: str = "1.1", **more: str
) -> bytes:
    fields: Mapping[str, str] = {"Host": "example.test", **client.headers, **more}
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items()]
    return f"{method} {target} HTTP/{version}\r\n{''.join(lines)}\r\n".encode()


async def ask(raw: Raw, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    await raw.write(sent)
    return await raw.read_answer(head=sent.startswith(b"HEAD "))


def told(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, dict[str, str], bytes]:
    """Return of an answer all but what each has of its own."""
    status, headers, body = answer
    own = {"date", "x-request-id"}
    assert own <= headers.keys()
    return status, {name: value for name, value in headers.items() if name not in own}, body


async def until_at_once(raw: Raw, sent: bytes, at_once: list[bool]) -> None:
    """Send the same until it is answered before it is parsed."""

    async def is_at_once() -> bool:
        assert (await ask(raw, sent))[0] == 200
        return at_once[-1]

    await until(is_at_once)


@pytest.mark.parametrize("target", _KEPT)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_same_head_gets_the_same_answer(
    live: Live, at_once: list[bool], method: str, target: str
) -> None:
    sent = head((await prepared(live))["reader"], target, method)
    at_once.clear()
    async with connect(live) as raw:
        answers = [await ask(raw, sent) for _ in range(4)]
    async with connect(live) as another:
        answers.append(await ask(another, sent))
    assert all(told(answer) == told(answers[0]) for answer in answers)
    kept = method == "GET" or "tags" not in target
    assert answers[0][0] == (200 if kept else 405)
    # Not all need be: what is counted is written now and then, which is a commit as well.
    assert any(at_once) == kept
    assert len({answer[1]["x-request-id"] for answer in answers}) == 5


@pytest.mark.parametrize("name", ["X-Request-ID", "x-request-id", "X-request-Id"])
async def test_each_request_keeps_its_own_id(live: Live, at_once: list[bool], name: str) -> None:
    client = (await prepared(live))["reader"]
    at_once.clear()
    async with connect(live) as raw:
        for own in ("one", "two", "three", "three"):
            answer = await ask(raw, head(client, **{name: own}))
            assert (answer[0], answer[1]["x-request-id"]) == (200, own)
        for bad in ("no id", ""):
            answer = await ask(raw, head(client, **{name: bad}))
            assert answer[1]["x-request-id"] not in {bad, "one", "three"}
    assert any(at_once) == (name != "X-request-Id")


async def test_two_ids_are_left_to_the_parser(live: Live, at_once: list[bool]) -> None:
    client = (await prepared(live))["reader"]
    sent = head(client).replace(b"\r\n\r\n", b"\r\nx-request-id: first\r\nX-Request-ID: second\r\n\r\n")
    at_once.clear()
    async with connect(live) as raw:
        for _ in range(3):
            assert (await ask(raw, sent))[1]["x-request-id"] == "first"
    assert not any(at_once)


@pytest.mark.parametrize(
    ("version", "more"),
    [("1.0", {}), ("1.0", {"Connection": "keep-alive"}), ("1.1", {"Connection": "close"})],
)
async def test_what_ends_its_connection_is_left_to_the_parser(
    live: Live, at_once: list[bool], version: str, more: dict[str, str]
) -> None:
    sent = head((await prepared(live))["reader"], version=version, **more)
    at_once.clear()
    answers = []
    for _ in range(3):
        async with connect(live) as raw:
            answers.append(await ask(raw, sent))
            if more.get("Connection") != "keep-alive":
                assert await raw.read_rest() == b""
    assert all(told(answer) == told(answers[0]) for answer in answers)
    assert not any(at_once)


async def test_heads_in_pieces_and_heads_together_are_answered_in_order(
    live: Live, at_once: list[bool]
) -> None:
    client = (await prepared(live))["reader"]
    one, two, unknown = (head(client, target) for target in TARGETS[:3])
    async with connect(live) as raw:
        wanted = {sent: told(await ask(raw, sent)) for sent in (one, two, unknown) for _ in range(2)}
        assert wanted[one] != wanted[unknown]
        for size in (1, 7, len(one) - 1):
            for start in range(0, len(one), size):
                await raw.write(one[start : start + size])
            assert told(await raw.read_answer()) == wanted[one]
        at_once.clear()
        await raw.write(one + unknown + two + one)
        assert [told(await raw.read_answer()) for _ in range(4)] == [
            wanted[each] for each in (one, unknown, two, one)
        ]
        assert not any(at_once)
        await until_at_once(raw, one, at_once)
        assert told(await ask(raw, one)) == wanted[one]


async def test_a_head_may_be_cut_anywhere(live: Live, at_once: list[bool]) -> None:
    """Also within the line of its id, which is looked for in what is no whole head then."""
    sent = head((await prepared(live))["reader"], X_Request_ID="mine")
    line = sent.index(b"X-Request-ID")
    for place in range(line - 4, line + len(b"X-Request-ID: mine\r\n") + 2):
        async with connect(live) as raw:
            await raw.write(sent[:place])
            await has_connections(live, _has_a_head_of(place))
            await raw.write(sent[place:])
            status, headers, _ = await raw.read_answer()
            assert (status, headers["x-request-id"]) == (200, "mine"), place
    assert not any(at_once)


def _has_a_head_of(size: int) -> Callable[[list[Connection]], bool]:
    return lambda all_: any(each._head_size == size for each in all_)


async def test_a_commit_ends_what_heads_are_known_by(live: Live, at_once: list[bool]) -> None:
    sent = head((await prepared(live))["reader"])
    async with connect(live) as raw:
        await until_at_once(raw, sent, at_once)
        live.disable("reader")
        assert (await ask(raw, sent))[0] == 401
        live.disable("reader", disabled=False)
        assert (await ask(raw, sent))[0] == 200
        assert at_once[-2:] == [False, False]


async def test_what_no_header_may_hold_is_left_to_the_parser(
    live: Live, at_once: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp refuses to write it; what is remembered must not get round that."""
    sent = head((await prepared(live))["reader"])
    monkeypatch.setattr("registry.web.observe.INERT", "x\r\nSet-Cookie: a=b")
    for _ in range(3):
        async with connect(live) as raw:
            await raw.write(sent)
            assert await raw.read_rest() == b""
    assert not any(at_once)


async def test_who_reads_nothing_is_not_answered_at_once(live: Live, at_once: list[bool]) -> None:
    """Answers that wait to be read would fill the memory: the ordinary way waits for them."""
    owner = (await prepared(live))["owner"]
    digest = await owner.push_blob(APP, bytes(60_000))
    sent = head(owner, f"/v2/{APP}/blobs/{digest}")
    async with connect(live) as raw:
        for _ in range(2):
            assert (await ask(raw, sent))[0] == 200
        [connection] = [each for each in server_of(live).connections if _is_of(each, raw)]
        assert isinstance(connection, Connection)
        received = connection._received
        while not connection._wire.get_write_buffer_size():
            await raw.write(sent)
            received += len(sent)
            await until(_has_received(connection, received))
        assert any(at_once)
        at_once.clear()
        await raw.write(sent)
        await until(_has_received(connection, received + len(sent)))
        assert not at_once


def _is_of(connection: object, raw: Raw) -> bool:
    assert isinstance(connection, Connection)
    return bool(connection._wire.get_extra_info("peername") == raw.writer.get_extra_info("sockname"))


def _has_received(connection: Connection, size: int) -> Callable[[], Awaitable[bool]]:
    async def has_received() -> bool:
        return connection._received == size

    return has_received
