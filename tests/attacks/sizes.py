"""Too much of everything: longer, deeper, more than anybody needs."""

import gzip
import json
from collections.abc import Sequence
from functools import partial
from typing import Final
from urllib.parse import quote, urlencode

from tests.attacks.attack import Attack, Refusal
from tests.attacks.town import ALICE, FORM, LAYER, MALLORY, OWN, PUBLIC, Town
from tests.e2e.clients import Account
from tests.e2e.images import CONFIG, MANIFEST, digest_of
from tests.e2e.wire import Answer

MIB: Final = 1 << 20
DEEP: Final = b"[" * 100_000 + b"]" * 100_000

_JSON: Final = {"Content-Type": "application/json"}


def _get(target: str, town: Town) -> Answer:
    return town.ask("GET", target)


def _put(body: bytes, town: Town) -> Answer:
    token = town.token(MALLORY, f"repository:{OWN}:pull,push")
    return town.bearing(token, "PUT", f"/v2/{OWN}/manifests/x", body, Content_Type=MANIFEST)


def _announced(length: int, town: Town) -> Answer:
    """Say that a manifest will be this long, and send nothing of it."""
    token = town.token(MALLORY, f"repository:{OWN}:pull,push")
    headers = {"Content-Length": str(length), "Content-Type": MANIFEST, "Authorization": f"Bearer {token}"}
    return town.ask("PUT", f"/v2/{OWN}/manifests/x", headers=headers)


def _tags(count: int, town: Town) -> Answer:
    token = town.token(MALLORY, f"repository:{OWN}:pull,push")
    query = urlencode([("tag", f"t{number}") for number in range(count)])
    return town.bearing(
        token, "PUT", f"/v2/{OWN}/manifests/{LAYER.digest}?{query}", b"{}", Content_Type=MANIFEST
    )


def _interface(body: bytes, town: Town) -> Answer:
    login = town.access_token(MALLORY, "admin")[0]
    headers = {**_JSON, "Authorization": f"Bearer {login.password}"}
    return town.ask("PATCH", "/api/v1/me", body, headers)


def _form(body: bytes, town: Town, **headers: str) -> Answer:
    said = {name.replace("_", "-"): text for name, text in headers.items()}
    return town.ask("POST", "/token", body, {"Content-Type": FORM, **said})


def _headed(name: str, value: str, town: Town) -> Answer:
    return town.ask("GET", "/v2/", headers={name: value})


def _headers(town: Town) -> Answer:
    return town.ask("GET", "/healthz", headers={f"X-{number}": "x" for number in range(20_000)})


def _ranges(count: int, town: Town) -> Answer:
    digest = json.loads(_get(f"/v2/{PUBLIC}/manifests/v1", town).body)["layers"][0]["digest"]
    ranges = ",".join(f"{number}-{number}" for number in range(count))
    return town.ask("GET", f"/v2/{PUBLIC}/blobs/{digest}", headers={"Range": f"bytes={ranges}"})


def _descriptors(count: int) -> bytes:
    named = {"mediaType": LAYER.media_type, "digest": "sha256:" + "0" * 64, "size": 1}
    return json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": named, "layers": [named] * count}
    ).encode()


def _packed_configuration(town: Town) -> Answer:
    """An image whose configuration is a bomb of gzip: the page shows it as what it is, bytes."""
    bomb = gzip.compress(bytes(16 * MIB))
    token = town.token(MALLORY, f"repository:{OWN}:pull,push")
    digest = _push(town, token, bomb)
    named = {"mediaType": CONFIG, "digest": digest, "size": len(bomb)}
    body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": named, "layers": []}).encode()
    answer = town.bearing(token, "PUT", f"/v2/{OWN}/manifests/bomb", body, Content_Type=MANIFEST).expect(201)
    return town.sign_in(MALLORY).get(f"/r/{OWN}/-/digests/{answer.headers['Docker-Content-Digest']}")


def _push(town: Town, token: str, data: bytes) -> str:
    digest = digest_of([data])
    town.bearing(token, "POST", f"/v2/{OWN}/blobs/uploads/?digest={digest}", data).expect(201)
    return digest


_TOO_LARGE: Final = Refusal(413)

ATTACKS: Final[Sequence[Attack]] = [
    Attack("size: a request line", partial(_get, "/v2/" + "a" * 100_000), Refusal(431)),
    Attack("size: a header", partial(_headed, "X-Long", "x" * 100_000), Refusal(431)),
    Attack("size: a cookie", partial(_headed, "Cookie", "x=" + "x" * 100_000), Refusal(431)),
    Attack("size: a login", lambda town: town.ask_token(Account("x" * 20_000, "y")), Refusal(401)),
    Attack("size: a manifest", partial(_put, b'{"x": "' + b"x" * (5 * MIB) + b'"}'), _TOO_LARGE),
    Attack("size: a manifest that is only announced", partial(_announced, 10**15), _TOO_LARGE),
    Attack(
        "size: the depth of a manifest",
        partial(_put, b'{"mediaType": "' + MANIFEST.encode() + b'", "x": ' + DEEP + b"}"),
        Refusal(400, "MANIFEST_INVALID"),
    ),
    Attack(
        "size: a number in a manifest",
        partial(_put, b'{"schemaVersion": ' + b"9" * 5000 + b"}"),
        Refusal(400, "MANIFEST_INVALID"),
    ),
    Attack(
        "size: an infinite number in a manifest",
        partial(_put, b'{"schemaVersion": 1e999}'),
        Refusal(400, "MANIFEST_INVALID"),
    ),
    Attack(
        "size: layers by the ten thousand",
        partial(_put, _descriptors(10_000)),
        Refusal(404, "MANIFEST_BLOB_UNKNOWN"),
    ),
    Attack("size: tags in one push", partial(_tags, 101), Refusal(414)),
    Attack(
        "size: a document of the interface",
        partial(_interface, b'{"about": "' + b"x" * MIB + b'"}'),
        _TOO_LARGE,
    ),
    Attack("size: the depth of a document", partial(_interface, DEEP), Refusal(400)),
    Attack("size: a form", partial(_form, b"x=" + b"x" * (2 * MIB)), _TOO_LARGE),
    Attack(
        "size: fields of a form",
        partial(_form, b"&".join(b"a%d=1" % number for number in range(5000))),
        Refusal(400),
    ),
    Attack(
        "size: a packed form",
        partial(_form, gzip.compress(b"x=" + bytes(16 * MIB)), Content_Encoding="gzip"),
        Refusal(400),
    ),
    Attack("size: a packed configuration", _packed_configuration, Refusal(200)),
    Attack("size: a name", partial(_get, "/v2/" + "a" * 300 + "/tags/list"), Refusal(400, "NAME_INVALID")),
    Attack(
        "size: a tag", partial(_get, f"/v2/{PUBLIC}/manifests/" + "a" * 129), Refusal(404, "MANIFEST_UNKNOWN")
    ),
    Attack("size: a page", partial(_get, f"/v2/{PUBLIC}/tags/list?n=" + "9" * 20), Refusal(400)),
    Attack("size: a page of the interface", partial(_get, "/api/v1/search?limit=999999999"), Refusal(422)),
    Attack("size: a cursor", partial(_get, "/api/v1/repositories?cursor=" + "A" * 20_000), Refusal(422)),
    Attack("size: a search", partial(_get, "/api/v1/search?q=" + quote("word " * 4000)), Refusal(422)),
    Attack("size: ranges of one blob", partial(_ranges, 2000), Refusal(200)),
    Attack("size: headers by the ten thousand", _headers, Refusal(431)),
    Attack(
        "size: scopes of a token",
        lambda town: town.ask_token(ALICE, *(f"repository:alice/{number}:pull" for number in range(500))),
        Refusal(400),
    ),
]
