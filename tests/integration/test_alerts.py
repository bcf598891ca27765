"""The alert rules of the how-to and the queries of the dashboard, against what real processes show on /metrics."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from horae.local.ports import free_port
from horae.settings import StoreSettings
from tests.processes import services
from tests.requirements import promtool
from tests.waiting import wait_for

pytestmark = pytest.mark.requires("valkey")
ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy/grafana/horae.json"
RULES = ROOT / "docs/how-to/alerts.yaml"
WHAT_PROMETHEUS_ADDS = {"instance", "job", "exported_job"}
BROKEN = """
from horae import job


@job(traits=["infrastructure"], idempotent=True)
def broken() -> None:
    raise OSError("disk full")
"""
OFTEN = """
from horae import every, job


@job(schedule=every("1s"))
def often() -> None:
    pass
"""


@dataclass(frozen=True, kw_only=True)
class Series:
    name: str
    labels: dict[str, str]
    value: float


def series(text: str) -> list[Series]:
    found = re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE)
    return [
        Series(name=name, labels=dict(re.findall(r'(\w+)="([^"]*)"', labels)), value=float(value))
        for name, labels, value in found
    ]


@pytest.fixture(scope="module")
def shown(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Series]]:
    """What a sidecar and a queue worker show once a job has failed."""
    folder = tmp_path_factory.mktemp("alerts")
    for name in ("flows", "infra", "internal"):
        (folder / name).mkdir()
    (folder / "infra/broken.py").write_text(BROKEN)
    (folder / "internal/often.py").write_text(OFTEN)
    (folder / "horae.toml").write_text("")
    ports = {"sidecar": free_port(), "queue_worker": free_port()}

    def pages() -> list[Series]:
        found: list[Series] = []
        for port in ports.values():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                found += series(page.read().decode())
        return found

    def failed() -> list[Series]:
        found = pages()
        there = [one for one in found if one.name == "horae_fires_failed_total" and one.labels["job"] == "broken"]
        fired = any(one.name == "horae_fire_late_seconds_bucket" for one in found)
        return found if fired and there and there[0].value == 1 else []

    with services(folder, valkey_url, "alerts") as running:
        running.start("sidecar", HORAE_SIDECAR__HEALTH_PORT=str(ports["sidecar"]))
        running.start("queue_worker", HORAE_WORKER__HEALTH_PORT=str(ports["queue_worker"]))
        wait_for(lambda: any(one.name == "horae_dead_letters" for one in pages()), "the first figures", 20)
        enqueued = subprocess.run(
            [sys.executable, "-m", "horae", "enqueue", "broken"],
            cwd=folder,
            env=running.environment,
            capture_output=True,
        )
        assert enqueued.returncode == 0, enqueued.stderr
        yield wait_for(failed, "the failure to be shown", 30)


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def targets() -> list[dict[str, Any]]:
    """The queries of the dashboard, and that by which KEDA scales."""
    scaled = yaml.safe_load((ROOT / "deploy/kubernetes/scaled-object.yaml").read_text())["spec"]["triggers"]
    scaling = [{"expr": trigger["metadata"]["query"], "legendFormat": ""} for trigger in scaled]
    return [target for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]] + scaling


def holds(expression: str, said: list[str], shown: list[Series]) -> None:
    """The metrics of the expression are shown, with the labels that it matches, groups by or mentions."""
    names = set(re.findall(r"horae_\w+", expression))
    assert names
    assert names <= {one.name for one in shown}
    for name, matched in re.findall(r"(horae_\w+)\{(.*?)\}", expression):
        for label, pattern in re.findall(r'(\w+)=~?"(.*?)"', matched):
            assert any(one.name == name and re.fullmatch(pattern, one.labels.get(label, "")) for one in shown)
    labels = {label for one in shown if one.name in names for label in one.labels} | WHAT_PROMETHEUS_ADDS
    grouped = re.findall(r"by \((.*?)\)", expression)
    assert {label for group in grouped for label in group.split(", ")} | set(said) <= labels


def valued(shown: list[Series], name: str, **labels: str) -> list[float]:
    return [one.value for one in shown if one.name == name and one.labels == labels]


def test_the_ledgers_truth_is_shown_with_a_zero_for_what_never_happened(shown: list[Series]) -> None:
    assert valued(shown, "horae_fires_failed_total", job="broken") == [1]
    assert valued(shown, "horae_fires_missed_total", job="broken") == [0]
    assert valued(shown, "horae_ledger_runs_total", job="broken", verdict="failed") == [1]
    assert valued(shown, "horae_ledger_runs_total", job="broken", verdict="ran") == [0]
    assert valued(shown, "horae_dead_letters") == [1]
    assert valued(shown, "horae_runs_claimed") == valued(shown, "horae_outbox_entries") == [0]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_what_a_rule_asks_for_is_there(rule: dict[str, Any], shown: list[Series]) -> None:
    holds(rule["expr"], re.findall(r"\$labels\.(\w+)", str(rule["annotations"])), shown)


@pytest.mark.parametrize("target", targets(), ids=lambda target: str(target["expr"]))
def test_what_a_panel_asks_for_is_there(target: dict[str, Any], shown: list[Series]) -> None:
    holds(target["expr"], re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]), shown)


@pytest.mark.requires("promtool")
def test_prometheus_can_read_the_queries_and_its_configuration(tmp_path: Path) -> None:
    recorded = [{"record": f"panel:{number}", "expr": target["expr"]} for number, target in enumerate(targets())]
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    shutil.copy(ROOT / "deploy/prometheus.yaml", tmp_path)
    checked = [str(promtool()), "check", "config", str(tmp_path / "prometheus.yaml")]
    found = subprocess.run(checked, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{len(recorded)} rules found" in found.stdout


def test_rules_say_what_is_wrong_in_words_that_hold() -> None:
    known = {f"store.{name}" for name in StoreSettings.model_fields}
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")
        assert set(re.findall(r"store\.\w+", rule["annotations"]["description"])) <= known


def test_every_rule_has_its_trial() -> None:
    trials = yaml.safe_load((ROOT / "tests/alerts.yaml").read_text())["tests"]
    fired = {one["alertname"] for trial in trials for one in trial["alert_rule_test"] if one.get("exp_alerts")}
    silent = {one["alertname"] for trial in trials for one in trial["alert_rule_test"] if not one.get("exp_alerts")}
    assert fired == silent == {rule["alert"] for rule in rules()}


@pytest.mark.requires("promtool")
def test_promtool_agrees() -> None:
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(ROOT / "tests/alerts.yaml")]):
        found = subprocess.run([str(promtool()), *command], capture_output=True, text=True)
        assert found.returncode == 0, found.stdout + found.stderr
