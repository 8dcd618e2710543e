"""Alerts and the dashboard: read by Prometheus itself, and over numbers that are there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from registry.app import make_app
from registry.config import Settings
from registry.installation import keys_of, prepare_database
from registry.web.observe import Metrics
from tests.deploy.files import DEPLOY, parse, passed
from tests.e2e.clients import debian

ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
UNIT_TESTS = DEPLOY / "prometheus" / "alerts.test.yaml"
DASHBOARD = DEPLOY / "grafana" / "longshore.json"
# What Prometheus itself records of each target.
OF_PROMETHEUS = {"up"}


def rules() -> list[dict[str, Any]]:
    (group,) = parse(ALERTS.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def targets() -> Iterator[tuple[str, str]]:
    """Yield the title of a panel with each expression in it."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    yield from (expression for _, expression in targets())


def exposed() -> set[str]:
    """The names under which /metrics shows numbers, those of a histogram's parts included."""
    metrics = Metrics(None)
    metrics.requests.labels("GET", "/", "200").inc()
    metrics.seconds.labels("GET", "/").observe(1)
    return set(re.findall(r"^(\w+)(?=[{ ])", metrics.render().decode(), re.MULTILINE))


def test_every_number_is_exposed() -> None:
    named = set(re.findall(r"\blongshore_\w+", "\n".join(expressions())))
    assert named
    assert named - exposed() == set()


def test_every_selector_is_of_a_number() -> None:
    for expression in expressions():
        for name in re.findall(r"(\w+)\{", expression):
            assert name in OF_PROMETHEUS | exposed(), expression


@pytest.fixture
async def routes(tmp_path: Path) -> set[str]:
    """The routes by the names that the numbers have for them."""
    settings = Settings.model_validate({"data": tmp_path / "data", "auth": "on"})
    prepare_database(settings)
    keys_of(settings).ensure("ES256")
    runner = web.AppRunner(await make_app(settings))
    await runner.setup()
    try:
        return {route.resource.canonical for route in runner.app.router.routes() if route.resource}
    finally:
        await runner.cleanup()


async def test_every_route_is_there(routes: set[str]) -> None:
    everything = "\n".join([*expressions(), UNIT_TESTS.read_text()])
    named = set(re.findall(r'route!?="([^"]+)"', everything))
    assert "/v2/{name}/manifests/{reference}" in named
    assert named - routes == set()
    for pattern in re.findall(r'route=~"([^"]+)"', everything):
        assert any(re.fullmatch(pattern, route) for route in routes), pattern


@pytest.mark.e2e
def test_prometheus_reads_the_alerts() -> None:
    assert f"{len(rules())} rules found" in passed(debian("promtool"), "check", "rules", ALERTS)


@pytest.mark.e2e
def test_alerts_go_off_when_they_should_and_not_before() -> None:
    passed(debian("promtool"), "test", "rules", UNIT_TESTS)


def test_each_alert_was_seen_to_go_off() -> None:
    seen = {
        case["alertname"]
        for test in parse(UNIT_TESTS.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert {rule["alert"] for rule in rules()} == seen


def test_each_alert_says_how_bad_it_is_and_the_runbook_what_to_do() -> None:
    headings = re.findall(r"^### (\w+)$", (DEPLOY / "RUNBOOK.md").read_text(), re.MULTILINE)
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}
    alerts = [rule["alert"] for rule in rules()]
    assert [name for name in headings if name.startswith("Longshore")] == alerts


@pytest.mark.e2e
def test_prometheus_reads_the_panels(tmp_path: Path) -> None:
    recorded = [
        {"record": f"panel:{number}", "expr": plain(expression)}
        for number, (_, expression) in enumerate(targets())
    ]
    path = tmp_path / "panels.yaml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": recorded}]}))
    assert f"{len(recorded)} rules found" in passed(debian("promtool"), "check", "rules", path)


def plain(expression: str) -> str:
    """Fill in what Grafana fills in."""
    return expression.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")


def test_the_dashboard_can_be_imported_anywhere() -> None:
    board = dashboard()
    # With an id of its own it would replace whatever has that id.
    assert "id" not in board
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert sources == [{"type": "prometheus", "uid": "${datasource}"}] * len(sources)
    used = set(re.findall(r"\$(\w+)", "\n".join(expression for _, expression in targets())))
    assert used == {"job", "instance", "__rate_interval"}
    assert used - {"__rate_interval"} <= set(variables)


def test_panels_have_a_place_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
