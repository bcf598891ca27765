"""compose.yaml as a whole, with the override for engines without a bridge: deploy/compose.host.yaml says what it needs.

CI has no engine, so these tests are skipped there too.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.processes import ROOT
from tests.requirements import compose as compose_program
from tests.requirements import images_absent
from tests.waiting import wait_for

FILES = ("-f", "compose.yaml", "-f", "deploy/compose.host.yaml")
IMAGES = ("horae", "horae-servers")
HEAL_SECONDS = 120
REPORT = "report-generation/report-generation"


def docker(*words: str) -> "subprocess.CompletedProcess[str]":
    environment = {"HORAE_REVISION": "1", **os.environ}
    return subprocess.run(["docker", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def compose(*words: str) -> str:
    done = docker("compose", "--project-name", "horae-test", *FILES, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


pytestmark = [
    pytest.mark.skipif(compose_program() != ["docker", "compose"], reason="needs the plugin `docker compose`"),
    pytest.mark.skipif(bool(images_absent(*IMAGES)), reason=images_absent(*IMAGES)),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module", autouse=True)
def started() -> Iterator[None]:
    subprocess.run(["scripts/compose-secrets"], cwd=ROOT, check=True)
    try:
        compose("up", "--detach", "--wait", "--no-build")
        yield
    finally:
        docker("compose", "--project-name", "horae-test", *FILES, "down", "--volumes", "--timeout", "20")


def horae(*words: str) -> Any:
    return json.loads(compose("exec", "-T", "sidecar", "horae", *words, "--json"))


def fires(job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = horae("fires", job)
    return found


def run_of_each_tier() -> tuple[str, Callable[[], bool]]:
    """Starts a durable run and a flow run, and tells when both, and a fire of an internal job after them, have run."""
    beats = {one["run_id"] for one in fires("heartbeat")}
    run_id = horae("enqueue", "log-aggregation")["run_id"]
    flow = compose("exec", "-T", "prefect-worker", "prefect", "--no-prompt", "deployment", "run", REPORT)
    before = len([one for one in fires(REPORT) if one["verdict"]])

    def ran() -> bool:
        durable = horae("show", run_id)["verdict"] == "ran"
        flows = [one for one in fires(REPORT) if one["verdict"]]
        beat = [one for one in fires("heartbeat") if one["verdict"] == "ran" and one["run_id"] not in beats]
        return durable and len(flows) > before and flows[0]["verdict"] == "ran" and bool(beat)

    return flow, ran


def test_one_job_of_each_tier_runs() -> None:
    flow, ran = run_of_each_tier()
    wait_for(ran, f"a run of each tier; Prefect said: {flow}", 60)


def test_prometheus_reads_all_four_processes() -> None:
    query = (
        "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9090/api/v1/query?query=up').read().decode())"
    )

    def up() -> bool:
        found = json.loads(compose("exec", "-T", "sidecar", "python", "-c", query))["data"]["result"]
        return [one["value"][1] for one in found] == ["1"] * 4

    wait_for(up, "Prometheus to see both sidecars and both queue workers", 60)


@pytest.mark.parametrize(
    "service", ["sidecar", "queue-worker", "prefect-worker", "prefect-server", "valkey", "postgres"]
)
def test_a_container_that_is_killed_comes_back_and_each_tier_goes_on(service: str) -> None:
    container = compose("ps", "--quiet", service).strip()
    pid = docker("inspect", "--format", "{{.State.Pid}}", container).stdout.strip()
    # From outside, as a crash: the engine does not restart what its own `kill` ended.
    os.kill(int(pid), 9)

    def healthy() -> bool:
        state = docker("inspect", "--format", "{{.State.Pid}} {{.State.Health.Status}}", container).stdout.split()
        return state[0] != pid and state[1] == "healthy"

    wait_for(healthy, f"{service} to be healthy again", HEAL_SECONDS)
    flow, ran = run_of_each_tier()
    wait_for(ran, f"a run of each tier; Prefect said: {flow}", HEAL_SECONDS)
