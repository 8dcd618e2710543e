"""Clients that push and pull in loops while parts of a cluster are killed, cut off, throttled and restarted.

Clients try again as a Docker engine does: some times, with growing pauses. Each operation has to end well
that way, and what was acknowledged has to be there at the end, whole.
"""

import asyncio
import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import pytest

from tests.storage.proxy import Proxy, Refuse

from .clients import Account, go_tool
from .cluster import Cluster, running_cluster
from .images import Image, gzip_layer, image, tar
from .process import Daemon, child_environment, free_port, running, wait_until
from .wire import CONNECTION_LOST, UnexpectedAnswer, Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

KIB: Final = 1024

# Pauses between tries: more than half a minute together, as dockerd waits.
PAUSES: Final = (1, 2, 4, 8, 15, 15)

PUSHERS: Final = 3
PULLERS: Final = 2

REPOSITORY: Final = "storm/images"


class Toxiproxy:
    """A proxy on the way to the S3 server, which slows down and cuts."""

    def __init__(self, folder: Path, upstream_port: int) -> None:
        self.port = free_port()
        self._upstream_port = upstream_port
        self._api = free_port()
        argv = (go_tool("toxiproxy-server"), "-host", "127.0.0.1", "-port", str(self._api))
        self._daemon = Daemon(argv, folder / "toxiproxy.log", child_environment(LOG_LEVEL="error"))

    def start(self) -> None:
        """Start it and let it pass everything on."""
        self._daemon.start()
        self._daemon.wait_ready(lambda: self._answers)
        listen, upstream = f"127.0.0.1:{self.port}", f"127.0.0.1:{self._upstream_port}"
        self._send(
            "POST", "/proxies", {"name": "s3", "listen": listen, "upstream": upstream, "enabled": True}
        )

    def stop(self) -> None:
        """End it."""
        self._daemon.stop()

    @contextlib.contextmanager
    def toxic(self, kind: str, stream: str, **attributes: int) -> Iterator[None]:
        """Disturb while the block runs; `kind` and `attributes` are toxiproxy's."""
        toxic = {"name": kind, "type": kind, "stream": stream, "attributes": attributes}
        self._send("POST", "/proxies/s3/toxics", toxic)
        try:
            yield
        finally:
            self._send("DELETE", f"/proxies/s3/toxics/{kind}")

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Take no connection, and end those that there are."""
        self._send("POST", "/proxies/s3", {"enabled": False})
        try:
            yield
        finally:
            self._send("POST", "/proxies/s3", {"enabled": True})

    @property
    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            self._send("GET", "/version")
            return True
        return False

    def _send(self, method: str, target: str, body: object = None) -> None:
        connection = HTTPConnection("127.0.0.1", self._api, timeout=30)
        connection.request(method, target, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        assert answer.status < 300, said


class Throttle:
    """An S3 endpoint that can answer 503 to everything, in a loop of its own."""

    def __init__(self, upstream_port: int) -> None:
        self._proxy = Proxy(f"http://127.0.0.1:{upstream_port}")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._running = self._proxy.running()

    @property
    def endpoint(self) -> str:
        """Where nodes find it."""
        return self._proxy.endpoint

    def start(self) -> None:
        """Start it."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._running.__aenter__(), self._loop).result(30)

    def stop(self) -> None:
        """End it."""
        asyncio.run_coroutine_threadsafe(self._running.__aexit__(None, None, None), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse while the block runs, as S3 does those that ask too much."""
        self._proxy.fault = lambda _: Refuse(503, "SlowDown")
        try:
            yield
        finally:
            self._proxy.fault = lambda _: None


@dataclass
class Storm:
    """Clients in loops."""

    cluster: Cluster
    user: Account
    acknowledged: dict[str, Image] = field(default_factory=dict)
    pulls: int = 0
    failures: list[str] = field(default_factory=list)
    _ended: Counter[int] = field(default_factory=Counter)
    """What each client has done, whether it ended well or not."""
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def raging(self) -> Iterator[None]:
        """Push and pull while the block runs; what is under way at its end is finished."""
        with ThreadPoolExecutor(PUSHERS + PULLERS) as threads:
            loops = [threads.submit(self._push_in_a_loop, number) for number in range(PUSHERS)]
            loops += [threads.submit(self._pull_in_a_loop, number) for number in range(PULLERS)]
            try:
                yield
            finally:
                self._over.set()
            for loop in loops:
                loop.result()

    def wait_for(self, pushes: int, pulls: int) -> None:
        """Return when so many more of each have ended well, and what each client was about has ended.

        Else the next fault would meet a client that has used up its patience with the last one.
        """
        before, ended = (len(self.acknowledged), self.pulls), self._ended.copy()

        def done() -> bool:
            enough = len(self.acknowledged) >= before[0] + pushes and self.pulls >= before[1] + pulls
            return enough and all(self._ended[client] > ended[client] for client in ended)

        wait_until(lambda: done() or bool(self.failures), "clients go on", 180)
        assert not self.failures, self.failures

    def _push_in_a_loop(self, worker: int) -> None:
        numbers = random.Random(worker)
        count = 0
        while not self._over.is_set() and not self.failures:
            tag = f"{worker}-{count}"
            contents = [numbers.randbytes(size) for size in self._sizes(numbers)]
            pushed = image([gzip_layer(tar({tag: content}), 0) for content in contents])
            if self._persist(f"push {tag}", partial(self._push, tag, pushed)):
                with self._lock:
                    self.acknowledged[tag] = pushed
            count += 1

    def _sizes(self, numbers: random.Random) -> list[int]:
        # One in four has a layer of several parts.
        large = [20_000 * KIB] if numbers.random() < 0.25 else []
        return [numbers.randrange(1, 300 * KIB) for _ in range(3)] + large

    def _pull_in_a_loop(self, worker: int) -> None:
        numbers = random.Random(1000 + worker)
        while not self._over.is_set() and not self.failures:
            with self._lock:
                tags = list(self.acknowledged)
            if not tags:
                self._over.wait(0.1)
                continue
            tag = numbers.choice(tags)
            if self._persist(f"pull {tag}", partial(self._pull, self.cluster.host, tag)):
                with self._lock:
                    self.pulls += 1

    def _push(self, tag: str, pushed: Image) -> None:
        with Wire(self.cluster.host, REPOSITORY, self.user) as wire:
            for blob in pushed.blobs:
                if wire.head_blob(blob.digest).status == 200:
                    continue
                location = wire.start_upload()
                location = wire.patch_upload(location, [blob.data], 0, len(blob.data))
                wire.finish_upload(location, blob.digest)
            wire.push_manifest(tag, pushed.manifest)

    def _pull(self, host: str, tag: str) -> None:
        wanted = self.acknowledged[tag]
        with Wire(host, REPOSITORY, self.user) as wire:
            assert wire.manifest(tag) == wanted.manifest.data
            for blob in wanted.blobs:
                assert wire.blob(blob.digest) == blob.data

    def _persist(self, what: str, work: Callable[[], None]) -> bool:
        """Try as often as a patient client; note a failure that stays, with all that was said."""
        try:
            return self._try_often(what, work)
        finally:
            self._ended[threading.get_ident()] += 1

    def _try_often(self, what: str, work: Callable[[], None]) -> bool:
        said = []
        for pause in (*PAUSES, None):
            try:
                work()
            except (UnexpectedAnswer, *CONNECTION_LOST) as error:
                said.append(f"{time.strftime('%X')} {type(error).__name__}: {error}")
                if pause is not None:
                    time.sleep(pause)
            except AssertionError as error:
                said.append(f"wrong bytes: {error}")
                break
            else:
                return True
        self.failures.append(f"{what}: {said}")
        return False

    def audit(self) -> None:
        """Require that every acknowledged tag is whole, by way of every node."""
        for node in self.cluster.nodes:
            for tag in self.acknowledged:
                self._pull(node.host, tag)


@dataclass(frozen=True)
class Site:
    """A cluster whose nodes reach S3 by way of what disturbs."""

    cluster: Cluster
    toxiproxy: Toxiproxy
    throttle: Throttle
    storm: Storm


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("faults")
    with contextlib.ExitStack() as stack:
        s3_port = free_port()
        toxiproxy = stack.enter_context(running(Toxiproxy(folder, s3_port)))
        throttle = stack.enter_context(running(Throttle(toxiproxy.port)))
        settings = {"LONGSHORE_S3_REDIRECT": "false"}
        cluster = stack.enter_context(
            running_cluster(folder, settings=settings, s3_endpoint=throttle.endpoint, s3_port=s3_port)
        )
        user = cluster.add_user("storm", "rain and thunder")
        yield Site(cluster, toxiproxy, throttle, Storm(cluster, user))


def test_everything_ends_well_and_stays(site: Site) -> None:
    storm, cluster = site.storm, site.cluster
    with storm.raging():
        storm.wait_for(pushes=6, pulls=6)
        cluster.nodes[0].kill()
        storm.wait_for(pushes=3, pulls=3)
        cluster.nodes[0].start()
        storm.wait_for(pushes=3, pulls=3)
        with site.toxiproxy.toxic("latency", "downstream", latency=300, jitter=200):
            storm.wait_for(pushes=3, pulls=3)
        with site.toxiproxy.toxic("reset_peer", "downstream", timeout=50):
            time.sleep(4)
        storm.wait_for(pushes=3, pulls=3)
        with site.toxiproxy.away():
            time.sleep(8)
        storm.wait_for(pushes=3, pulls=3)
        with site.throttle.refusing():
            time.sleep(30)
        storm.wait_for(pushes=3, pulls=3)
        for mode, seconds in (("fast", 60), ("immediate", 0)):
            cluster.postgres.stop(mode)
            time.sleep(seconds)
            cluster.postgres.start()
            storm.wait_for(pushes=3, pulls=3)
        for node in cluster.nodes:
            node.restart()
            storm.wait_for(pushes=2, pulls=2)
    assert not storm.failures, storm.failures
    storm.audit()
