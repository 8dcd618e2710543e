"""Where clients reach the registry: whether it is said, answers, and what it says of itself."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from registry.cli.checks.findings import Finding, fault, ok, warning, words_of
from registry.config import Settings
from registry.running import is_running
from registry.setting_kinds import is_loopback

_URL: Final = "external URL"
_ANSWER: Final = "answer"
_TOKENS: Final = "token address"
_PROXY: Final = "proxy"

_SECONDS: Final = 10

_REALM: Final = re.compile(r'Bearer\b.*?\brealm="([^"]*)"', re.IGNORECASE)

_EVERY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a server that listens there is

# What a proxy answers whose upstream does not.
_GATEWAY: Final = (502, 503, 504)

_FORWARD: Final = (
    "let the proxy set X-Forwarded-Proto to its scheme and X-Forwarded-Host to the Host it was asked for, "
    "put its address into trusted_proxies, and set external_url, on every node"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What GET /v2/ without credentials was answered."""

    status: int
    server: str
    is_registry: bool
    challenge: str
    location: str


def address_of(settings: Settings) -> str | None:
    """Return the URL, without a trailing slash, to ask at; None where a port is not known."""
    if settings.external_url is not None:
        return settings.external_url
    if settings.port == 0:
        return None
    scheme = "http" if settings.tls_certificate is None else "https"
    host = _EVERY_ADDRESS.get(settings.host, settings.host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"


async def check_address(settings: Settings) -> Sequence[Finding]:
    """Ask at the external URL, or where the server listens."""
    found = list(judge_setting(settings))
    url = address_of(settings)
    if url is None:
        return [*found, warning(_ANSWER, "nothing says at which port the server is", "say --external-url")]
    answer = await ask(url, settings)
    if isinstance(answer, Finding):
        return [*found, answer]
    refusal = judge_answer(url, answer)
    found.append(refusal)
    if refusal.result != "fault":
        found += [judge_challenge(url, answer, settings), *judge_server(answer, settings)]
    return found


async def is_answering(url: str) -> bool:
    """Tell whether a registry answers."""
    try:
        answer = await _get(url)
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
    return answer.is_registry and answer.status in (200, 401)


async def ask(url: str, settings: Settings) -> Answer | Finding:
    """Ask for /v2/ as a client does that knows nothing."""
    try:
        return await _get(url)
    except aiohttp.ClientConnectorCertificateError as error:
        found = f"the certificate of {url} is not trusted here: {error.certificate_error}"
        advice = (
            "serve a certificate for this name with the whole chain; where its authority is one's own, set "
            "SSL_CERT_FILE for this command to what clients were given"
        )
        return fault(_ANSWER, found, advice)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        found = f"{url} does not answer: {why_unreached(error)}"
        if settings.external_url is None and not is_running(settings):
            return warning(_ANSWER, found, "start the server: longshore serve")
        advice = "start the server, and let name, proxy and firewall lead to it; also from this machine"
        return fault(_ANSWER, found, advice)


def judge_setting(settings: Settings) -> Iterator[Finding]:
    """Judge external_url before anything is asked."""
    url = settings.external_url
    if url is None:
        if not is_loopback(settings.host) or settings.trusted_proxies:
            found = "external_url is not set: clients are sent for tokens to wherever they say they came"
            yield warning(_URL, found, "set external_url to where clients reach the registry")
        else:
            yield ok(_URL, f"it is for this machine alone, on {settings.host}")
        return
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        found = f"{url} is plain HTTP: clients refuse it, and passwords can be read on the way"
        yield warning(
            _URL, found, "serve HTTPS, by a proxy or with tls_certificate, and set external_url to that"
        )
    else:
        yield ok(_URL, url)


def judge_answer(url: str, answer: Answer) -> Finding:
    """Judge who answers."""
    if answer.status in range(300, 400):
        advice = "set external_url to where that leads"
        return fault(_ANSWER, f"{url}/v2/ leads elsewhere: {answer.location or answer.status}", advice)
    if answer.status in _GATEWAY and not answer.is_registry:
        found = f"a proxy answers {answer.status} at {url}: it does not reach the server"
        return fault(_ANSWER, found, "start the server, and name its address and port in the proxy")
    if not answer.is_registry or answer.status not in (200, 401):
        found = f"{url}/v2/ is answered with {answer.status}, and not by a registry"
        return fault(_ANSWER, found, "let the proxy pass every path, /v2/ too, to longshore as it is")
    return ok(_ANSWER, f"a registry answers at {url}")


def judge_challenge(url: str, answer: Answer, settings: Settings) -> Finding:
    """Judge where a client is sent for a token."""
    if answer.status == 200:
        if settings.auth == "off":
            return ok(_TOKENS, "there is none: auth is off")
        return fault(_TOKENS, "nobody is asked for a token", "run the server with these settings: auth = on")
    realm = _REALM.match(answer.challenge)
    if realm is None:
        found = f"no Bearer challenge comes through: {answer.challenge or 'none at all'}"
        return fault(_TOKENS, found, "let the proxy pass WWW-Authenticate, and ask for no credentials itself")
    there, here = urlsplit(realm[1]), urlsplit(url)
    if there.scheme != here.scheme:
        found = f"clients of {url} are sent to {realm[1]}: the scheme is another"
        return fault(_TOKENS, found, _FORWARD)
    if there.netloc != here.netloc:
        found = f"clients of {url} are sent to {realm[1]}: the host is another"
        return fault(_TOKENS, found, _FORWARD)
    return ok(_TOKENS, realm[1])


def judge_server(answer: Answer, settings: Settings) -> Iterator[Finding]:
    """Judge whether a proxy that answers is one that is known."""
    if answer.server == "longshore":
        return
    found = f"answers come by way of {answer.server or 'a proxy'}"
    if settings.trusted_proxies:
        yield ok(_PROXY, found)
    else:
        yield warning(
            _PROXY,
            f"{found}, and trusted_proxies is empty: all clients look like one, and wait for each other's "
            "wrong passwords",
            "put the proxy's address into trusted_proxies, and let it set X-Forwarded-For",
        )


def why_unreached(error: Exception) -> str:
    """Say in a line why there was no answer."""
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.strerror is not None:
        return error.os_error.strerror
    return "it takes too long" if isinstance(error, TimeoutError) else words_of(error)


async def _get(url: str) -> Answer:
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{url}/v2/", allow_redirects=False) as response,
    ):
        headers = response.headers
        return Answer(
            response.status,
            headers.get("Server", ""),
            headers.get("Docker-Distribution-Api-Version") == "registry/2.0",
            headers.get("WWW-Authenticate", ""),
            headers.get("Location", ""),
        )
