import asyncio
import json
from typing import Any

import pytest

from storage.digest import Digest
from tests.registry.web.api.conftest import Api, As
from tests.registry.web.content import ABSENT, CONFIG, LAYER, OCI_INDEX, index, push_image, pushable
from tests.registry.web.live import Client, Live, Pushable, descriptor, until

APP = "/repositories/ann/app"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"

CONFIGURATION = {
    "os": "linux",
    "architecture": "arm64",
    "config": {
        "Entrypoint": ["/app"],
        "Cmd": ["serve"],
        "Env": ["PATH=/bin", "EMPTY="],
        "ExposedPorts": {"80/tcp": {}},
        "Labels": {"maintainer": "ann"},
        "User": "nobody",
        "Healthcheck": {"Test": ["CMD", "probe"], "Interval": 5_000_000_000},
    },
    "history": [
        {"created_by": "COPY app /app # buildkit"},
        {"created_by": 'CMD ["serve"]', "empty_layer": True},
    ],
}


async def ann_of(live: Live) -> Client:
    return await live.login("ann", "repository:ann/app:pull,push")


async def push_built(client: Client, *tags: str) -> Pushable:
    """Push an image with a configuration that has something to tell."""
    config = json.dumps(CONFIGURATION).encode()
    for blob in (config, b"layer"):
        await client.push_blob("ann/app", blob)
    built = pushable(MANIFEST, config=descriptor(CONFIG, config), layers=[descriptor(LAYER, b"layer")])
    for tag in tags:
        await client.push_manifest("ann/app", tag, built)
    return built


async def test_tags(api: As) -> None:
    ann, live = api("ann"), api().live
    client = await ann_of(live)
    built = await push_built(client, "v1")
    await push_image(client, "ann/app", "v2", layers=[b"one", b"two"])
    newest = await ann.list(f"{APP}/-/tags?limit=1")
    assert [each["name"] for each in newest] == ["v2", "v1"]
    assert newest[1] | {"tagged_at": ""} == {
        "name": "v1",
        "digest": built.digest,
        "media_type": MANIFEST,
        "artifact_type": CONFIG,
        "kind": "image",
        "size": len(json.dumps(CONFIGURATION)) + len(b"layer"),
        "platforms": ["linux/arm64"],
        "tagged_at": "",
        "tagged_by": "ann",
        "deprecation": None,
        "pulls": 0,
        "last_pulled_at": None,
    }
    assert await ann.get(f"{APP}/-/tags/v1") == newest[1]
    assert [each["name"] for each in await ann.list(f"{APP}/-/tags?sort=name")] == ["v1", "v2"]
    assert [each["name"] for each in await ann.list(f"{APP}/-/tags?q=2")] == ["v2"]


async def test_a_tag_is_deprecated_and_deleted(api: As) -> None:
    ann, tag = api("ann"), f"{APP}/-/tags/v1"
    await push_built(await ann_of(ann.live), "v1", "v2")
    assert (await ann.patch(tag, {"deprecation": "Use v2"}))["deprecation"] == "Use v2"
    assert (await ann.patch(tag, {"deprecation": None}))["deprecation"] is None
    assert await ann.outcome("PATCH", tag, {}) == (422, "invalid")
    await ann.delete(tag)
    assert await ann.outcome("GET", tag) == (404, "not-here")
    assert await ann.outcome("DELETE", tag) == (404, "not-here")
    assert await ann.outcome("GET", f"{APP}/-/tags/-x") == (404, "not-here")
    assert await ann.outcome("GET", f"{APP}/-/tags/v2") == (200, "")


async def test_damaged_image_says_so(api: As) -> None:
    ann = api("ann")
    client = await ann_of(ann.live)
    built = await push_built(client, "v1")
    image, page = f"{APP}/-/manifests/{built.digest}", "/r/ann/app/-/tags/v1"
    assert (await ann.get(image))["damaged"] == []
    layer = Digest.of(b"layer")
    ann.live.blob_path(layer).unlink()
    assert (await client.get(f"/v2/ann/app/blobs/{layer}")).status == 404
    assert (await ann.get(image))["damaged"] == [layer]
    ann.live.publish("ann/app")

    async def shown() -> bytes:
        return (await ann.live.client.get(page, Accept_Encoding="identity")).expect(200).body

    assert b"This image is damaged" in await shown()
    await client.push_blob("ann/app", b"layer")
    assert (await ann.get(image))["damaged"] == []
    assert b"This image is damaged" not in await shown()


async def test_image(api: As) -> None:
    ann = api("ann")
    built = await push_built(await ann_of(ann.live), "v1")
    found = await ann.get(f"{APP}/-/manifests/{built.digest}")
    assert (found["repository"], found["kind"], found["tags"], found["pushed_by"]) == (
        "ann/app",
        "image",
        ["v1"],
        "ann",
    )
    layer = {"digest": Digest.of(b"layer"), "media_type": LAYER, "size": 5, "share": 1.0}
    assert found["layers"] == [layer]
    assert found["steps"] == [
        {"instruction": "COPY app /app", "layer": layer["digest"]},
        {"instruction": 'CMD ["serve"]', "layer": None},
    ]
    configuration = found["configuration"]
    assert configuration["environment"] == [{"name": "PATH", "value": "/bin"}, {"name": "EMPTY", "value": ""}]
    assert (configuration["entrypoint"], configuration["ports"]) == (["/app"], ["80/tcp"])
    assert configuration["labels"] == {"maintainer": "ann"}
    probe = configuration["health_check"]
    assert (probe["test"], probe["interval"], probe["timeout"]) == ("probe", 5.0, None)


async def test_index(api: As) -> None:
    ann = api("ann")
    client = await ann_of(ann.live)
    built = await push_built(client, "v1")
    other = await push_image(client, "ann/app")
    whole = index(
        built.descriptor(platform={"os": "linux", "architecture": "arm64"}),
        other.descriptor(platform={"os": "linux", "architecture": "amd64"}),
    )
    await client.push_manifest("ann/app", "all", whole)
    path = f"{APP}/-/manifests/{whole.digest}"
    found = await ann.get(path)
    assert found["media_type"] == OCI_INDEX
    assert [each["platform"] for each in found["platforms"]] == ["linux/arm64", "linux/amd64"]
    assert found["selected"]["digest"] == other.digest
    chosen = await ann.get(f"{path}?platform=linux/arm64")
    assert chosen["selected"]["digest"] == built.digest
    assert chosen["configuration"]["platform"] == "linux/arm64"
    assert (await ann.get(f"{APP}/-/tags/all"))["platforms"] == ["linux/arm64", "linux/amd64"]


async def test_referrers(api: As) -> None:
    ann = api("ann")
    client = await ann_of(ann.live)
    built = await push_built(client, "v1")
    await client.push_blob("ann/app", b"{}")
    signature = pushable(
        MANIFEST,
        artifactType=SIGNATURE,
        config=descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        layers=[],
        subject=built.descriptor(),
        annotations={"by": "ann"},
    )
    await client.push_manifest("ann/app", None, signature)
    (found,) = await ann.list(f"{APP}/-/referrers/{built.digest}")
    assert found == {
        "digest": signature.digest,
        "artifact_type": SIGNATURE,
        "media_type": MANIFEST,
        "words": "signature",
        "size": len(signature.content),
        "annotations": {"by": "ann"},
    }
    assert await ann.list(f"{APP}/-/referrers/{ABSENT}") == []


async def test_a_manifest_is_deleted(api: As) -> None:
    ann = api("ann")
    built = await push_built(await ann_of(ann.live), "v1")
    path = f"{APP}/-/manifests/{built.digest}"
    assert await api("bob").outcome("DELETE", path) == (404, "not-here")
    await ann.delete(path)
    assert await ann.outcome("GET", path) == (404, "not-here")
    assert await ann.list(f"{APP}/-/tags") == []


@pytest.mark.parametrize("digest", ["sha256:x", "v1", "md5:0"])
async def test_what_is_no_digest(api: As, digest: str) -> None:
    await api("ann").post("/repositories", {"name": "ann/app"})
    assert await api("ann").outcome("GET", f"{APP}/-/manifests/{digest}") == (400, "digest-invalid")


async def read_events(api: Api, path: str, seen: list[tuple[str, Any]]) -> None:
    """Collect events until cancelled."""
    url = f"{api.live.client.base}/api/v1{path}"
    async with api.live.client.session.get(url, headers=api.headers) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        name = ""
        async for line in response.content:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                seen.append((name, json.loads(value)))


async def test_a_push_is_followed(api: As) -> None:
    ann, seen = api("ann"), list[tuple[str, Any]]()
    await ann.post("/repositories", {"name": "ann/app"})
    assert await api("bob").outcome("GET", f"{APP}/-/events") == (404, "not-here")
    following = asyncio.ensure_future(read_events(ann, f"{APP}/-/events", seen))

    async def has_seen(what: str) -> bool:
        return any(name == what for name, _ in seen)

    await until(lambda: has_seen("uploads"))
    built = await push_built(await ann_of(ann.live), "v1")
    await until(lambda: has_seen("tag"))
    following.cancel()
    (tag,) = [value for name, value in seen if name == "tag"]
    assert (tag["name"], tag["digest"], tag["by"]) == ("v1", built.digest, "ann")
