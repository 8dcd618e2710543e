"""What manifests and configurations tell, and that nothing in them makes the reader fail."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.image import (
    MAX_BEHIND,
    MAX_ENTRIES,
    MAX_LIST,
    MAX_TEXT,
    Layer,
    configuration,
    outline,
    pull_commands,
    steps,
)
from registry.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

IMAGE_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
SIGNATURE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
HELM_CONFIG: Final = "application/vnd.cncf.helm.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY: Final = "application/vnd.oci.empty.v1+json"


def encode(value: object) -> bytes:
    return json.dumps(value).encode()


def layers(*sizes: int) -> list[Layer]:
    return [Layer(f"sha256:{number}", "x", size, 0.5) for number, size in enumerate(sizes)]


def history(*entries: tuple[str, bool]) -> bytes:
    return encode({"history": [{"created_by": text, "empty_layer": empty} for text, empty in entries]})


def test_steps_carry_the_layers_that_they_made() -> None:
    found = steps(history(("ADD x", False), ("ENV A=1", True), ("RUN y", False)), layers(1, 2))
    assert [(each.instruction, each.layer and each.layer.size) for each in found.items] == [
        ("ADD x", 1),
        ("ENV A=1", None),
        ("RUN y", 2),
    ]


@pytest.mark.parametrize(
    ("entry", "instructions"),
    [
        ({"created_by": "ENV A=1", "empty_layer": True}, ["ENV A=1", "ADD x"]),
        ({"empty_layer": True}, ["ADD x"]),
        ({"created_by": 7, "empty_layer": True}, ["ADD x"]),
        ({"created_by": "# buildkit", "comment": "buildkit.dockerfile.v0", "empty_layer": True}, ["ADD x"]),
        (
            {"comment": "store paths: ['/nix/store/a']", "empty_layer": True},
            ["store paths: ['/nix/store/a']", "ADD x"],
        ),
    ],
)
def test_steps_say_something_or_have_a_layer(entry: object, instructions: list[str]) -> None:
    content = encode({"history": [entry, {"created_by": "ADD x"}]})
    assert [each.instruction for each in steps(content, layers(1)).items] == instructions


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", history(("ADD x", False)), b'{"history": 7}', b"[" * 10**5]
)
def test_history_that_does_not_fit_leaves_the_layers(content: bytes) -> None:
    found = steps(content, layers(1, 2))
    assert [(each.instruction, each.layer and each.layer.size) for each in found.items] == [("", 1), ("", 2)]


def test_configuration() -> None:
    found = configuration(
        encode(
            {
                "os": "linux",
                "architecture": "arm",
                "variant": "v7",
                "created": "2026-01-02T03:04:05Z",
                "author": "ann",
                "config": {
                    "Entrypoint": ["python3"],
                    "Cmd": "app.py",
                    "Env": ["A=1", "B=x=y", "C"],
                    "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
                    "Volumes": {"/data": {}},
                    "Labels": {"b": "2", "a": "1"},
                    "User": "1000",
                    "WorkingDir": "/app",
                    "StopSignal": "SIGINT",
                    "Healthcheck": {"Test": ["CMD-SHELL", "curl -f x"], "Interval": 30 * 10**9, "Retries": 3},
                },
            }
        )
    )
    assert found.platform == "linux/arm/v7"
    assert (found.entrypoint.items, found.command.items) == (("python3",), ("app.py",))
    assert found.environment.items == (("A", "1"), ("B", "x=y"), ("C", ""))
    assert (found.ports.items, found.volumes.items) == (("53/udp", "80/tcp"), ("/data",))
    assert found.labels.items == (("a", "1"), ("b", "2"))
    assert (found.user, found.working_directory, found.stop_signal) == ("1000", "/app", "SIGINT")
    assert found.health_check is not None
    assert (found.health_check.test, found.health_check.interval, found.health_check.retries) == (
        "curl -f x",
        30,
        3,
    )


@pytest.mark.parametrize("name", ["Env", "Labels", "ExposedPorts", "Volumes", "Cmd"])
def test_size_is_bounded(name: str) -> None:
    many = 100_000
    value: Any = {f"{number}": "x" for number in range(many)}
    if name in ("Env", "Cmd"):
        value = [f"A{number}=x" for number in range(many)]
    found = configuration(encode({"config": {name: value, "User": "u" * 10**6}}))
    lists = (found.environment, found.labels, found.ports, found.volumes, found.command)
    assert max(len(each.items) for each in lists) == MAX_ENTRIES
    assert sum(each.more for each in lists) == many - MAX_ENTRIES
    assert len(found.user) == MAX_TEXT + 1


def manifest(config: str, layer: str = LAYER, **fields: object) -> dict[str, object]:
    descriptor = {"mediaType": config, "digest": "sha256:c", "size": 10}
    blobs = [
        {"mediaType": layer, "digest": "sha256:1", "size": 30},
        {"mediaType": layer, "digest": "sha256:2", "size": 90},
    ]
    return {"schemaVersion": 2, "config": descriptor, "layers": blobs, **fields}


def test_outline_of_an_image() -> None:
    found = outline(
        encode(manifest(IMAGE_CONFIG, annotations={"a": "b"}, subject={"digest": "sha256:s"})), OCI_MANIFEST
    )
    assert (found.kind, found.words, found.total_size) == ("image", "image", 130)
    assert [each.share for each in found.layers.items] == [0.25, 0.75]
    assert (found.annotations.items, found.subject) == ((("a", "b"),), "sha256:s")


@pytest.mark.parametrize(
    ("document", "media_type", "kind", "words"),
    [
        (manifest(IMAGE_CONFIG), OCI_MANIFEST, "image", "image"),
        (manifest("application/vnd.docker.container.image.v1+json"), DOCKER_MANIFEST, "image", "image"),
        (manifest("", "x"), DOCKER_MANIFEST, "image", "image"),
        ({"manifests": []}, OCI_INDEX, "image", "image"),
        ({"manifests": []}, DOCKER_LIST, "image", "image"),
        ({"manifests": [], "artifactType": "application/x.own"}, OCI_INDEX, "artifact", "artifact"),
        (manifest(HELM_CONFIG), OCI_MANIFEST, "chart", "Helm chart"),
        (manifest(EMPTY, artifactType="application/spdx+json"), OCI_MANIFEST, "artifact", "SBOM"),
        (manifest(EMPTY, "application/vnd.cyclonedx+json"), OCI_MANIFEST, "artifact", "SBOM"),
        (manifest(EMPTY, artifactType="application/x.own"), OCI_MANIFEST, "artifact", "artifact"),
        (manifest("application/vnd.wasm.config.v0+json"), OCI_MANIFEST, "artifact", "WebAssembly module"),
        (manifest(EMPTY, "application/wasm"), OCI_MANIFEST, "artifact", "WebAssembly module"),
        (manifest("application/vnd.docker.plugin.v1+json"), DOCKER_MANIFEST, "artifact", "Docker plugin"),
        # cosign and BuildKit: the configuration of an image, without one
        (manifest(IMAGE_CONFIG, SIGNATURE), OCI_MANIFEST, "artifact", "signature"),
        (
            manifest(IMAGE_CONFIG, "application/vnd.dsse.envelope.v1+json"),
            OCI_MANIFEST,
            "artifact",
            "attestation",
        ),
        (manifest(IMAGE_CONFIG, "text/spdx+json"), OCI_MANIFEST, "artifact", "SBOM"),
        (manifest(IMAGE_CONFIG, "application/vnd.in-toto+json"), OCI_MANIFEST, "artifact", "attestation"),
        ({}, OCI_MANIFEST, "artifact", "artifact"),
        ([], "", "artifact", "artifact"),
    ],
)
def test_kind(document: object, media_type: str, kind: str, words: str) -> None:
    found = outline(encode(document), media_type)
    assert (found.kind, found.words) == (kind, words)


def test_children_of_an_index() -> None:
    attestation = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": "sha256:1",
    }
    unknown = {"os": "unknown", "architecture": "unknown"}
    found = outline(
        encode(
            {
                "manifests": [
                    {"digest": "sha256:1", "size": 1, "platform": {"os": "linux", "architecture": "amd64"}},
                    {"digest": "sha256:2", "size": 2, "platform": unknown, "annotations": attestation},
                ]
            }
        ),
        OCI_INDEX,
    )
    assert [(each.platform, each.attests) for each in found.children.items] == [
        ("linux/amd64", ""),
        ("", "sha256:1"),
    ]


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "config",
                    "layers",
                    "manifests",
                    "annotations",
                    "platform",
                    "digest",
                    "size",
                    "mediaType",
                    "history",
                    "created_by",
                    "Env",
                    "Cmd",
                    "Labels",
                    "Healthcheck",
                    "Test",
                    "os",
                    "architecture",
                    "subject",
                    "empty_layer",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@given(JSON, st.sampled_from([OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, "x"]))
def test_nothing_makes_it_fail(value: object, media_type: str) -> None:
    content = encode(value)
    found = outline(content, media_type)
    assert found.words
    configuration(content)
    steps(content, found.layers.items)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 10**6,
        b'{"config":' * 10**5,
        b'{"layers": [{"size": ' + b"9" * 5000 + b"}]}",
        b'{"layers": [{"size": 1e400}, {"size": -1}, {"size": true}]}',
        b'{"layers": [{"size": 99999999999999999999}]}',
        b'{"config": {"digest": "\\ud800"}, "annotations": {"\\udfff": "\\ud800"}}',
        b"\xff\xfe{",
        b"\xef\xbb\xbf{}",
        b"NaN",
    ],
    ids=range(9),
)
def test_hostile_json_says_nothing(content: bytes) -> None:
    found = outline(content, OCI_MANIFEST)
    assert found.total_size == 0
    for key, value in found.annotations.items:
        (key + value).encode()
    assert configuration(content).labels.items == ()
    assert steps(content, []).items == ()


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail(content: bytes) -> None:
    outline(content, OCI_MANIFEST)
    configuration(content)
    steps(content, [])


@pytest.mark.parametrize(
    ("kind", "tag", "lines"),
    [
        ("image", "v1", ["docker pull h:5/a/b:v1", "podman pull h:5/a/b:v1", "docker pull h:5/a/b@sha256:d"]),
        ("image", "", ["docker pull h:5/a/b@sha256:d", "podman pull h:5/a/b@sha256:d"]),
        ("chart", "1.2.3", ["helm pull oci://h:5/a/b --version 1.2.3", "oras pull h:5/a/b:1.2.3"]),
        ("chart", "1.0.0_a", ["helm pull oci://h:5/a/b --version 1.0.0+a", "oras pull h:5/a/b:1.0.0_a"]),
        ("chart", "", ["helm pull oci://h:5/a/b@sha256:d", "oras pull h:5/a/b@sha256:d"]),
        ("artifact", "v1", ["oras pull h:5/a/b:v1", "crane manifest h:5/a/b:v1"]),
    ],
)
def test_commands_fit_the_artifact(kind: str, tag: str, lines: list[str]) -> None:
    assert [each.text for each in pull_commands(kind, "h:5/a/b", tag, "sha256:d")] == lines


def test_a_list_of_long_texts_ends_early() -> None:
    long = {f"{number:03}": "x" * 4000 for number in range(MAX_ENTRIES)}
    found = configuration(encode({"config": {"Labels": long, "Cmd": list(long.values())}}))
    assert [len(found.labels.items), len(found.command.items)] == [MAX_ENTRIES, MAX_ENTRIES]
    assert found.labels.items[0] == ("000", "x" * 4000)
    assert found.labels.items[-1] == ("499", "x" * MAX_BEHIND + "…")
    assert sum(len(text) for text in found.command.items) < MAX_LIST + MAX_TEXT + MAX_ENTRIES * 50
    built = steps(history(*((f"RUN {'y' * 4000}", False) for _ in range(100))), layers(*range(100)))
    assert len(built.items) == 100
    assert len(built.items[-1].instruction) == MAX_BEHIND + 1
