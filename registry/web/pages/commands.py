"""Commands to copy, with the host as the visitor reaches it."""

from collections.abc import Sequence
from typing import Final

from registry.image import Command, pull_commands
from registry.names import parse_name

# Docker takes a server without TLS there and nowhere else.
_NEAR: Final = ("localhost", "127.", "[::1]")


def address(host: str, name: str) -> str:
    """Return what clients call the repository: official ones without their namespace."""
    return f"{host}/{min(parse_name(name).aliases, key=len)}"


def pulling(host: str, name: str, kind: str, tag: str, digest: str) -> Sequence[Command]:
    """Return how to get what `tag` or, where that is "", `digest` means."""
    return pull_commands(kind, address(host, name), tag, digest)


def pushing(host: str, account: str, name: str = "app") -> Sequence[Command]:
    """Return how to push a first image; where there are no accounts nobody signs in."""
    place = f"{host}/{account}/{name}" if account else f"{host}/{name}"
    steps = [
        Command("Tag", f"docker tag {name} {place}"),
        Command("Push", f"docker push {place}"),
    ]
    return [Command("Sign in", f"docker login {host} -u {account}"), *steps] if account else steps


def first_push(host: str, name: str, kind: str) -> Sequence[Command]:
    """Return how to push the first of this kind into a repository that is there."""
    place = address(host, name)
    short = place.rpartition("/")[2]
    match kind:
        case "chart":
            return [Command("helm", f"helm push {short}-0.1.0.tgz oci://{place.rpartition('/')[0]}")]
        case "artifact":
            return [Command("oras", f"oras push {place}:v1 {short}.txt")]
    return [Command("Tag", f"docker tag {short} {place}"), Command("Push", f"docker push {place}")]


def needs_exception(base_url: str, host: str) -> bool:
    """Tell whether Docker has to be told that this server has no TLS."""
    return base_url.startswith("http://") and not host.startswith(_NEAR)
