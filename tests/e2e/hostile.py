"""Texts, images and overviews of somebody who wants pages to do more than show them.

Whatever of them ran would set `window.canary`, ask a host that is not there, or load something.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .images import CONFIG, INDEX, LAYER, MANIFEST, Content, Descriptor, Image, Index

ELSEWHERE: Final = "http://evil.invalid"

SCRIPTS: Final[Sequence[str]] = (
    "<script>window.canary=1</script>",
    "</script></title></textarea></style></code></pre><script>window.canary=1</script>",
    "<img src=x onerror=window.canary=1>",
    "<svg/onload=window.canary=1>",
    '"><svg onload="window.canary=1">',
    '" autofocus onfocus=window.canary=1 tabindex=1 x="',
    "' onmouseover='window.canary=1",
    "` onclick=window.canary=1 `",
    "javascript:window.canary=1",
    "jAvA\tScRiPt:window.canary=1",
    "data:text/html;base64,PHNjcmlwdD53aW5kb3cuY2FuYXJ5PTE8L3NjcmlwdD4=",
    f"<iframe srcdoc='<script>parent.canary=1</script>' src={ELSEWHERE}></iframe>",
    f"<base href={ELSEWHERE}><meta http-equiv=refresh content='0;url={ELSEWHERE}'>",
    f"<link rel=stylesheet href={ELSEWHERE}/x.css><style>*{{display:none}}</style>",
    f"<form action={ELSEWHERE}><button formaction=javascript:window.canary=1>x</button></form>",
    "<p style='position:fixed;inset:0'>over everything</p>",
    "&lt;script&gt;window.canary=1&lt;/script&gt; &#60;script&#62; &Tab;&colon;",
    "{{ 7 * 7 }} {% raw %} ${window.canary=1} #{window.canary=1} %(x)s {0.__class__}",
    "__proto__ constructor toString",
)

# They reorder the text around them, or end what isolates it (Unicode Standard Annex 9).
REORDERING: Final = "\u202egpj.exe\u202d \u2066\u2067\u2068 \u2069\u2069\u2069\u202c \u200e\u200f\u061c"
UNSEEN: Final = "\u200b\u2060\ufeff\u00ad\u2028\u2029\U000e0041\U000e0042\x00\x01\x07\x1b[31m\x7f\x9b"
FLOOD: Final = "Z" + "\u0338\u0489\u0300" * 500 + "\u20dd" * 50
BROAD: Final = "W" * 5000

LINE: Final = " ".join([*SCRIPTS, REORDERING, UNSEEN, FLOOD])
LONG: Final = LINE + "<&\"'" * 250_000

# What may be said of a repository, a person or a team: printable, and not long.
PRINTABLE: Final[Sequence[str]] = tuple(each for each in SCRIPTS if each.isprintable() and len(each) <= 100)
SHORT_FLOOD: Final = "Z" + "\u0338\u0489\u0300" * 30

OVERVIEW: Final = "\n\n".join(
    [
        *SCRIPTS,
        REORDERING,
        "&#x202e;gpj.exe &#8238; &#x2066;",
        FLOOD,
        BROAD,
        f"# {FLOOD}",
        f"# main\n# content\n# {SCRIPTS[0]}",
        "[a](javascript:window.canary=1) [b](JAVASCRIPT:window.canary=1) [c](<java\tscript:window.canary=1>)",
        "[d](data:text/html,<script>window.canary=1</script>) [e](vbscript:x) [f](//evil.invalid)",
        "[g](\\\\evil) [h](/sign-out) [i](&#106;avascript:window.canary=1)",
        "[j](https://evil.invalid 'onclick=x\" onclick=\"x')",
        "<javascript:window.canary=1> <https://evil.invalid/\u202egpj.exe>",
        f"![k]({ELSEWHERE}/k.png) ![l](javascript:window.canary=1) ![m](data:image/svg+xml,<svg/onload=x>)",
        "[n]\n\n[n]: javascript:window.canary=1 'title'",
        f"```html\n{SCRIPTS[0]}\n```",
        f"| {SCRIPTS[0]} | {BROAD} |\n|---|---|\n| {SCRIPTS[2]} | {SCRIPTS[3]} |",
        "> " * 200 + "deep",
        "- " * 200 + "deep",
        "*a **" * 500,
        "[" * 2000,
    ]
)

# As much of it as tags may be called.
TAGS: Final[Sequence[str]] = (
    "latest",
    "__proto__",
    "constructor",
    "javascript",
    "W" * 128,
    "_..-.._",
    "0.0.0-rc.1_" + "1" * 100,
)


def config(runtime: Mapping[str, object], **more: object) -> Content:
    """The configuration of an image."""
    body = {"architecture": "amd64", "os": "linux", "config": runtime, "rootfs": {"type": "layers"}, **more}
    return Content(CONFIG, json.dumps(body).encode())


def image(settings: Content, layers: Sequence[Descriptor], blobs: Sequence[Content], **more: object) -> Image:
    """An image of these layers, of which only `blobs` are there."""
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": settings.descriptor(), "layers": layers}
    return Image(Content(MANIFEST, json.dumps(body | more).encode()), (settings, *blobs))


_BLOB: Final = Content(f"{LAYER}+gzip", b"not even an archive")


def trap() -> Image:
    """An image that says one hostile line wherever something can be said."""
    said = [*SCRIPTS, LINE, FLOOD, BROAD]
    runtime = {
        "Entrypoint": said,
        "Cmd": said,
        "Env": [*said, *(f"{each}={each}" for each in said)],
        "Labels": {each: each for each in said},
        "ExposedPorts": {each: {} for each in said},
        "Volumes": {each: {} for each in said},
        "User": LINE,
        "WorkingDir": LINE,
        "StopSignal": LINE,
        "Healthcheck": {"Test": ["CMD", *said], "Interval": 10**30, "Retries": -1},
    }
    history = [{"created_by": each, "comment": LINE, "created": LINE, "author": LINE} for each in said]
    settings = config(runtime, history=history, author=LINE, created=LINE, variant=LINE)
    layer = _BLOB.descriptor(annotations={"org.opencontainers.image.title": LINE})
    return image(settings, [layer] * len(said), [_BLOB], annotations={each: each for each in said})


def choice() -> Index:
    """An index whose platforms are hostile lines, with as many attestations."""
    inner = trap()
    entries = [
        inner.manifest.descriptor(platform={"os": each, "architecture": each, "variant": each})
        for each in (*SCRIPTS, LINE, FLOOD)
    ]
    notes = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": LINE}
    entries.append(inner.manifest.descriptor(annotations=notes))
    body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, "annotations": {LINE: LINE}}
    return Index(Content(INDEX, json.dumps(body).encode()), (inner,))


def large_texts() -> Image:
    """An image with labels of a megabyte, an environment of one, and a history of one."""
    runtime = {"Labels": {"long": LONG}, "Env": [f"LONG={LONG}"], "Entrypoint": [LONG[:500_000]]}
    history = [{"created_by": f"RUN {LONG[:500_000]}"}]
    settings = config(runtime, history=history, author=LONG[:200_000])
    return image(settings, [_BLOB.descriptor()], [_BLOB], annotations={"long": LONG})


def many_texts() -> Image:
    """An image with ten thousand labels and variables, a thousand annotations, ports and volumes."""
    runtime = {
        "Labels": {f"label-{number}": SCRIPTS[1] for number in range(10_000)},
        "Env": [f"NAME_{number}={SCRIPTS[1]}" for number in range(10_000)],
        "ExposedPorts": {f"{number}/tcp": {} for number in range(1000)},
        "Volumes": {f"/{number}/{SCRIPTS[1]}": {} for number in range(1000)},
        "Cmd": ["<&\"'"] * 10_000,
    }
    annotations = {f"annotation-{number}": SCRIPTS[1] * 10 for number in range(1000)}
    return image(config(runtime), [_BLOB.descriptor()], [_BLOB], annotations=annotations)


def many_layers() -> Image:
    """An image of a thousand layers, each made by a step of as many characters as are shown."""
    history = [{"created_by": f"RUN {number} " + "<&\"'" * 900} for number in range(1000)]
    return image(config({}, history=history), [_BLOB.descriptor()] * 1000, [_BLOB])


def many_steps() -> Image:
    """An image of as many layers as are shown, each made by a step as long, all to be escaped."""
    history = [{"created_by": f"RUN {number} " + '"' * 4000} for number in range(500)]
    return image(config({}, history=history), [_BLOB.descriptor()] * 500, [_BLOB])


def many_lines() -> Image:
    """An image with as much as is shown in every list of texts, all of it to be escaped."""
    quotes = {f"{number:'>250}": "'" * 600 for number in range(500)}
    runtime = {
        "Labels": quotes,
        "Env": [f"{name}={value}" for name, value in quotes.items()],
        "Entrypoint": list(quotes.values()),
        "Cmd": list(quotes.values()),
        "ExposedPorts": {each: {} for each in quotes},
        "Volumes": {each: {} for each in quotes},
    }
    return image(config(runtime), [_BLOB.descriptor()], [_BLOB], annotations=quotes)


def deep() -> Image:
    """An image whose manifest and configuration are nested as deep as their size allows."""
    nest: Any = "[" * 100_000 + "]" * 100_000
    settings = Content(CONFIG, b'{"os":"linux","architecture":"amd64","config":' + nest.encode() + b"}")
    return image(settings, [_BLOB.descriptor()], [_BLOB])


def referring(subject: Image | Index, artifact_type: str, annotations: Mapping[str, str]) -> Image:
    """An artifact that refers to the subject."""
    empty = Content("application/vnd.oci.empty.v1+json", b"{}")
    more = {
        "artifactType": artifact_type,
        "subject": subject.manifest.descriptor(),
        "annotations": annotations,
    }
    return image(empty, [empty.descriptor()], [empty], **more)
