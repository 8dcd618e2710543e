"""What a check finds, and how checks are run: each for a limited time, and none ends the others."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from registry.setting_kinds import reason_of

T = TypeVar("T")

Result = Literal["ok", "warning", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and what to do about it where that is not as it should be."""

    check: str
    result: Result
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    """Return a finding that needs nothing done."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, advice: str) -> Finding:
    """Return a finding that somebody should look at."""
    return Finding(check, "warning", found, advice)


def fault(check: str, found: str, advice: str) -> Finding:
    """Return a finding with which the deployment does not work, or not for long."""
    return Finding(check, "fault", found, advice)


@dataclass(frozen=True, slots=True)
class Check:
    """A check, and how many seconds it may take."""

    name: str
    seconds: float
    run: Callable[[], Awaitable[Sequence[Finding]]]


async def examine(check: Check) -> Sequence[Finding]:
    """Run a check; that it fails or takes too long is a finding as well."""
    try:
        async with asyncio.timeout(check.seconds):
            return await check.run()
    except TimeoutError:
        found = f"there was no end to it within {check.seconds:g} seconds"
        return [fault(check.name, found, "find out what does not answer, and run this again")]
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks are still to be run
        return [
            fault(check.name, f"could not be checked: {words_of(error)}", "mend that, and run this again")
        ]


async def aside(work: Callable[[], T]) -> T:
    """Run something that blocks in a thread of its own, which nobody waits for when time is up."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # without an error it is what work() returns

    def run() -> None:
        result: T | None = None
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, daemon=True).start()
    return await done


def words_of(error: BaseException) -> str:
    """Say in a line what an error says."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {reason_of(error)}"
    return " ".join(str(error).split()) or type(error).__name__


def show_seconds(seconds: float) -> str:
    """Write a duration for people: 0.4 ms, 12 ms, 3.0 s, 5 minutes."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def clock_finding(check: str, offset: float, *, warn: float, fail: float) -> Finding:
    """Judge how many seconds another clock is ahead of this machine's."""
    if abs(offset) < warn:
        return ok(check, f"differs from this machine's by less than {show_seconds(max(abs(offset), 1))}")
    found = f"is {show_seconds(abs(offset))} {'ahead of' if offset > 0 else 'behind'} this machine's"
    kind = fault if abs(offset) > fail else warning
    return kind(check, found, "keep the clocks of all machines right with NTP (chrony, systemd-timesyncd)")
