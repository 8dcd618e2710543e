"""Finding out what is there: private repositories and blobs look like what is not."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from tests.attacks.attack import Attack, Refusal
from tests.attacks.town import ALICE, IMAGE, LAYER, MALLORY, OWN, PRIVATE, Town
from tests.e2e.clients import Account
from tests.e2e.images import INDEX, MANIFEST, Content
from tests.e2e.wire import Answer

ABSENT: Final = "alice/absent"
NOTHING: Final = Content(LAYER.media_type, b"nobody has pushed this")

_LAYERS: Final = (LAYER.digest, NOTHING.digest)
_MANIFESTS: Final = (IMAGE.manifest.digest, NOTHING.digest)

Pair = Sequence[Answer]


def _alike(status: int, says: str = "") -> Refusal:
    return Refusal(status, says, alike=True)


def _pushing(town: Town, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
    return town.bearing(town.token(MALLORY, f"repository:{OWN}:pull,push"), method, target, body, **headers)


def _own(method: str, target: str, digests: Sequence[str], town: Town) -> Pair:
    """Ask in one's own repository for what is somewhere, and for what is nowhere."""
    return [_pushing(town, method, f"/v2/{OWN}/{target.format(digest)}") for digest in digests]


def _names(method: str, target: str, who: Account | None, town: Town) -> Pair:
    """Ask for what is in a private repository, and in one that is not there, as the challenge asks for."""
    token = town.token(who, f"repository:{PRIVATE}:pull", f"repository:{ABSENT}:pull")
    return [town.bearing(token, method, f"/v2/{name}/{target}") for name in (PRIVATE, ABSENT)]


def _without_token(target: str, town: Town) -> Pair:
    return [town.ask("GET", f"/v2/{name}/{target}") for name in (PRIVATE, ABSENT)]


def _put(document: Callable[[str], dict[str, object]], digests: Sequence[str], town: Town) -> Pair:
    """Push manifests that name what is somewhere else, and what is nowhere."""
    answers = []
    for digest in digests:
        body = document(digest)
        answers.append(
            _pushing(
                town,
                "PUT",
                f"/v2/{OWN}/manifests/x",
                json.dumps(body).encode(),
                Content_Type=str(body["mediaType"]),
            )
        )
    return answers


def _image(digest: str) -> dict[str, object]:
    named = {"mediaType": LAYER.media_type, "digest": digest, "size": len(LAYER.data)}
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": named, "layers": [named]}


def _index(digest: str) -> dict[str, object]:
    named = {"mediaType": MANIFEST, "digest": digest, "size": len(IMAGE.manifest.data)}
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}


def _named(town: Town) -> Pair:
    """Name what is private in an index of one's own, which may name what is not there; and ask for it."""
    _put(_index, _MANIFESTS, town)
    return _own("GET", "manifests/{}", _MANIFESTS, town)


def _commit(town: Town) -> Pair:
    """Close an empty upload as if its bytes, which are known to the store, had been sent."""
    answers = []
    for digest in _LAYERS:
        location = _pushing(town, "POST", f"/v2/{OWN}/blobs/uploads/").expect(202).headers["Location"]
        answers.append(_pushing(town, "PUT", f"{location}?digest={digest}"))
    return answers


def _pages(target: str, town: Town) -> Pair:
    browser = town.sign_in(MALLORY)
    return [browser.get(f"/r/{name}{target}") for name in (PRIVATE, ABSENT)]


def _interface(method: str, target: str, town: Town) -> Pair:
    return [town.api(MALLORY, method, f"/repositories/{name}{target}") for name in (PRIVATE, ABSENT)]


def _page(target: str, town: Town) -> Answer:
    return town.sign_in(MALLORY).get(target)


def _search(target: str, town: Town) -> Answer:
    return town.ask("GET", target)


def _unmodified(town: Town) -> Answer:
    """Somebody who knows the digest asks whether it is still so."""
    token = town.token(MALLORY, f"repository:{PRIVATE}:pull")
    condition = f'"{IMAGE.manifest.digest}"'
    return town.bearing(token, "GET", f"/v2/{PRIVATE}/manifests/v1", If_None_Match=condition)


def _renamed(town: Town) -> Answer:
    """A former name of a private repository leads nobody to the new one."""
    town.api(ALICE, "POST", "/repositories", {"name": "alice/before"}).expect(201)
    town.api(ALICE, "POST", "/repositories/alice/before/-/rename", {"name": "alice/hereafter"})
    return town.sign_in(MALLORY).get("/r/alice/before")


_UNSEEN: Final = Refusal(200, never=PRIVATE)

ATTACKS: Final[Sequence[Attack]] = [
    Attack(
        "probe: a blob mounted from a private repository",
        partial(_own, "POST", f"blobs/uploads/?mount={{}}&from={PRIVATE}", _LAYERS),
        _alike(202),
    ),
    Attack(
        "probe: a private blob mounted from anywhere",
        partial(_own, "POST", "blobs/uploads/?mount={}", _LAYERS),
        _alike(202),
    ),
    Attack(
        "probe: a private blob mounted from one's own repository",
        partial(_own, "POST", f"blobs/uploads/?mount={{}}&from={OWN}", _LAYERS),
        _alike(202),
    ),
    Attack(
        "probe: a private blob in one's own repository",
        partial(_own, "GET", "blobs/{}", _LAYERS),
        _alike(404, "BLOB_UNKNOWN"),
    ),
    Attack(
        "probe: HEAD of a private blob in one's own repository",
        partial(_own, "HEAD", "blobs/{}", _LAYERS),
        _alike(404),
    ),
    Attack(
        "probe: a private manifest in one's own repository",
        partial(_own, "GET", "manifests/{}", _MANIFESTS),
        _alike(404, "MANIFEST_UNKNOWN"),
    ),
    Attack(
        "probe: referrers of a private manifest in one's own repository",
        partial(_own, "GET", "referrers/{}", _MANIFESTS),
        _alike(200, '"manifests": []'),
    ),
    Attack(
        "probe: a blob of a private repository",
        partial(_names, "GET", f"blobs/{LAYER.digest}", MALLORY),
        _alike(401, "UNAUTHORIZED"),
    ),
    Attack(
        "probe: HEAD of a blob of a private repository",
        partial(_names, "HEAD", f"blobs/{LAYER.digest}", MALLORY),
        _alike(401),
    ),
    Attack(
        "probe: a manifest of a private repository",
        partial(_names, "GET", "manifests/v1", MALLORY),
        _alike(401, "UNAUTHORIZED"),
    ),
    Attack(
        "probe: the tags of a private repository",
        partial(_names, "GET", "tags/list", MALLORY),
        _alike(401, "UNAUTHORIZED"),
    ),
    Attack(
        "probe: referrers in a private repository",
        partial(_names, "GET", f"referrers/{IMAGE.manifest.digest}", MALLORY),
        _alike(401, "UNAUTHORIZED"),
    ),
    Attack(
        "probe: deleting in a private repository",
        partial(_names, "DELETE", "manifests/v1", MALLORY),
        _alike(401, "UNAUTHORIZED"),
    ),
    Attack(
        "probe: an upload to a private repository",
        partial(_names, "POST", "blobs/uploads/", MALLORY),
        _alike(401, "UNAUTHORIZED"),
    ),
    Attack(
        "probe: a private repository as nobody",
        partial(_names, "GET", "manifests/v1", None),
        _alike(401, "UNAUTHORIZED"),
    ),
    Attack(
        "probe: a private repository without a token",
        partial(_without_token, "manifests/v1"),
        _alike(401, "UNAUTHORIZED"),
    ),
    Attack("probe: a condition on what is private", _unmodified, Refusal(401, "UNAUTHORIZED")),
    Attack(
        "probe: a manifest that names private blobs",
        partial(_put, _image, _LAYERS),
        _alike(404, "MANIFEST_BLOB_UNKNOWN"),
    ),
    Attack(
        "probe: an index that names a private manifest",
        partial(_put, _index, _MANIFESTS),
        _alike(201),
    ),
    Attack("probe: a private manifest that one's own index names", _named, _alike(404, "MANIFEST_UNKNOWN")),
    Attack("probe: an empty upload closed as a private blob", _commit, _alike(400, "DIGEST_INVALID")),
    Attack("probe: the page of a private repository", partial(_pages, ""), _alike(404)),
    Attack("probe: the page of a private image", partial(_pages, "/-/tags"), _alike(404)),
    Attack("probe: pushes to a private repository as they land", partial(_pages, "/-/events"), _alike(404)),
    Attack("probe: the settings of a private repository", partial(_pages, "/-/settings"), _alike(404)),
    Attack(
        "probe: a private repository at the interface",
        partial(_interface, "GET", ""),
        _alike(404, "not-here"),
    ),
    Attack(
        "probe: a star for a private repository",
        partial(_interface, "PUT", "/-/star"),
        _alike(404, "not-here"),
    ),
    Attack(
        "probe: the statistics of a private repository",
        partial(_interface, "GET", "/-/statistics"),
        _alike(404, "not-here"),
    ),
    Attack("probe: a former name of a private repository", _renamed, Refusal(404, never="hereafter")),
    Attack("probe: a search for a private repository", partial(_page, "/search?q=secret"), _UNSEEN),
    Attack(
        "probe: suggestions of private repositories", partial(_page, "/search/suggestions?q=secr"), _UNSEEN
    ),
    Attack("probe: the profile of somebody with private repositories", partial(_page, "/u/alice"), _UNSEEN),
    Attack("probe: a search by a client", partial(_search, "/v1/search?q=secret"), _UNSEEN),
    Attack("probe: a search at the interface", partial(_search, "/api/v1/search?q=secret"), _UNSEEN),
]
