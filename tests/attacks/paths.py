"""Paths that lead elsewhere, and methods that nobody should have."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from tests.attacks.attack import Attack, Refusal
from tests.attacks.tokens import PULL
from tests.attacks.town import BOB, MALLORY, OWN, PRIVATE, Town
from tests.e2e.wire import Answer

# In every /etc/passwd, and in every file of a private key.
PASSWD: Final = "root:"
KEY: Final = "PRIVATE KEY"

UP: Final = ("..", "%2e%2e", "..%2f", "%2e%2e%2f", "..%5c", "..%252f", "%c0%ae%c0%ae")


def _get(target: str, town: Town) -> Answer:
    return town.ask("GET", target)


def _as_mallory(method: str, target: str, town: Town) -> Answer:
    return town.bearing(town.token(MALLORY, f"repository:{OWN}:pull,push"), method, target)


def _method(method: str, target: str, town: Town) -> Answer:
    return town.ask(method, target)


def _overridden(header: str, value: str, town: Town) -> Answer:
    """Ask for something harmless, with a header that some servers take for the real request."""
    return town.bearing(town.token(BOB, PULL), "GET", f"/v2/{PRIVATE}/tags/list", b"", **{header: value})


def _traced(town: Town) -> Answer:
    return town.ask("TRACE", "/", headers={"Cookie": "longshore_session=shown-to-scripts"})


def _page_instead(town: Town) -> Answer:
    return town.ask(
        "GET", "/", headers={"X-Original-URL": "/administration", "X-Rewrite-URL": "/administration"}
    )


def _static(target: str) -> Attack:
    return Attack(f"path: {target}", partial(_get, target), Refusal(404, never=PASSWD))


ATTACKS: Final[Sequence[Attack]] = [
    *(
        _static(f"/static/x/{up * 8 if up.endswith(('f', 'c')) else '/'.join([up] * 8) + '/'}etc/passwd")
        for up in UP
    ),
    _static("/static/../../../../../../etc/passwd"),
    _static("/static/x/%00/etc/passwd"),
    _static("/static//etc/passwd"),
    _static("/..;/..;/metrics/etc/passwd"),
    Attack(
        "path: a key as a blob",
        partial(_as_mallory, "GET", f"/v2/{OWN}/blobs/sha256:..%2f..%2f..%2fkeys%2fkey-000001.pem"),
        Refusal(400, "DIGEST_INVALID", never=KEY),
    ),
    Attack(
        "path: a key as a manifest",
        partial(_as_mallory, "GET", f"/v2/{OWN}/manifests/..%2f..%2fkeys%2fkey-000001.pem"),
        Refusal(404, "MANIFEST_UNKNOWN", never=KEY),
    ),
    Attack(
        "path: a key as an upload",
        partial(_as_mallory, "GET", f"/v2/{OWN}/blobs/uploads/..%2f..%2fkeys%2fkey-000001.pem"),
        Refusal(404, never=KEY),
    ),
    Attack(
        "path: an upload with a NUL in its id",
        partial(_as_mallory, "GET", f"/v2/{OWN}/blobs/uploads/%00"),
        Refusal(404, "BLOB_UPLOAD_UNKNOWN"),
    ),
    Attack(
        "path: a repository above all",
        partial(_as_mallory, "GET", "/v2/%2e%2e/%2e%2e/manifests/v1"),
        Refusal(400, "NAME_INVALID"),
    ),
    Attack(
        "path: another repository by a step up",
        partial(_as_mallory, "GET", f"/v2/{OWN}/%2e%2e/%2e%2e/{PRIVATE}/manifests/v1"),
        Refusal(400, "NAME_INVALID"),
    ),
    Attack(
        "path: another repository by an encoded slash",
        partial(_as_mallory, "GET", "/v2/alice%2fsecret/manifests/v1"),
        Refusal(401, "insufficient_scope"),
    ),
    Attack(
        "path: a name in capitals",
        partial(_as_mallory, "GET", "/v2/Alice/Secret/manifests/v1"),
        Refusal(400, "NAME_INVALID"),
    ),
    Attack(
        "path: a tag that is a path",
        partial(_as_mallory, "PUT", f"/v2/{OWN}/manifests/..%2fv1"),
        Refusal(400, "MANIFEST_INVALID"),
    ),
    Attack(
        "path: a mount from above all",
        partial(_as_mallory, "POST", f"/v2/{OWN}/blobs/uploads/?mount=sha256:../..&from=../.."),
        Refusal(400, "DIGEST_INVALID"),
    ),
    Attack("path: the interface by two slashes", partial(_get, "//api/v1/me"), Refusal(404)),
    Attack(
        "path: the administration by a detour", partial(_get, "/explore/..;/administration"), Refusal(404)
    ),
    Attack("path: the administration in capitals", partial(_get, "/ADMINISTRATION"), Refusal(404)),
    Attack(
        "path: metrics by a proxy",
        lambda town: town.ask("GET", "/metrics", headers={"X-Forwarded-For": "127.0.0.1"}),
        Refusal(404),
    ),
    Attack("path: bytes that are no text", partial(_get, "/r/%ff%fe/%80"), Refusal(404)),
    Attack("method: TRACE", _traced, Refusal(405, never="shown-to-scripts")),
    *(
        Attack(f"method: {each}", partial(_method, each, "/v2/"), Refusal(405, "UNSUPPORTED"))
        for each in ("PROPFIND", "MOVE", "LINK", "PURGE")
    ),
    Attack(
        "method: CONNECT",
        lambda town: town.send(
            b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\nConnection: close\r\n\r\n"
        ),
        Refusal(404),
    ),
    Attack("method: one of many letters", partial(_method, "G" * 4000, "/v2/"), Refusal(400)),
    Attack(
        "method: overridden by a header",
        partial(_overridden, "X_HTTP_Method_Override", "DELETE"),
        Refusal(200, '"v1"'),
    ),
    Attack(
        "method: a path overridden by a header", _page_instead, Refusal(200, never="/administration/people")
    ),
]
