"""longshore as a container of its own image."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

from .clients import Client
from .process import wait_until

DATA = "/var/lib/longshore"
INSIDE = 5000


@dataclass
class Node:
    """A container that runs as it should in earnest: nothing but its data and /tmp can be written to.

    `settings` are names and values as in the environment. It answers on `port` of 127.0.0.1. On the
    machine's own network (`network="host"`) it reaches what listens on loopback, such as a database. A node
    that keeps nothing has its data in memory, as one of a team may.
    """

    docker: Client
    image: str
    name: str
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    network: str | None = None
    keeps: bool = True

    @property
    def host(self) -> str:
        """Host and port, as they stand at the start of an image's name."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run it and wait until its health check is content."""
        settings = {**self._address(), **self.settings}
        self.docker(
            *("run", "--detach", "--name", self.name),
            *("--read-only", "--tmpfs", "/tmp", *self._data()),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--health-interval", "1s"),
            *self._network(),
            *(word for name, value in settings.items() for word in ("--env", f"{name}={value}")),
            self.image,
        )
        wait_until(lambda: self.health() == "healthy", f"{self.name} is healthy")

    def stop(self) -> None:
        """End it and remove it with its data."""
        self.docker.run("rm", "--force", "--volumes", self.name)
        self.docker.run("volume", "rm", "--force", self.name)

    def replace(self, image: str) -> None:
        """Stop it as an operator would, and run another image on the same data."""
        self.docker("stop", self.name)
        self.docker("rm", self.name)
        self.image = image
        self.start()

    def health(self) -> str:
        """What the container's health check says: starting, healthy or unhealthy."""
        status: str = json.loads(self._inspect("{{json .State.Health.Status}}"))
        return status

    def exec(self, *words: str | Path) -> str:
        """Run a program in the container."""
        return self.docker("exec", self.name, *words)

    def get(self, path: str) -> int:
        """The status of a GET."""
        connection = HTTPConnection(self.host, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def log_tail(self) -> str:
        """The end of its log."""
        done = self.docker.run("logs", "--tail", "60", self.name)
        return (done.stdout + done.stderr).decode(errors="replace")

    def _inspect(self, template: str) -> str:
        return self.docker("inspect", "--format", template, self.name)

    def _address(self) -> dict[str, str]:
        if self.network != "host":
            return {}
        return {"LONGSHORE_HOST": "127.0.0.1", "LONGSHORE_PORT": str(self.port)}

    def _data(self) -> tuple[str, str]:
        if self.keeps:
            return ("--volume", f"{self.name}:{DATA}")
        return ("--tmpfs", f"{DATA}:uid=10001,gid=10001,mode=0700")

    def _network(self) -> tuple[str, ...]:
        if self.network == "host":
            return ("--network", "host")
        network = () if self.network is None else ("--network", self.network)
        return (*network, "--publish", f"{self.host}:{INSIDE}")
