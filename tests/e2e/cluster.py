"""Several longshore nodes over one PostgreSQL and one S3 server, behind the nginx of deploy/nginx.conf."""

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from tests.deploy.proxies import NGINX
from tests.postgres import PostgresServer, running_postgres
from tests.storage.servers import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, S3Server

from .certificates import Tls, make_certificate
from .clients import ROOT, Account, debian
from .engine import Bridge
from .process import Daemon, child_environment, free_port, running
from .server import Server

KEYS_SECRET: Final = "thirty-two characters are needed, at the least"


def url_of(host: str, tls: Tls | None) -> str:
    """Return where a proxy answers."""
    return f"{'http' if tls is None else 'https'}://{host}"


class Node(Protocol):
    """A server behind the proxy."""

    @property
    def host(self) -> str:
        """Host and port."""


class Nginx:
    """The proxy as deploy/ has it, with the addresses of a test in it; plain HTTP without a certificate.

    `changed` has directives of deploy/ and what to write in their place, for a proxy that is set up wrong.
    """

    def __init__(
        self,
        folder: Path,
        host: str,
        nodes: Sequence[Node],
        tls: Tls | None = None,
        changed: Mapping[str, str] | None = None,
    ) -> None:
        self.host = host
        self.url = url_of(host, tls)
        self._folder = folder
        folder.mkdir()
        site = self._site(nodes, tls)
        for directive, other in (changed or {}).items():
            pattern = r"\s+".join(map(re.escape, directive.split()))
            site, count = re.subn(rf"^ *{pattern}\b.*;", other, site, flags=re.MULTILINE)
            assert count == 1, f"{directive} is {count} times in deploy/nginx.conf"
        (folder / "longshore.conf").write_text(site)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
        argv = (debian("nginx"), "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr")
        self._daemon = Daemon(argv, folder / "nginx.log", child_environment())

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._daemon.start()
        self._daemon.wait_ready((self._folder / "nginx.pid").exists)

    def stop(self) -> None:
        """End it."""
        self._daemon.stop()

    def log_tail(self) -> str:
        """The end of its log of errors."""
        return self._daemon.log_tail()

    def _site(self, nodes: Sequence[Node], tls: Tls | None) -> str:
        site = (ROOT / "deploy" / "nginx.conf").read_text()
        servers = "".join(f"    server {node.host} max_fails=2 fail_timeout=5s;\n" for node in nodes)
        site = re.sub(r"(?:^ *server 192\.0\.2\.\d+:.*\n)+", servers, site, flags=re.MULTILINE)
        # Only the server block that serves; the other one sends people from port 80 to it.
        upstream, _, rest = site.partition("server {\n    listen 80;")
        serving = rest[rest.index("server {\n    listen 443") :]
        listen = f"    listen {self.host}{' ssl' if tls else ''};\n"
        serving = re.sub(r"(?:^ *listen .*\n)+", listen, serving, flags=re.MULTILINE)
        serving = serving.replace("server_name registry.example.com", "server_name _")
        if tls is None:
            serving = re.sub(r"^ *ssl_.*\n", "", serving, flags=re.MULTILINE)
        else:
            serving = serving.replace("/etc/longshore/tls/fullchain.pem", str(tls.certificate))
            serving = serving.replace("/etc/longshore/tls/privkey.pem", str(tls.key))
        return upstream + serving


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes and what they stand on. Clients go to `host`, which is the proxy's."""

    nodes: list[Server]
    proxy: Nginx
    postgres: PostgresServer
    s3: S3Server
    tls: Tls | None

    @property
    def host(self) -> str:
        """Host and port, as they stand at the start of an image's name."""
        return self.proxy.host

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.proxy.url

    def add_user(self, name: str, password: str) -> Account:
        """Create an account, who owns the namespace of that name."""
        return self.nodes[0].add_user(name, password)

    def log_tail(self) -> str:
        """The ends of the logs."""
        logs = [(f"node {number}", node.log_tail()) for number, node in enumerate(self.nodes)]
        return "\n".join(f"-- {name}\n{tail}" for name, tail in [*logs, ("nginx", self.proxy.log_tail())])


@contextlib.contextmanager
def running_cluster(
    folder: Path,
    *,
    count: int = 3,
    tls: bool = False,
    settings: Mapping[str, str] | None = None,
    s3_endpoint: str | None = None,
    s3_port: int | None = None,
) -> Iterator[Cluster]:
    """Run a cluster of `count` nodes.

    `s3_endpoint` is for nodes that reach the S3 server by way of something that disturbs; that server then
    listens on `s3_port`.
    """
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        (folder / "s3").mkdir()
        s3 = stack.enter_context(running(S3Server("minio", folder / "s3", s3_port)))
        address, certificate = "127.0.0.1", None
        if tls:
            # Not loopback: there a Docker engine does not look at certificates.
            bridge = Bridge()
            stack.callback(bridge.remove)
            bridge.up()
            address = str(bridge.subnet[1])
            certificate = make_certificate(folder / "tls", address)
        host = f"{address}:{free_port()}"
        shared = {
            "LONGSHORE_EXTERNAL_URL": url_of(host, certificate),
            "LONGSHORE_DATABASE": postgres.create(),
            "LONGSHORE_KEYS_SECRET": KEYS_SECRET,
            "LONGSHORE_STORAGE": f"s3://{BUCKET}/cluster",
            "LONGSHORE_S3_ENDPOINT": s3_endpoint or s3.endpoint,
            # Another name: clients that are sent on to the same one take their token along, which S3 refuses.
            "LONGSHORE_S3_PUBLIC_ENDPOINT": f"http://localhost:{s3.port}",
            "LONGSHORE_S3_REGION": REGION,
            "LONGSHORE_WORKERS": "1",
            "LONGSHORE_TRUSTED_PROXIES": f"127.0.0.0/8,{address}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            **(settings or {}),
        }
        nodes = []
        for number in range(count):
            (folder / f"node{number}").mkdir()
            nodes.append(Server(folder / f"node{number}", shared))
        proxy = Nginx(folder / "nginx", host, nodes, certificate)
        for node in nodes:
            stack.enter_context(running(node))
        stack.enter_context(running(proxy))
        yield Cluster(nodes, proxy, postgres, s3, certificate)


@contextlib.contextmanager
def trusted_by_docker(host: str, authority: Path) -> Iterator[None]:
    """Let Docker engines of this machine trust an authority for one host."""
    folder = Path("/etc/docker/certs.d") / host
    folder.mkdir(parents=True)
    try:
        shutil.copy(authority, folder / "ca.crt")
        yield
    finally:
        shutil.rmtree(folder)
