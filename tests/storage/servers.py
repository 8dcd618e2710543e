"""Real S3 servers of the tests' own, on loopback, each with a folder for its data."""

import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import boto3.session
import pytest

from tests.e2e.certificates import Tls
from tests.e2e.clients import go_tool
from tests.e2e.process import Daemon
from tests.storage.stores import PLACE

ACCESS_KEY: Final = "tests-of-longshore"
SECRET_KEY: Final = "only-for-loopback"
BUCKET: Final = "longshore"
REGION: Final = "us-east-1"


class S3Server:
    """MinIO or versitygw with one bucket; MinIO speaks TLS where it is given a certificate."""

    def __init__(self, kind: str, folder: Path, port: int | None = None, tls: Tls | None = None) -> None:
        self.port = port or _free_port()
        self.data = folder / "data"
        self.data.mkdir()
        self.endpoint = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self._authority = None if tls is None else str(tls.authority)
        argv, settings = {"minio": _minio, "versitygw": _versitygw}[kind](self.port, self.data)
        if tls is not None:
            argv += ["--certs-dir", _certificates(folder, tls)]
        environment = {**os.environ, **settings, "GOMEMLIMIT": "256MiB", "GOMAXPROCS": "2"}
        self._daemon = Daemon(argv, folder / "server.log", environment)

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._daemon.pid

    def start(self) -> None:
        """Start the server and make the bucket, if it is not there."""
        self._daemon.start()
        self._daemon.wait_ready(self._has_bucket)

    def stop(self) -> None:
        """End the server; a start brings it back as it was."""
        self._daemon.stop()

    def log_tail(self) -> str:
        """The end of the server's log."""
        return self._daemon.log_tail()

    def client(self) -> Any:
        """A plain boto3 client with all rights."""
        session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
        return session.client("s3", endpoint_url=self.endpoint, verify=self._authority)

    def note_place(self, root: Path, **changed: object) -> None:
        """Write into a directory where a store of its own is in the bucket."""
        place = {"bucket": BUCKET, "prefix": f"test/{secrets.token_hex(8)}", "endpoint": self.endpoint}
        (root / PLACE).write_text(json.dumps({**place, **changed}))

    def _has_bucket(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                pass
        except OSError:
            return False
        client = self.client()
        try:
            client.create_bucket(Bucket=BUCKET)
        except client.exceptions.BucketAlreadyOwnedByYou:
            return True
        except client.exceptions.ClientError:
            return False  # it listens before it is ready
        finally:
            client.close()
        return True


def _minio(port: int, data: Path) -> tuple[list[str | Path], dict[str, str]]:
    argv: list[str | Path] = [go_tool("minio"), "server", "--quiet", "--address", f"127.0.0.1:{port}", data]
    settings = {
        "MINIO_ROOT_USER": ACCESS_KEY,
        "MINIO_ROOT_PASSWORD": SECRET_KEY,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    return argv, settings


def _certificates(folder: Path, tls: Tls) -> Path:
    """The folder in which MinIO looks for its certificate."""
    certificates = folder / "certificates"
    certificates.mkdir()
    shutil.copy(tls.certificate, certificates / "public.crt")
    shutil.copy(tls.key, certificates / "private.key")
    return certificates


def _versitygw(port: int, data: Path) -> tuple[list[str | Path], dict[str, str]]:
    credentials = ["--access", ACCESS_KEY, "--secret", SECRET_KEY]
    program, listen = go_tool("versitygw"), f"127.0.0.1:{port}"
    argv: list[str | Path] = [program, "--quiet", *credentials, "--port", listen, "posix", data]
    return argv, {}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def credentials() -> Iterator[None]:
    """Let boto3 find the servers' credentials in the environment, and look nowhere else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield
