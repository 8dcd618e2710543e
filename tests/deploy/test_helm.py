"""The chart: accepted by Helm, and what it makes holds together."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from registry.cli.backup import backup as command
from tests.deploy.files import CHART, DEPLOY, OF_BOTO3, SETTINGS, parse, passed, run
from tests.e2e.clients import go_tool

pytestmark = pytest.mark.e2e

Object = dict[str, Any]
VALUES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
SECRET = re.compile(r"SECRET|PASSWORD|TOKEN$|ACCESS_KEY|DATABASE$")


def words_for(values: str, *more: str) -> tuple[str | Path, ...]:
    sets = (word for each in more for word in ("--set-json", each))
    return (CHART, "--values", CHART / "ci" / f"{values}-values.yaml", *sets)


def render(values: str, *more: str) -> list[Object]:
    """The objects that the chart makes of a set of values, with `more` of the form name=JSON."""
    text = passed(go_tool("helm"), "template", "team", *words_for(values, *more), "--namespace", "registry")
    return [each for each in yaml.safe_load_all(text) if each is not None]


def refused(values: str, *more: str) -> str:
    """What Helm says to values that it must not take."""
    done = run(go_tool("helm"), "template", "team", *words_for(values, *more))
    assert done.returncode != 0
    return done.stderr


def the(kind: str, objects: Iterable[Object]) -> Object:
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def policy(name: str, objects: Iterable[Object]) -> Object:
    """What a NetworkPolicy says."""
    found = the("NetworkPolicy", (each for each in objects if each["metadata"]["name"] == name))["spec"]
    assert isinstance(found, dict)
    return found


def pod_of(kind: str, objects: Iterable[Object]) -> Object:
    """The pods that a Deployment or a CronJob makes."""
    spec = the(kind, objects)["spec"]
    found = (spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"]
    assert isinstance(found, dict)
    return found


def container(objects: Iterable[Object], kind: str = "Deployment") -> Object:
    (found,) = pod_of(kind, objects)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(objects: Iterable[Object], kind: str = "Deployment") -> dict[str, Object]:
    variables = container(objects, kind)["env"]
    found = {each["name"]: each for each in variables}
    assert len(found) == len(variables), "a variable is there twice"
    return found


@pytest.mark.parametrize("values", VALUES)
def test_helm_accepts_it(values: str) -> None:
    assert "0 chart(s) failed" in passed(go_tool("helm"), "lint", "--strict", *words_for(values))


def test_values_are_described() -> None:
    """Each value has its place in the schema, and the other way round."""
    values, schema = (
        parse((CHART / "values.yaml").read_text()),
        json.loads((CHART / "values.schema.json").read_text()),
    )
    assert set(values) == set(schema["properties"]) - {"global"}
    for name, value in values.items():
        described = schema["properties"][name].get("properties")
        if described is not None:
            assert set(value) == set(described), name


def test_kinds_are_those_that_were_asked_for() -> None:
    always = {"Deployment", "Service"}
    assert {each["kind"] for each in render("single")} == always | {"PersistentVolumeClaim"}
    team = always | {"Ingress", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"}
    assert {each["kind"] for each in render("team")} == team
    optional = {"CronJob", "HorizontalPodAutoscaler", "PrometheusRule", "ServiceMonitor"}
    assert {each["kind"] for each in render("everything")} == team | optional


@pytest.mark.parametrize("values", VALUES)
def test_objects_are_labelled_alike(values: str) -> None:
    for each in render(values):
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "longshore"
        assert labels["app.kubernetes.io/instance"] == "team"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


@pytest.mark.parametrize("values", VALUES)
def test_selectors_find_the_pods_and_the_service(values: str) -> None:
    objects = render(values)
    pod = the("Deployment", objects)["spec"]["template"]
    labels = pod["metadata"]["labels"].items()
    for each in objects:
        spec = each.get("spec", {})
        match each["kind"]:
            case "Deployment":
                selectors = [spec["selector"]["matchLabels"]]
                selectors += [
                    constraint["labelSelector"]["matchLabels"]
                    for constraint in pod["spec"]["topologySpreadConstraints"]
                ]
            case "Service":
                selectors = [spec["selector"]]
            case "NetworkPolicy":
                selectors = [spec["podSelector"]["matchLabels"]]
                if each["metadata"]["name"].endswith("-backup"):
                    labels = pod_of("CronJob", objects)["metadata"]["labels"].items()
            case "PodDisruptionBudget":
                selectors = [spec["selector"]["matchLabels"]]
            case "ServiceMonitor":
                selectors = [spec["selector"]["matchLabels"]]
                labels = the("Service", objects)["metadata"]["labels"].items()
            case _:
                selectors = []
        for selector in selectors:
            assert selector
            assert selector.items() <= labels, each["kind"]
        labels = pod["metadata"]["labels"].items()


def test_pods_of_backups_are_not_taken_for_nodes() -> None:
    objects = render("everything")
    labels = pod_of("CronJob", objects)["metadata"]["labels"].items()
    assert not the("Service", objects)["spec"]["selector"].items() <= labels
    assert not the("Deployment", objects)["spec"]["selector"]["matchLabels"].items() <= labels


@pytest.mark.parametrize("values", VALUES)
def test_nothing_secret_is_in_plain_text(values: str) -> None:
    objects = render(values)
    assert not [each for each in objects if each["kind"] == "Secret"]
    for kind in {"Deployment", "CronJob"} & {each["kind"] for each in objects}:
        for name, variable in environment(objects, kind).items():
            if SECRET.search(name):
                assert set(variable) == {"name", "valueFrom"}, name
                assert set(variable["valueFrom"]) == {"secretKeyRef"}


def test_secrets_are_taken_from_where_the_values_say() -> None:
    variables = environment(render("everything"))
    found = {
        name: each["valueFrom"]["secretKeyRef"] for name, each in variables.items() if "valueFrom" in each
    }
    assert found == {
        "LONGSHORE_DATABASE": {"name": "longshore-database", "key": "url"},
        "LONGSHORE_KEYS_SECRET": {"name": "longshore", "key": "keys"},
        "LONGSHORE_ADMIN_PASSWORD": {"name": "longshore", "key": "admin-password"},
        "LONGSHORE_METRICS_TOKEN": {"name": "longshore", "key": "metrics-token"},
        "AWS_ACCESS_KEY_ID": {"name": "longshore-s3", "key": "id"},
        "AWS_SECRET_ACCESS_KEY": {"name": "longshore-s3", "key": "key"},
    }


@pytest.mark.parametrize("values", VALUES)
def test_variables_are_settings(values: str) -> None:
    assert set(environment(render(values))) - SETTINGS - OF_BOTO3 == set()


def test_settings_are_written_as_they_are_meant() -> None:
    more = 'settings={"LONGSHORE_MANIFEST_LIMIT": 8388608, "LONGSHORE_SIGNUP": true}'
    variables = environment(render("team", more))
    assert variables["LONGSHORE_MANIFEST_LIMIT"]["value"] == "8388608"
    assert variables["LONGSHORE_SIGNUP"]["value"] == "true"
    assert variables["LONGSHORE_S3_PATH_STYLE"]["value"] == "auto"
    assert variables["LONGSHORE_S3_REDIRECT"]["value"] == "true"
    assert variables["LONGSHORE_TRUSTED_PROXIES"]["value"] == "10.244.0.0/16"
    assert "LONGSHORE_S3_ENDPOINT" not in variables


@pytest.mark.parametrize(
    ("values", "kind"), [*((values, "Deployment") for values in VALUES), ("everything", "CronJob")]
)
def test_pods_are_modest(values: str, kind: str) -> None:
    objects = render(values)
    pod = pod_of(kind, objects)["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    user = re.findall(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert [(str(pod["securityContext"]["runAsUser"]), str(pod["securityContext"]["runAsGroup"]))] == user
    assert container(objects, kind)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {each["mountPath"]: each["name"] for each in container(objects, kind)["volumeMounts"]}
    more = {"/etc/authority", "/etc/longshore-backup"}
    assert set(mounted) - more == {"/var/lib/longshore", "/tmp"}
    assert set(mounted.values()) == {each["name"] for each in pod["volumes"]}


@pytest.mark.parametrize("values", VALUES)
def test_probes_ask_for_what_they_are_for(values: str) -> None:
    probes = container(render(values))
    paths = {name: probes[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    # A database that is away for a while must not have nodes restarted.
    assert {name: each["path"] for name, each in paths.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {each["port"] for each in paths.values()} == {port["name"] for port in probes["ports"]}
    # The server itself gives readiness three seconds.
    assert probes["readinessProbe"]["timeoutSeconds"] > 3


@pytest.mark.parametrize(("values", "timeout"), [("team", 60), ("everything", 600)])
def test_a_pod_may_finish_its_transfers(values: str, timeout: int) -> None:
    objects = render(values)
    pod = the("Deployment", objects)["spec"]["template"]["spec"]
    assert environment(objects)["LONGSHORE_SHUTDOWN_TIMEOUT"]["value"] == str(timeout)
    pause = int(container(objects)["lifecycle"]["preStop"]["exec"]["command"][1])
    # The server takes up to eight seconds more to note what was cut and to close its stores.
    assert pod["terminationGracePeriodSeconds"] >= pause + timeout + 8


def test_nodes_are_replaced_one_by_one() -> None:
    objects = render("team")
    assert the("Deployment", objects)["spec"]["strategy"]["rollingUpdate"] == {
        "maxSurge": 1,
        "maxUnavailable": 0,
    }
    assert the("PodDisruptionBudget", objects)["spec"]["maxUnavailable"] == 1


def test_a_single_node_is_never_two() -> None:
    deployment = the("Deployment", render("single"))["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    claim = {"claimName": "team-longshore"}
    volumes = {each["name"]: each for each in deployment["template"]["spec"]["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"] == claim


def test_an_autoscaler_decides_alone_how_many_there_are() -> None:
    objects = render("everything")
    assert "replicas" not in the("Deployment", objects)["spec"]
    target = the("HorizontalPodAutoscaler", objects)["spec"]["scaleTargetRef"]
    assert target["name"] == the("Deployment", objects)["metadata"]["name"]
    assert "cpu" in container(objects)["resources"]["requests"]


def test_the_ingress_lets_bodies_through() -> None:
    ingress = the("Ingress", render("everything"))
    nginx = "nginx.ingress.kubernetes.io/"
    assert ingress["metadata"]["annotations"] == {
        f"{nginx}proxy-body-size": "0",
        f"{nginx}proxy-buffering": "off",
        f"{nginx}proxy-request-buffering": "off",
        f"{nginx}proxy-read-timeout": "3600",
        f"{nginx}proxy-send-timeout": "900",
    }
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == "registry.example.com"
    assert ingress["spec"]["tls"] == [{"hosts": ["registry.example.com"], "secretName": "longshore-tls"}]
    (path,) = rule["http"]["paths"]
    service = the("Service", render("everything"))
    assert path["backend"]["service"]["name"] == service["metadata"]["name"]
    assert path["backend"]["service"]["port"]["name"] == service["spec"]["ports"][0]["name"]


def test_the_network_policy_lets_in_whom_it_names() -> None:
    nodes = policy("team-longshore", render("everything"))
    assert nodes["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = nodes["ingress"]
    assert len(rule["from"]) == 2
    assert rule["ports"] == [{"protocol": "TCP", "port": "http"}]
    allowed = {(port["protocol"], port["port"]) for each in nodes["egress"] for port in each["ports"]}
    assert {("UDP", 53), ("TCP", 5432), ("TCP", 9000), ("TCP", 443)} <= allowed
    assert "from" not in the("NetworkPolicy", render("team"))["spec"]["ingress"][0]


def test_a_backup_may_go_out_and_nobody_comes_in() -> None:
    objects = render("everything")
    backup = policy("team-longshore-backup", objects)
    assert backup["policyTypes"] == ["Ingress", "Egress"]
    assert backup["ingress"] == []
    assert backup["egress"] == policy("team-longshore", objects)["egress"]


def test_a_backup_is_the_command_with_what_it_needs() -> None:
    objects = render("everything")
    cron = the("CronJob", objects)["spec"]
    assert (cron["schedule"], cron["timeZone"]) == ("15 3 * * 1-6", "Europe/Berlin")
    assert cron["concurrencyPolicy"] == "Forbid"
    made, node = container(objects, "CronJob"), container(objects)
    assert made["image"] == node["image"]
    assert made["resources"]["limits"] == {"memory": "2Gi"}
    name, *words = made["args"]
    said = command.make_context(name, words).params
    assert (name, said["dest"], said["keep"]) == (command.name, "s3://backups/registry", 30)
    assert said["endpoint"] == "https://s3.elsewhere.example.com"
    # It works on what the nodes work on, and does not get what only they need.
    variables, of_nodes = environment(objects, "CronJob"), environment(objects)
    for name in ("LONGSHORE_DATABASE", "LONGSHORE_STORAGE", "LONGSHORE_S3_ENDPOINT", "AWS_ACCESS_KEY_ID"):
        assert variables[name] == of_nodes[name]
    assert set(of_nodes) - set(variables) == {
        "LONGSHORE_KEYS_SECRET",
        "LONGSHORE_ADMIN_PASSWORD",
        "LONGSHORE_METRICS_TOKEN",
    }
    assert set(variables) - SETTINGS - OF_BOTO3 == set()


def test_keys_of_a_backup_are_files_of_its_secret() -> None:
    objects = render("everything")
    made = container(objects, "CronJob")
    (secret,) = (each["secret"] for each in pod_of("CronJob", objects)["spec"]["volumes"] if "secret" in each)
    assert (secret["secretName"], secret["defaultMode"]) == ("longshore-backup", 0o440)
    (folder,) = (each["mountPath"] for each in made["volumeMounts"] if each["name"] == "secret")
    files = {each["key"]: f"{folder}/{each['path']}" for each in secret["items"]}
    assert set(files) == {"sealing-key", "aws-credentials"}
    assert f"--key-file={files['sealing-key']}" in made["args"]
    assert environment(objects, "CronJob")["AWS_SHARED_CREDENTIALS_FILE"]["value"] == files["aws-credentials"]
    assert "--profile=backup" in made["args"]
    # Without a Secret it is not sealed, and the nodes' keys do.
    plain = render("team", "backup.enabled=true", 'backup.destination="s3://backups"')
    assert container(plain, "CronJob")["args"] == ["backup", "s3://backups", "--keep=14"]
    assert "AWS_SHARED_CREDENTIALS_FILE" not in environment(plain, "CronJob")


ON_A_CLAIM = ("backup.enabled=true", 'backup.destination="/backup/a"', 'backup.existingClaim="backups"')


def test_a_single_node_is_backed_up_beside_it() -> None:
    objects = render("single", *ON_A_CLAIM, "backup.keep=0")
    pod, made = pod_of("CronJob", objects)["spec"], container(objects, "CronJob")
    assert made["args"] == ["backup", "/backup/a"]
    mounted = {each["mountPath"]: each["name"] for each in made["volumeMounts"]}
    claims = {
        each["name"]: each["persistentVolumeClaim"]["claimName"]
        for each in pod["volumes"]
        if "persistentVolumeClaim" in each
    }
    assert claims[mounted["/var/lib/longshore"]] == the("PersistentVolumeClaim", objects)["metadata"]["name"]
    assert claims[mounted["/backup"]] == "backups"
    (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    labels = pod_of("Deployment", objects)["metadata"]["labels"].items()
    assert term["labelSelector"]["matchLabels"].items() <= labels
    words = refused("single", *ON_A_CLAIM, 'persistence.accessMode="ReadWriteOncePod"')
    assert "set persistence.accessMode to ReadWriteOnce" in words


def test_prometheus_is_given_its_token_and_its_alerts() -> None:
    objects = render("everything")
    (endpoint,) = the("ServiceMonitor", objects)["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": "longshore", "key": "metrics-token"}
    assert {"targetLabel": "job", "replacement": "longshore"} in endpoint["relabelings"]
    alerts = parse((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    assert the("PrometheusRule", objects)["spec"] == alerts


@pytest.mark.parametrize(
    ("values", "more", "said"),
    [
        ("team", 'externalUrl="registry.example.com"', "/externalUrl"),
        ("team", 'externalUrl="https://registry.example.com/path"', "/externalUrl"),
        ("team", 'image.repository=""', "/image/repository"),
        ("team", 'storage.url="images"', "/storage/url"),
        ("team", "storage.pathStyle=true", "/storage/pathStyle"),
        ("team", 'storge.url="s3://images"', "storge"),
        ("team", 'settings.LONGSHORE_DATABASE="postgresql://u:p@h/d"', "LONGSHORE_DATABASE"),
        ("team", 'settings.LOG_LEVEL="debug"', "LOG_LEVEL"),
        ("team", 'storage.url=""', "or persistence.enabled for a single node"),
        ("team", 'secrets.keys.name=""', "secrets.keys.name"),
        ("team", "persistence.enabled=true", "persistence is for one node"),
        ("single", "replicas=2", "persistence is for a single node"),
        ("single", "autoscaling.enabled=true", "persistence is for a single node"),
        ("everything", 'secrets.metricsToken.name=""', "secrets.metricsToken.name"),
        ("everything", 'backup.destination=""', "set backup.destination"),
        ("everything", 'backup.destination="backups"', "/backup/destination"),
        ("everything", 'backup.destination="/backup"', "backup.existingClaim"),
        ("everything", 'backup.existingClaim="backups"', "backup.existingClaim"),
        ("everything", 'backup.destination="s3://images/"', "backup.destination is the storage itself"),
    ],
)
def test_what_cannot_work_is_refused_in_words(values: str, more: str, said: str) -> None:
    assert said in refused(values, more)


def test_it_can_be_packaged(tmp_path: Path) -> None:
    """The alerts, which are elsewhere in the source, come along."""
    passed(go_tool("helm"), "package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("longshore-*.tgz")
    more = ("--values", CHART / "ci" / "everything-values.yaml")
    text = passed(go_tool("helm"), "template", "team", package, *more)
    assert "LongshoreDown" in text
