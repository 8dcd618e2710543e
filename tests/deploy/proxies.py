"""nginx and Caddy with the files of deploy/, in front of one node that lives and another one."""

import contextlib
import ssl
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path

from tests.deploy.files import DEPLOY, passed
from tests.e2e.clients import Account, debian, go_tool
from tests.e2e.process import Daemon, child_environment, free_port
from tests.e2e.wire import WIRE_SECONDS, Wire

NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/longshore.conf;
}}
"""
# Its authority stays out of the machine's trusted ones.
CADDY = """\
{{
	admin off
	skip_install_trust
	http_port {http}
	https_port {https}
	storage file_system {folder}/storage
}}
import {file}
"""


@dataclass
class Proxy:
    """A proxy that answers at https://localhost:PORT; `authority` is whom clients have to trust."""

    port: int
    authority: Path
    daemon: Daemon

    def start(self) -> None:
        """Start it and wait until it speaks TLS."""
        self.daemon.start()
        self.daemon.wait_ready(self._speaks)

    def stop(self) -> None:
        """End it."""
        self.daemon.stop()

    def log_tail(self) -> str:
        """The end of its log."""
        return self.daemon.log_tail()

    def connect(self) -> HTTPSConnection:
        """A new connection, not open yet."""
        context = ssl.create_default_context(cafile=self.authority)
        return HTTPSConnection("localhost", self.port, timeout=WIRE_SECONDS, context=context)

    def wire(self, repository: str, account: Account) -> Wire:
        """The protocol spoken through it."""
        return Wire(f"localhost:{self.port}", repository, account, self.connect())

    def _speaks(self) -> bool:
        with contextlib.suppress(OSError), contextlib.closing(self.connect()) as connection:
            connection.connect()
            return True
        return False


def nginx(folder: Path, node: str, other: str) -> Proxy:
    """Nginx with deploy/nginx.conf, its addresses and files aside."""
    port, key, certificate = free_port(), folder / "key.pem", folder / "certificate.pem"
    passed(
        *(debian("openssl"), "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
    )
    text = (DEPLOY / "nginx.conf").read_text()
    for said, meant in {
        "192.0.2.11:5000": node,
        "192.0.2.12:5000": other,
        "listen [::]:80;": "",
        "listen [::]:443 ssl;": "",
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/longshore/tls/fullchain.pem": str(certificate),
        "/etc/longshore/tls/privkey.pem": str(key),
    }.items():
        assert said in text, said
        text = text.replace(said, meant)
    (folder / "longshore.conf").write_text(text)
    main = folder / "nginx.conf"
    main.write_text(NGINX.format(folder=folder))
    argv = (debian("nginx"), "-p", folder, "-c", main, "-e", "stderr")
    passed(*argv, "-t")
    return Proxy(port, certificate, Daemon(argv, folder / "log", child_environment()))


def caddy(folder: Path, node: str, other: str) -> Proxy:
    """Caddy with deploy/Caddyfile as it stands."""
    port, main, adapter = free_port(), folder / "Caddyfile", ("--adapter", "caddyfile")
    main.write_text(CADDY.format(http=free_port(), https=port, folder=folder, file=DEPLOY / "Caddyfile"))
    environment = child_environment(SITE="localhost", NODES=f"{node} {other}", HOME=str(folder))
    passed(go_tool("caddy"), "validate", "--config", main, *adapter, environment=environment)
    argv = (go_tool("caddy"), "run", "--config", main, *adapter)
    authority = folder / "storage" / "pki" / "authorities" / "local" / "root.crt"
    return Proxy(port, authority, Daemon(argv, folder / "log", environment))
