"""Words to name and describe repositories with: few enough to repeat, as words do."""

from collections.abc import Sequence
from random import Random
from typing import Final


def _list(text: str) -> Sequence[str]:
    return text.split()


SUBJECTS: Final = _list(
    """
    python node golang rust java ruby php perl elixir haskell scala kotlin swift dotnet erlang lua
    julia zig nginx apache caddy haproxy envoy traefik varnish squid postgres mysql mariadb redis
    mongo cassandra sqlite clickhouse influx kafka rabbit nats pulsar elastic solr grafana
    prometheus loki tempo jaeger vault consul etcd minio registry gitea jenkins runner builder
    alpine debian ubuntu fedora busybox wordpress ghost drupal nextcloud matrix mastodon jitsi
    airflow spark flink hadoop jupyter torch tensor whisper llama keycloak ldap
    """
)

ROLES: Final = _list(
    """
    server client proxy cache worker agent exporter operator controller gateway api web frontend
    backend queue scheduler runner builder base tools cli console dashboard monitor backup migrate
    sidecar init adapter bridge connector sync ingest export parser lexer engine core lite slim full
    dev test demo docs site blog shop cart billing orders users search index mail chat video image
    audio thumbs upload mirror relay tunnel edge probe
    """
)

FILLERS: Final = _list(
    """
    a the small fast simple complete official unofficial hardened minimal reproducible nightly
    stable container service application platform toolkit library runtime image for with without and
    on of to from that runs serves collects stores streams builds deploys watches balances
    compresses encrypts replicates schedules data requests events logs metrics traces messages files
    documents pages users teams clusters nodes pipelines
    """
)


def name(random: Random) -> str:
    """A name of one to three words."""
    words = [random.choice(SUBJECTS), *random.choices(ROLES, k=random.choice((0, 1, 1, 2)))]
    return "-".join(words)


def sentence(random: Random, length: int) -> str:
    """A sentence of `length` words."""
    pools = random.choices((SUBJECTS, ROLES, FILLERS), (1, 1, 4), k=length)
    return " ".join(random.choice(pool) for pool in pools).capitalize() + "."


def overview(random: Random, title: str) -> str:
    """A page of Markdown."""
    paragraphs = [" ".join(sentence(random, 12) for _ in range(4)) for _ in range(random.randint(1, 6))]
    code = f"```console\n$ docker run --rm {title} --help\n```"
    items = "\n".join(f"- **{random.choice(ROLES)}**: {sentence(random, 8)}" for _ in range(5))
    return "\n\n".join([f"# {title}", *paragraphs, "## How to use it", code, "## Settings", items])
