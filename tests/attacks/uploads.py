"""Other people's uploads, and bytes that are not what they are said to be."""

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from typing import Final

from tests.attacks.attack import Attack, Refusal
from tests.attacks.town import ALICE, IMAGE, LAYER, MALLORY, OWN, PRIVATE, Town
from tests.e2e.api import Api
from tests.e2e.clients import Account
from tests.e2e.images import INDEX, MANIFEST, digest_of
from tests.e2e.wire import Answer

BYTES: Final = b"some bytes of an upload"
DIGEST: Final = digest_of([BYTES])
SHA512: Final = "sha512:" + hashlib.sha512(BYTES).hexdigest()

_UNKNOWN: Final = Refusal(404, "BLOB_UPLOAD_UNKNOWN")
_DIGEST: Final = Refusal(400, "DIGEST_INVALID")
_MANIFEST: Final = Refusal(400, "MANIFEST_INVALID")


def _pushing(town: Town, who: Account, repository: str) -> str:
    return town.token(who, f"repository:{repository}:pull,push")


def _begun(town: Town) -> str:
    """The id of an upload of Alice's to her private repository, with bytes in it."""
    token = _pushing(town, ALICE, PRIVATE)
    location = town.bearing(token, "POST", f"/v2/{PRIVATE}/blobs/uploads/").expect(202).headers["Location"]
    town.bearing(token, "PATCH", location, BYTES).expect(202)
    return str(location).rpartition("/")[2]


def _hijack(method: str, who: Account, repository: str, town: Town) -> Answer:
    """Go on with Alice's upload as somebody, or somewhere, else."""
    if who.name == "colleague":
        _hire(town)
    query = f"?digest={DIGEST}" if method == "PUT" else ""
    target = f"/v2/{repository}/blobs/uploads/{_begun(town)}{query}"
    return town.bearing(_pushing(town, who, repository), method, target)


COLLEAGUE: Final = Account("colleague", "the password of colleague")


def _hire(town: Town) -> None:
    """Let a colleague of Alice's push to her repository, unless they may already."""
    if town.api(COLLEAGUE, "GET", "/me").status == 401:
        town.person(COLLEAGUE.name)
        with Api(town.served.host, ALICE) as api:
            api.put(f"/repositories/{PRIVATE}/-/roles/{COLLEAGUE.name}", {"role": "write"})


def _close(digest: str, town: Town) -> Answer:
    """Close an upload of the bytes under a digest."""
    token = _pushing(town, MALLORY, OWN)
    location = town.bearing(token, "POST", f"/v2/{OWN}/blobs/uploads/").expect(202).headers["Location"]
    return town.bearing(token, "PUT", f"{location}?digest={digest}", BYTES)


def _close_twice(town: Town) -> Answer:
    token = _pushing(town, MALLORY, OWN)
    location = town.bearing(token, "POST", f"/v2/{OWN}/blobs/uploads/").expect(202).headers["Location"]
    town.bearing(token, "PUT", f"{location}?digest={DIGEST}", BYTES).expect(201)
    return town.bearing(token, "PUT", f"{location}?digest={DIGEST}", BYTES)


def _chunk(content_range: str, town: Town) -> Answer:
    token = _pushing(town, MALLORY, OWN)
    location = town.bearing(token, "POST", f"/v2/{OWN}/blobs/uploads/").expect(202).headers["Location"]
    return town.bearing(token, "PATCH", location, BYTES, Content_Range=content_range)


def _put(reference: str, body: bytes, media_type: str, town: Town) -> Answer:
    token = _pushing(town, MALLORY, OWN)
    return town.bearing(token, "PUT", f"/v2/{OWN}/manifests/{reference}", body, Content_Type=media_type)


def _document(**members: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, **members}).encode()


_EMPTY: Final = {"mediaType": LAYER.media_type, "digest": DIGEST, "size": len(BYTES)}

ATTACKS: Final[Sequence[Attack]] = [
    *(
        Attack(
            f"hijack: {method} of an upload by a colleague who may push there",
            partial(_hijack, method, COLLEAGUE, PRIVATE),
            _UNKNOWN,
        )
        for method in ("GET", "PATCH", "PUT", "DELETE")
    ),
    *(
        Attack(
            f"hijack: {method} of an upload in another repository",
            partial(_hijack, method, MALLORY, OWN),
            _UNKNOWN,
        )
        for method in ("GET", "PATCH", "PUT", "DELETE")
    ),
    Attack(
        "hijack: one's own upload in another repository",
        partial(_hijack, "PUT", ALICE, "alice/open"),
        _UNKNOWN,
    ),
    Attack(
        "hijack: an upload by a stranger",
        partial(_hijack, "PUT", MALLORY, PRIVATE),
        Refusal(401, "insufficient_scope"),
    ),
    Attack("hijack: an upload that was closed", _close_twice, _UNKNOWN),
    Attack("digest: of other bytes", partial(_close, LAYER.digest), _DIGEST),
    Attack("digest: of other bytes by another algorithm", partial(_close, "sha512:" + "0" * 128), _DIGEST),
    Attack("digest: in capitals", partial(_close, DIGEST.upper().replace("SHA256", "sha256")), _DIGEST),
    Attack("digest: an algorithm in capitals", partial(_close, DIGEST.replace("sha256", "SHA256")), _DIGEST),
    Attack("digest: too short", partial(_close, DIGEST[:-1]), _DIGEST),
    Attack("digest: too long", partial(_close, DIGEST + "0"), _DIGEST),
    Attack(
        "digest: of one algorithm under the name of another",
        partial(_close, DIGEST.replace("sha256", "sha512")),
        _DIGEST,
    ),
    Attack(
        "digest: cut to the length of another algorithm",
        partial(_close, SHA512.replace("sha512", "sha256")[:71]),
        _DIGEST,
    ),
    Attack(
        "digest: of a broken algorithm", partial(_close, "md5:" + hashlib.md5(BYTES).hexdigest()), _DIGEST
    ),
    Attack("digest: a path", partial(_close, "sha256:../../../keys/key-000001.pem"), _DIGEST),
    Attack("digest: two of them", partial(_close, f"{DIGEST},{SHA512}"), _DIGEST),
    Attack("digest: none", partial(_close, ""), _DIGEST),
    Attack(
        "digest: of another manifest",
        partial(_put, IMAGE.manifest.digest, _document(config=_EMPTY, layers=[]), MANIFEST),
        _DIGEST,
    ),
    Attack(
        "manifest: an image under the type of an index",
        partial(_put, "x", _document(config=_EMPTY, layers=[]), INDEX),
        _MANIFEST,
    ),
    Attack(
        "manifest: an image and an index in one",
        partial(_put, "x", _document(config=_EMPTY, layers=[], manifests=[]), MANIFEST),
        _MANIFEST,
    ),
    Attack(
        "manifest: a size below zero",
        partial(_put, "x", _document(config=_EMPTY | {"size": -1}, layers=[]), MANIFEST),
        _MANIFEST,
    ),
    Attack("manifest: no JSON", partial(_put, "x", b"PK\x03\x04", MANIFEST), _MANIFEST),
    Attack("range: a chunk from the middle", partial(_chunk, "5-27"), Refusal(416, "BLOB_UPLOAD_INVALID")),
    Attack("range: a chunk longer than it says", partial(_chunk, "0-5"), Refusal(400, "SIZE_INVALID")),
    Attack(
        "range: a chunk that ends before it begins",
        partial(_chunk, "5-0"),
        Refusal(400, "BLOB_UPLOAD_INVALID"),
    ),
    Attack(
        "range: a chunk without end", partial(_chunk, "0-" + "9" * 40), Refusal(400, "BLOB_UPLOAD_INVALID")
    ),
]
