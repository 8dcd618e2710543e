"""A containerd of the test's own: for `ctr`, and under the Docker engine."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from .clients import debian
from .process import Daemon, child_environment, processes_naming, wait_until

# Kubernetes' plugin would open ports of its own and look for networks.
CONFIGURATION = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{socket}"
"""


class Containerd:
    """containerd with root, state and socket under `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.socket = folder / "containerd.sock"
        configuration = folder / "containerd.toml"
        configuration.write_text(
            CONFIGURATION.format(root=folder / "root", state=folder / "state", socket=self.socket)
        )
        argv = (debian("containerd"), "--config", configuration)
        self._daemon = Daemon(argv, folder / "containerd.log", child_environment())

    def start(self) -> None:
        """Start it and wait for its socket."""
        self._daemon.start()
        self._daemon.wait_ready(self.socket.is_socket)

    def stop(self) -> None:
        """End it, and the shims that it left to their containers."""
        self._daemon.stop()
        for shim in processes_naming(str(self.socket)):
            with suppress(ProcessLookupError):
                os.kill(shim, signal.SIGKILL)
        wait_until(lambda: not any(processes_naming(str(self.socket))), "containerd's shims end")

    def log_tail(self) -> str:
        """The end of containerd's log."""
        return self._daemon.log_tail()
