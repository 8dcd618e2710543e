"""What every end-to-end test may ask for."""

from collections.abc import Generator, Iterator
from typing import Protocol, runtime_checkable

import pytest
from playwright.sync_api import Browser, StorageState

from .browser import Visitors, chromium
from .clients import Account
from .process import running
from .seed import Hub, seed
from .server import Server


@runtime_checkable
class Logged(Protocol):
    """A fixture with a log that explains a failure."""

    def log_tail(self) -> str:
        """The end of the log."""


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server; an indirect parameter gives it other settings than the defaults."""
    folder = tmp_path_factory.mktemp("server")
    with running(Server(folder, getattr(request, "param", None))) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of one file, which have no async ones among them: Playwright has the loop."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def hub(server: Server) -> Hub:
    """The server with people and content, which the tests of one file share."""
    return seed(server)


@pytest.fixture(scope="module")
def signed_in(server: Server) -> dict[Account, StorageState]:
    """The cookies of those who have signed in at the server."""
    return {}


@pytest.fixture
def visitors(browser: Browser, server: Server, signed_in: dict[Account, StorageState]) -> Iterator[Visitors]:
    """Visitors of the server; what they complain about fails the test."""
    visitors = Visitors(browser, server.url, signed_in)
    yield visitors
    complaints = visitors.finish()
    assert not complaints, "\n".join(complaints)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with each failure what the servers and engines that the test uses had to say."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for name, value in item.funcargs.items():
            if isinstance(value, Logged):
                report.sections.append((f"log of {name}", value.log_tail()))
    return report
