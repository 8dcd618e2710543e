"""A Docker engine of the test's own, which knows Docker Hub's names through a mirror only."""

import os
import shutil
import subprocess
from contextlib import ExitStack, suppress
from ipaddress import IPv4Network
from pathlib import Path

from .clients import Client, debian, docker
from .containerd import Containerd
from .process import Daemon, child_environment

BRIDGES = IPv4Network("10.199.0.0/16")
USER_NETWORKS = "base=10.198.0.0/16,size=24"


class Bridge:
    """The network of an engine's containers, apart from that of any other engine on the machine."""

    def __init__(self) -> None:
        self.name, self.subnet = self._claim()

    def up(self) -> None:
        """Bring it up, with the subnet's first address as the containers' gateway."""
        _ip("address", "add", f"{self.subnet[1]}/{self.subnet.prefixlen}", "dev", self.name)
        _ip("link", "set", self.name, "up")

    def remove(self) -> None:
        """Remove the bridge and the packet filter's rules that name it."""
        with suppress(subprocess.CalledProcessError):
            _ip("link", "delete", self.name)
        for table in ("nat", "filter"):
            for rule in _iptables(table, "-S").splitlines():
                if self.name in rule.split() and rule.startswith("-A "):
                    _iptables(table, "-D", *rule.split()[1:])

    @staticmethod
    def _claim() -> tuple[str, IPv4Network]:
        """A new bridge and its subnet: only one engine can make the bridge of a name."""
        for number, subnet in enumerate(BRIDGES.subnets(new_prefix=24)):
            name = f"longshore{number}"
            with suppress(subprocess.CalledProcessError):
                _ip("link", "add", name, "type", "bridge")
                return name, subnet
        raise RuntimeError(f"no subnet of {BRIDGES} is free")


class Engine:
    """dockerd over its own containerd, with everything that it writes under `folder`.

    No question of a container for a name leaves the machine, unless builds need a package index: with
    `offline` false they ask where the machine itself asks.
    """

    def __init__(self, folder: Path, mirror: str, *, offline: bool = True) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.docker = self.client("root")
        self.containerd = Containerd(folder / "containerd")
        dockerd = debian("dockerd")
        self.bridge = Bridge()
        argv = (
            *(dockerd, "--host", f"unix://{self.socket}"),
            *("--containerd", self.containerd.socket),
            *("--data-root", folder / "data", "--exec-root", folder / "exec"),
            *("--pidfile", folder / "docker.pid"),
            *("--storage-driver", "overlay2"),
            *("--bridge", self.bridge.name, "--default-address-pool", USER_NETWORKS),
            *(("--dns", "127.0.0.1") if offline else ()),
            *("--registry-mirror", mirror),
        )
        self._daemon = Daemon(argv, folder / "dockerd.log", child_environment())

    def client(self, person: str) -> Client:
        """Docker's client with the credentials of one person, kept apart from those of others."""
        return docker(self.folder / "homes" / person, self.socket)

    def start(self) -> None:
        """Start it and wait until it answers its client."""
        self.containerd.start()
        self.bridge.up()
        self._daemon.start()
        self._daemon.wait_ready(lambda: self.docker.run("info").returncode == 0)

    def stop(self) -> None:
        """End it with its containers and networks, and remove what it stored."""
        with ExitStack() as steps:  # taken from the last to the first, even after one that failed
            for store in ("data", "exec", "containerd/root", "containerd/state"):
                steps.callback(shutil.rmtree, self.folder / store, ignore_errors=True)
            steps.callback(unmount_below, self.folder)
            steps.callback(self.bridge.remove)
            steps.callback(self.containerd.stop)
            steps.callback(self._daemon.stop)
            if self.docker.run("info").returncode == 0:
                self.remove_containers()
                self.docker("network", "prune", "--force")

    def remove_containers(self) -> None:
        """Remove every container, running or not."""
        if containers := self.docker("ps", "--all", "--quiet").split():
            self.docker("rm", "--force", *containers)

    def remove_images(self) -> None:
        """Remove every image and everything that the builders kept: what follows must come from a pull."""
        self.remove_containers()
        self.docker("image", "prune", "--all", "--force")
        self.docker("builder", "prune", "--all", "--force")

    def log_tail(self) -> str:
        """The end of the engine's log."""
        return self._daemon.log_tail()


def unmount_below(folder: Path) -> None:
    """Unmount whatever is mounted under `folder`, the innermost first."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed(mounts):
        if mount.startswith(f"{folder}{os.sep}"):
            subprocess.run([debian("umount"), "--lazy", mount], check=True)


def _ip(*words: str) -> str:
    return _system("ip", *words)


def _iptables(table: str, *words: str) -> str:
    return _system("iptables", "--wait", "--table", table, *words)


def _system(name: str, *words: str) -> str:
    return subprocess.run([debian(name), *words], check=True, capture_output=True, text=True).stdout
