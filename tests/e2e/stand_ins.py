"""Stand-ins for the public images that deploy/compose.yaml names, where those cannot be fetched.

The programs are real: PostgreSQL as Debian has it, MinIO and Caddy as tests/tools/install builds them. Ours
is what is around them, after the public images' documentation and entrypoints: folders, accounts, variables,
and the way to the first start. So they tell whether compose.yaml, the Caddyfile and the nodes get along with
what an image is told and promises; of another version of a program, and of the rest that is in a public image
(its base, its own scripts, capabilities of its files), they tell nothing.
"""

from pathlib import Path

from .clients import Client, debian, go_tool
from .root_filesystem import root_filesystem

POSTGRES_ACCOUNT = "postgres:x:999:999::/var/lib/postgresql:/bin/sh\n"
ROOT_ACCOUNT = "root:x:0:0:root:/root:/bin/sh\n"
SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin"
SHELL = ("sh", "cat")
ENTRYPOINT = "/usr/local/bin/docker-entrypoint.sh"

# As root it takes the volume over and starts again as postgres. The first start makes the cluster, with a
# server that only the socket leads to: nothing that asks by TCP finds it before all is there.
START_POSTGRES = """\
#!/bin/sh
set -eu
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chmod 0700 "$PGDATA"
    chown -R postgres "$PGDATA" /run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    umask 077
    printf '%s\\n' "$POSTGRES_PASSWORD" > /tmp/password
    initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --encoding=UTF8
    rm /tmp/password
    printf 'host all all all scram-sha-256\\n' >> "$PGDATA/pg_hba.conf"
    pg_ctl start -w -o "-c listen_addresses=''"
    psql --username="$POSTGRES_USER" --dbname=postgres --command="CREATE DATABASE $POSTGRES_DB"
    pg_ctl stop -w -m fast
fi
exec "$@"
"""
START_MINIO = """\
#!/bin/sh
[ "$1" = minio ] || set -- minio "$@"
exec "$@"
"""


def load_postgres(docker: Client, folder: Path) -> str:
    """Load the stand-in for the image postgres, and return its name."""
    home = max(Path("/usr/lib/postgresql").iterdir(), key=lambda path: int(path.name))
    archive = folder / "postgres.tar"
    with root_filesystem(archive) as root:
        root.write("etc/passwd", ROOT_ACCOUNT + POSTGRES_ACCOUNT)
        root.write("etc/group", "root:x:0:\npostgres:x:999:\n")
        root.folder("run/postgresql")
        # Debian's programs have their socket there.
        root.link("var/run", "/run")
        root.add_programs(*map(debian, (*SHELL, "chmod", "chown", "id", "mkdir", "rm", "setpriv")))
        programs = ("initdb", "pg_ctl", "pg_isready", "postgres", "psql")
        root.add_programs(*(home / "bin" / name for name in programs))
        # The compiler of queries is as large as everything else together, and optional.
        root.add_programs(*(path for path in (home / "lib").glob("*.so") if path.name != "llvmjit.so"))
        for file in (path for path in Path("/usr/share/postgresql", home.name).rglob("*") if path.is_file()):
            root.add(file)
        root.add(Path("/usr/share/zoneinfo/UTC"))
        root.write(ENTRYPOINT, START_POSTGRES, mode=0o755)
    return load(
        *(docker, archive, "localhost/stand-in/postgres"),
        f"ENV PATH={SEARCH_PATH}:{home}/bin",
        "ENV PGDATA=/var/lib/postgresql/data",
        f'ENTRYPOINT ["{ENTRYPOINT}"]',
        'CMD ["postgres", "-c", "listen_addresses=*"]',
        "STOPSIGNAL SIGINT",
    )


def load_minio(docker: Client, folder: Path) -> str:
    """Load the stand-in for the image minio/minio, and return its name."""
    archive = folder / "minio.tar"
    with root_filesystem(archive) as root:
        root.write("etc/passwd", ROOT_ACCOUNT)
        root.add_programs(*map(debian, SHELL))
        root.copy(go_tool("minio"), "usr/bin/minio", mode=0o755)
        root.write(ENTRYPOINT, START_MINIO, mode=0o755)
    return load(docker, archive, "localhost/stand-in/minio", f'ENTRYPOINT ["{ENTRYPOINT}"]', 'CMD ["minio"]')


def load_caddy(docker: Client, folder: Path) -> str:
    """Load the stand-in for the image caddy, and return its name."""
    archive = folder / "caddy.tar"
    with root_filesystem(archive) as root:
        root.write("etc/passwd", ROOT_ACCOUNT)
        root.add_programs(*map(debian, SHELL))
        root.folder("config")
        root.folder("data")
        root.copy(go_tool("caddy"), "usr/bin/caddy", mode=0o755)
    return load(
        *(docker, archive, "localhost/stand-in/caddy"),
        "ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data",
        'CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]',
    )


def load(docker: Client, archive: Path, name: str, *lines: str) -> str:
    """Make an image of a root file system and more lines of a Dockerfile; return its name."""
    docker("import", archive, name)
    archive.unlink()
    dockerfile = (f"FROM {name}", f"ENV PATH={SEARCH_PATH}", *lines)
    docker("build", "--tag", name, "-", stdin="\n".join(dockerfile))
    return name
