"""Suites in which registries are measured beside each other: on one disk, in one run, in turns.

Every round measures each workload on one registry after the other, so that what else the machine does meets
all of them. Only longshore has access control: each of its requests carries a token, which it verifies.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from benchmarks import workloads
from benchmarks.large import MIB, Source
from benchmarks.peers import Kind, Peer, distribution, docker_registry, longshore, olareg
from benchmarks.results import Measured, Suite
from benchmarks.run import Plan, say
from benchmarks.usage import Watch
from benchmarks.workloads import Bench, Workload
from tests.e2e.certificates import make_certificate
from tests.e2e.process import running
from tests.postgres import running_postgres
from tests.storage.servers import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, S3Server

# MiB
_LARGE: Final = 512
_HUGE: Final = 2048
_OBJECT: Final = 512

T = TypeVar("T")

Running = Callable[[Kind, Path], AbstractContextManager[Peer]]


def plain(plan: Plan, suite: Suite) -> None:
    """HTTP without TLS, on a directory."""
    wanted = (*workloads.SMALL, *workloads.HEADS, *workloads.LARGE, *workloads.IMAGES)
    kinds = (longshore(), docker_registry(), distribution(), olareg())
    _beside(plan, suite, kinds, wanted, Kind.running)
    if plan.wants(suite, "plain write"):
        _write_plainly(plan, suite)


def native_tls(plan: Plan, suite: Suite) -> None:
    """TLS as each of them speaks it."""
    tls = make_certificate(plan.folder / "tls", "127.0.0.1")
    wanted = (*workloads.SMALL, *workloads.LARGE, *workloads.FEWER_IMAGES)
    kinds = (longshore(), distribution(), olareg())
    _beside(plan, suite, kinds, wanted, lambda kind, folder: kind.running(folder, tls))


def nginx(plan: Plan, suite: Suite) -> None:
    """TLS by the nginx of deploy/ in front of each of them."""
    tls = make_certificate(plan.folder / "tls", "127.0.0.1")
    wanted = (*workloads.SMALL, *workloads.LARGE, *workloads.FEWER_IMAGES)
    kinds = (longshore(), distribution(), olareg())
    _beside(plan, suite, kinds, wanted, lambda kind, folder: kind.behind_nginx(folder, tls))


def busy(plan: Plan, suite: Suite) -> None:
    """Small requests beside large ones. Each is started anew for each round: it would fill the disk."""
    kept = Source.make(plan.folder / "kept", _LARGE * MIB, "kept")
    fresh = Source.make(plan.folder / "fresh", _HUGE * MIB, "fresh")
    kinds = (longshore(), docker_registry(), distribution(), olareg())
    suite.servers = [kind.name for kind in kinds]
    for number in range(plan.rounds if plan.chosen(suite, workloads.BUSY) else 0):
        for kind in _turned(kinds, number):
            folder = plan.folder / "server"
            with kind.running(folder) as peer:
                bench = Bench(peer, kept, fresh, pushes=number)
                bench.fill()
                _measure(suite, workloads.BUSY, [bench], number)
            shutil.rmtree(folder)


def objects(plan: Plan, suite: Suite) -> None:
    """Blobs on one MinIO, metadata in PostgreSQL; with redirects to the store, and without."""
    wanted = (*workloads.OBJECTS, *workloads.SMALL, *workloads.HEADS, *workloads.FEWER_IMAGES)
    chosen = plan.chosen(suite, wanted)
    if not chosen:
        return
    plan.folder.chmod(0o755)  # PostgreSQL runs under its own account
    kept = Source.make(plan.folder / "kept", _OBJECT * MIB, "kept")
    fresh = Source.make(plan.folder / "fresh", _OBJECT * MIB, "fresh")
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        (plan.folder / "s3").mkdir()
        s3 = stack.enter_context(running(S3Server("minio", plan.folder / "s3")))
        benches: list[Bench] = []
        for make in (partial(ours, s3, postgres.create()), partial(_theirs, s3)):
            at = plan.folder / str(len(benches))
            sending = stack.enter_context(make(redirect=True).running(at / "redirect"))
            passing = stack.enter_context(make(redirect=False).running(at / "through"))
            bench = Bench(sending, kept, fresh, plan.seconds, through=passing)
            bench.fill()
            benches.append(bench)
        suite.servers = [bench.peer.name for bench in benches]
        for number in range(plan.rounds):
            _measure(suite, chosen, _turned(benches, number), number)


def _beside(
    plan: Plan, suite: Suite, kinds: Sequence[Kind], wanted: Sequence[Workload], run: Running
) -> None:
    chosen = plan.chosen(suite, wanted)
    if not chosen:
        return
    suite.servers = [kind.name for kind in kinds]
    kept = Source.make(plan.folder / "kept", _LARGE * MIB, "kept")
    fresh = Source.make(plan.folder / "fresh", _LARGE * MIB, "fresh")
    with ExitStack() as stack:
        benches = []
        for kind in kinds:
            peer = stack.enter_context(run(kind, plan.folder / kind.name.split()[0]))
            benches.append(Bench(peer, kept, fresh, plan.seconds))
            benches[-1].fill()
        for number in range(plan.rounds):
            # Whoever comes first meets a colder machine: they take turns at that as well.
            _measure(suite, chosen, _turned(benches, number), number)


def _measure(suite: Suite, wanted: Sequence[Workload], benches: Sequence[Bench], number: int) -> None:
    for workload in wanted:
        for bench in benches:
            with Watch(*bench.pids) as watch:
                measured = workload.measure(bench)
            suite.note(workload.row(), bench.peer.name, measured, watch)
            say(suite, number, workload.row(), bench.peer.name, measured.value)
            # More may have been measured than this suite shows.
            for row, value in zip(workload.also, measured.also, strict=False):
                suite.note(row, bench.peer.name, Measured(value))


def _turned(each: Sequence[T], number: int) -> Sequence[T]:
    number %= len(each)
    return [*each[number:], *each[:number]]


def _write_plainly(plan: Plan, suite: Suite) -> None:
    """Write what is pushed to a file and sync it: what the disk takes, without a registry."""
    source = Source.make(plan.folder / "source", _LARGE * MIB, "plain")
    for _ in range(plan.rounds):
        os.sync()
        began = time.perf_counter()
        with source.path.open("rb") as file, (plan.folder / "copy").open("wb", buffering=0) as copy:
            while data := file.read(MIB):
                copy.write(data)
            os.fdatasync(copy.fileno())
        rate = source.size / MIB / (time.perf_counter() - began)
        suite.references.setdefault("A plain write of the same bytes with one sync, MiB/s", []).append(rate)
        (plan.folder / "copy").unlink()


def ours(s3: S3Server, database: str, *, redirect: bool, **settings: str) -> Kind:
    """Return longshore as a node of a team."""
    return longshore(
        LONGSHORE_STORAGE=f"s3://{BUCKET}/longshore",
        LONGSHORE_S3_ENDPOINT=s3.endpoint,
        LONGSHORE_S3_REGION=REGION,
        LONGSHORE_S3_REDIRECT=str(redirect).lower(),
        LONGSHORE_DATABASE=database,
        LONGSHORE_KEYS_SECRET="nothing secret in a benchmark, only long",
        AWS_ACCESS_KEY_ID=ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY=SECRET_KEY,
        **settings,
    )


def _theirs(s3: S3Server, *, redirect: bool) -> Kind:
    bucket = {
        "accesskey": ACCESS_KEY,
        "secretkey": SECRET_KEY,
        "region": REGION,
        "regionendpoint": s3.endpoint,
        "forcepathstyle": True,
        "secure": False,
        "bucket": BUCKET,
        "rootdirectory": "/distribution",
    }
    return distribution(storage={"s3": bucket, "redirect": {"disable": not redirect}})
