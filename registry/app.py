"""The only wiring: settings → stores → registry → handlers. Made in each worker process, after the fork."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from auth.identity import Authenticator
from auth.jwk import KeyRing
from auth.tokens import ExternalIssuer, TokenIssuer, TokenVerifier
from registry.accounts import StoredAccounts, StoredThrottle
from registry.config import Settings
from registry.holds import UploadHolds
from registry.installation import database_of, grace_of, keys_of, passwords_of, shared_keys_of, store_of
from registry.jobs import collect, scrub
from registry.jobs.collect import Collector
from registry.jobs.lease import Job
from registry.jobs.showing import show_forever
from registry.jobs.sweep import Sweep
from registry.local import LocalRegistry, Rules
from registry.people import PasswordHashing
from registry.services import Services, make_services
from registry.shared_keys import SharedKeys
from registry.web import api
from registry.web.access import Gate
from registry.web.admission import Admission
from registry.web.api.problems import ProblemDocuments
from registry.web.background import BackgroundMetrics
from registry.web.callers import Callers
from registry.web.connection import MAX_FIELDS, MAX_LINE, Pacing
from registry.web.errors import error_middleware, render_document
from registry.web.events import EventStreams
from registry.web.observe import Metrics, Operation, add_headers
from registry.web.oci import Distribution, Limits
from registry.web.origin import Origins
from registry.web.outside import OutsideKeys
from registry.web.pages.account import Account
from registry.web.pages.administration import AdministrationPages
from registry.web.pages.assets import Assets
from registry.web.pages.keeping import Keeping
from registry.web.pages.organizations import OrganizationPages
from registry.web.pages.public import PublicPages
from registry.web.pages.reference import Reference
from registry.web.pages.shell import Shell
from registry.web.pages.signing import Signing
from registry.web.recall import Recall
from registry.web.runner import Runner
from registry.web.search import ClientSearch
from registry.web.tokens import Tokens
from storage.blobs import StoreUnavailable
from storage.metadata import backups, damage, repositories
from storage.metadata.engine import Metadata

# Hashing a password takes a core and megabytes: a few at once, the others wait in line.
_HASHING_THREADS: Final = 2

# Seconds that an idle connection stays open: longer than proxies keep theirs (60), so that it is not this
# end that closes one which a request is on its way over.
_KEEP_ALIVE: Final = 120

# Where refusals are documents, and not pages for people.
_FOR_PROGRAMS: Final = ("/v1/", "/v2", "/token", "/.well-known/", "/healthz", "/readyz", "/metrics")

RECALL: Final = web.AppKey("recall", Recall)
OPERATION: Final = web.AppKey("operation", Operation)

# What is read from a socket at once. Large bodies are the point of a registry.
_READ_SIZE: Final = 256 * 1024

_log = structlog.stdlib.get_logger("longshore.app")


async def make_runner(
    settings: Settings,
    metrics_directory: Path | None = None,
    sources: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> web.AppRunner:
    """Return what serves one process's requests; the database is migrated and the keys exist."""
    app = await make_app(settings, metrics_directory, sources)
    return Runner(
        app,
        app[RECALL],
        Admission(settings.connections, settings.connections_per_address, settings.trusted_proxies),
        Pacing(
            settings.head_timeout,
            settings.transfer_timeout,
            settings.transfer_timeout * settings.transfer_rate,
        ),
        app[OPERATION].note_ended,
        tls,
        access_log=None,  # registry.web.observe writes one line for each request
        keepalive_timeout=_KEEP_ALIVE,
        auto_decompress=False,  # blobs are stored as they come, whatever Content-Encoding says
        max_field_size=MAX_LINE,
        max_headers=MAX_FIELDS,
        max_line_size=MAX_LINE,
        read_bufsize=_READ_SIZE,
        shutdown_timeout=settings.shutdown_timeout,
    )


async def make_app(
    settings: Settings,
    metrics_directory: Path | None = None,
    sources: Mapping[str, str] | None = None,
) -> web.Application:
    """Return the application. `sources`: where each setting comes from, if that is known."""
    metadata = database_of(settings).open()
    store = store_of(settings, UploadHolds(metadata))
    try:
        await store.prepare()
    except StoreUnavailable as error:
        # It was there when the server started: a worker that comes later serves what it can, and says so.
        _log.error("storage is away", error=str(error))
    shared_keys = shared_keys_of(settings, metadata)
    if shared_keys is not None:
        await shared_keys.load()
    ring = keys_of(settings).ring if shared_keys is None else shared_keys.ring
    accounts = StoredAccounts(metadata, settings.refresh_token_lifetime)
    origins = Origins(settings.external_url, settings.trusted_proxies)
    outside = None if settings.outside_jwks is None else OutsideKeys(settings.outside_jwks)
    rules = Rules(
        sparse=settings.sparse,
        public=settings.default_visibility == "public",
        grace=grace_of(settings),
        uploads=settings.uploads_per_account,
    )
    verifier = _verifier(settings, ring, outside) if settings.auth == "on" else None
    local = LocalRegistry(metadata, store, rules)
    gate = Gate(local, accounts, verifier)
    threads = ThreadPoolExecutor(_HASHING_THREADS, thread_name_prefix="passwords")
    authenticator = _authenticator(settings, metadata, accounts, threads)
    services = make_services(settings, local, PasswordHashing(passwords_of(settings), threads), sources)
    callers = Callers(accounts, services.sessions, authenticator, verifier, origins)
    metrics = Metrics(metrics_directory)
    operation = _operation(settings, metadata, origins, metrics)
    assets = Assets()
    shell = Shell(callers, origins, assets, signup=settings.signup, open_access=verifier is None)
    surfaces = {
        "/api/": ProblemDocuments(origins, settings.service).render,
        **dict.fromkeys(_FOR_PROGRAMS, render_document),
        "": shell.render_refusal,
    }
    errors = error_middleware(origins, settings.service, surfaces)
    app = web.Application(middlewares=[operation.middleware(), errors])
    app[OPERATION] = operation
    app[RECALL] = Recall(metadata.version, operation)
    app.on_response_prepare.append(add_headers)
    app.add_routes(operation.routes())
    limits = Limits(settings.manifest_limit, settings.page_limit)
    app.add_routes(Distribution(gate, limits, redirects=store.redirects).routes())
    app.add_routes(ClientSearch(gate, callers, services.search).routes())
    streams = EventStreams()
    app.on_shutdown.append(streams.close)
    app.add_routes(api.routes(services, callers, streams))
    _add_pages(app, services, callers, shell, _public(services, shell, assets, origins))
    if verifier is not None:
        issuer = TokenIssuer(ring, settings.service, settings.service, settings.token_lifetime)
        app.add_routes(Tokens(accounts, authenticator, issuer, ring, origins).routes())
    app.cleanup_ctx.append(_background(settings, local, outside, shared_keys, metrics.background))
    return app


def _operation(settings: Settings, metadata: Metadata, origins: Origins, metrics: Metrics) -> Operation:
    return Operation(
        # As a write: the thread that writes may be stuck where reading still works.
        partial(metadata.write, repositories.exists, "library/readiness"),
        metrics,
        origins,
        expose=settings.metrics,
        metrics_token=None if settings.metrics_token is None else settings.metrics_token.get_secret_value(),
    )


def _add_pages(
    app: web.Application, services: Services, callers: Callers, shell: Shell, public: PublicPages
) -> None:
    organizations, invitations = services.organizations, services.invitations
    for pages in (
        Signing(shell, callers, invitations),
        Account(shell, callers, services.people, services.access_tokens, services.sessions),
        OrganizationPages(shell, organizations, invitations, services.access_tokens),
        AdministrationPages(shell, services.administration, services.people, invitations),
        Reference(shell),
    ):
        app.add_routes(pages.routes())
    public.add_to(app, Keeping(shell, services.catalog, organizations).routes())


def _public(services: Services, shell: Shell, assets: Assets, origins: Origins) -> PublicPages:
    return PublicPages(
        shell,
        assets,
        origins,
        catalog=services.catalog,
        search=services.search,
        images=services.images,
        statistics=services.statistics,
        people=services.people,
        watch=services.watch,
    )


def _verifier(settings: Settings, ring: Callable[[], KeyRing], outside: OutsideKeys | None) -> TokenVerifier:
    external: list[ExternalIssuer] = []
    if outside is not None and settings.outside_issuer is not None and settings.outside_audience is not None:
        external.append(ExternalIssuer(settings.outside_issuer, settings.outside_audience, outside.current))
    return TokenVerifier(ring, settings.service, settings.service, external)


def _authenticator(
    settings: Settings, metadata: Metadata, accounts: StoredAccounts, threads: Executor
) -> Authenticator:
    return Authenticator(
        accounts,
        passwords_of(settings),
        StoredThrottle(metadata),
        threads,
        concurrency=_HASHING_THREADS,
    )


def _background(
    settings: Settings,
    local: LocalRegistry,
    outside: OutsideKeys | None,
    shared_keys: SharedKeys | None,
    counts: BackgroundMetrics,
) -> Callable[[web.Application], AsyncIterator[None]]:
    metadata = local.metadata

    async def run(_: web.Application) -> AsyncIterator[None]:
        sweep = Sweep(metadata, local.store, settings.upload_ttl)
        collector = Collector(metadata, local.store, local.rules.grace, counts.count_collected)
        collecting = Job(metadata, collect.NAME, settings.gc_interval, collector, counts.of_job(collect.NAME))
        work: list[Awaitable[None]] = [
            collecting.run_forever(),
            Job(metadata, "sweep", settings.sweep_interval, sweep, counts.of_job("sweep")).run_forever(),
            local.statistics.run_forever(),
            show_forever(metadata, damage.count, counts.show_damaged),
            show_forever(metadata, backups.finished_at, counts.show_backup),
        ]
        if settings.scrub_rate:
            scrubbing = scrub.Scrub(
                metadata, local.store, settings.scrub_rate, counts.count_read, counts.count_damage
            )
            scrubs = Job(metadata, "scrub", scrub.INTERVAL, scrubbing, counts.of_job("scrub"))
            work.append(scrubs.run_forever())
        if outside is not None:
            await outside.refresh()
            work.append(outside.keep_fresh())
        if shared_keys is not None:
            work.append(shared_keys.keep_fresh())
        tasks = [asyncio.ensure_future(each) for each in work]
        yield
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await local.statistics.finish()
        await metadata.close()

    return run
