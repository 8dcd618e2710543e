"""The S3 store: what it does, and what clients can reach of it."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Final, TypeVar

import aiohttp
from yarl import URL

from registry.cli.checks.address import why_unreached
from registry.cli.checks.configuration import is_well_known
from registry.cli.checks.findings import (
    Finding,
    aside,
    clock_finding,
    fault,
    ok,
    show_seconds,
    warning,
    words_of,
)
from registry.config import Settings
from registry.installation import UNTRUSTED_ADVICE, place_of
from storage.blobs import BlobStoreError, StoreUntrusted
from storage.s3_probe import S3Probe

T = TypeVar("T")

_CHECK: Final = "storage"
_REDIRECT: Final = "redirects"

# S3 refuses what is signed a quarter of an hour off.
_CLOCK_WARNS: Final = 60
_CLOCK_FAILS: Final = 15 * 60

_CLIENT_SECONDS: Final = 10

# Bytes that are asked for.
_END: Final = 5

_RIGHTS: Final = (
    "allow these credentials s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on "
    "the prefix, s3:ListBucket and s3:ListBucketMultipartUploads on the bucket"
)


async def check_bucket(settings: Settings, storage: str) -> Sequence[Finding]:
    """Look at a bucket, with objects that are removed afterwards."""
    probe = await aside(lambda: S3Probe(place_of(settings, storage)))
    found = [*_secret_findings(probe)]
    found += await _clock_finding(probe)
    try:
        await aside(probe.find_bucket)
    except StoreUntrusted as error:
        return [*found, fault(_CHECK, f"{storage} cannot be used: {words_of(error)}", UNTRUSTED_ADVICE)]
    except BlobStoreError as error:
        advice = (
            "mend storage, s3_endpoint and s3_region, and the credentials (AWS_ACCESS_KEY_ID …); or make it"
        )
        return [*found, fault(_CHECK, f"{storage} cannot be used: {words_of(error)}", advice)]
    async with _cleaned(probe, found):
        found += [each async for each in _semantics(probe)]
        if settings.s3_redirect:
            found.append(await check_redirect(probe, settings))
    return found


def _secret_findings(probe: S3Probe) -> Iterator[Finding]:
    secret = probe.secret_key
    if secret is not None and is_well_known(secret):
        yield warning(_CHECK, "the secret key of the store can be guessed", "give the store another one")


async def _clock_finding(probe: S3Probe) -> Sequence[Finding]:
    try:
        offset = await aside(probe.clock_offset)
    except BlobStoreError:
        return []  # that it does not answer is said next
    if offset is None:
        return []
    return [clock_finding("storage clock", offset, warn=_CLOCK_WARNS, fail=_CLOCK_FAILS)]


@contextlib.asynccontextmanager
async def _cleaned(probe: S3Probe, found: list[Finding]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        try:
            await aside(probe.clean_up)
        except BlobStoreError as error:
            left = f"could not remove what was put under {probe.folder}: {words_of(error)}"
            found.append(fault(_CHECK, left, _RIGHTS))


async def _semantics(probe: S3Probe) -> AsyncIterator[Finding]:
    seconds = await _try("an object is not written, read and removed", probe.write_and_read)
    if isinstance(seconds, Finding):
        yield seconds
    else:
        yield ok(_CHECK, f"an object was written, read and removed in {show_seconds(seconds)}")
    parts = await _try("an object of two parts is not made, and read by range", probe.write_parts)
    yield parts or ok(_CHECK, "an object of two parts was made, and read by range")
    aborted = await _try("an upload of parts is not given up", probe.abort_parts)
    yield aborted or ok(_CHECK, "an upload of parts was given up")
    knows = await _try("an object is not written on a condition", probe.knows_conditions)
    if isinstance(knows, Finding):
        yield knows
    else:
        words = "keeps an object where it is asked to (If-None-Match)" if knows else "knows no If-None-Match"
        yield ok(_CHECK, f"{words}; longshore does not need it")


async def _try(otherwise: str, call: Callable[[], T]) -> T | Finding:
    try:
        return await aside(call)
    except BlobStoreError as error:
        return fault(_CHECK, f"{otherwise}: {words_of(error)}", _RIGHTS)


async def check_redirect(probe: S3Probe, settings: Settings) -> Finding:
    """Get an object as a client does that is sent to the store."""
    try:
        url, content = await aside(probe.presign)
    except BlobStoreError as error:
        return fault(_REDIRECT, f"no object is there to be sent to: {words_of(error)}", _RIGHTS)
    where = settings.s3_public_endpoint or settings.s3_endpoint or "Amazon's S3"
    advice = (
        "set s3_public_endpoint to where clients reach the store, and have a proxy there keep Host; or set "
        "s3_redirect = false"
    )
    try:
        status, body = await _get_end(url, content)
    except aiohttp.ClientConnectorCertificateError as error:
        found = f"clients do not trust the store at {where}: {error.certificate_error}"
        return fault(_REDIRECT, found, "give it a certificate that clients trust, or set s3_redirect = false")
    except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as error:
        return fault(_REDIRECT, f"{where} is not reached: {why_unreached(error)}", advice)
    if status == 206 and body == content[-_END:]:
        return ok(_REDIRECT, f"{where} gives clients a range of an object")
    if status == 200:
        found = f"{where} gives a whole object where a range is asked for"
        return fault(
            _REDIRECT, found, "let what is in front of the store pass Range; or set s3_redirect = false"
        )
    return fault(_REDIRECT, f"{where} answers {status} to a presigned URL", advice)


async def _get_end(url: str, content: bytes) -> tuple[int, bytes]:
    headers = {"Range": f"bytes={len(content) - _END}-{len(content) - 1}", "Accept-Encoding": "identity"}
    timeout = aiohttp.ClientTimeout(total=_CLIENT_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as response,
    ):
        return response.status, await response.content.read(64 * 1024)
