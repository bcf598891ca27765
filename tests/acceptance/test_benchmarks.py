"""The bench itself: a small run measures, tells and writes; an interrupted one leaves nothing running."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
BENCH = (sys.executable, "-m", "benchmarks", "--contenders", "horae,raw", "--rounds", "1")
pytestmark = [pytest.mark.requires("valkey"), pytest.mark.timeout(300)]  # a real clock, on a machine that may be busy


def gone(progress: str) -> bool:
    """Whether every process group that the bench says it started has ended."""
    pids = [int(pid) for pid in re.findall(r"is process (\d+)$", progress, re.MULTILINE)]
    assert pids
    for pid in pids:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            continue
        return False
    return True


def run(tmp_path: Path, *words: str) -> tuple[dict[str, Any], str]:
    """The report and the table of a run in which everything could be measured."""
    report = tmp_path / "report.json"
    done = subprocess.run([*BENCH, "--report", str(report), *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    assert gone(done.stderr)
    return json.loads(report.read_text()), done.stdout


def measured(report: dict[str, Any]) -> dict[tuple[str, str], float]:
    return {(figure["what"], figure["who"]): figure["value"] for figure in report["figures"]}


def test_a_small_run_measures_horae_against_the_raw_client(tmp_path: Path) -> None:
    report, table = run(tmp_path, "--only", "throughput,enqueue,pickup", "--jobs", "2000", "--pickups", "5")
    figures = measured(report)
    for who in ("horae", "raw"):
        for what in ("no-op jobs, one process", "no-op jobs, two processes", "idle pick-up, p50"):
            assert figures[what, who] > 0
        for what in ("enqueues, one by one", "enqueues, in a batch"):
            assert figures[what, who] > 0
    assert {goal["what"]: goal["reached"] for goal in report["goals"]}["idle sidecar: memory"] is None
    assert "no-op jobs, one process" in table
    assert "≥ 10,000 /s" in table


@pytest.mark.requires("nats")
def test_a_small_run_measures_the_providers(tmp_path: Path) -> None:
    few = ("--providers", "redis,nats", "--jobs", "2000", "--pickups", "5")
    report, table = run(tmp_path, "--only", "providers", *few)
    figures = measured(report)
    seen = ("no-op jobs, one process", "enqueues, in a batch", "idle pick-up, p50", "idle pick-up, p99")
    for what in seen:
        for provider in ("redis", "nats"):
            assert figures[f"{provider}: {what}", "horae"] > 0
            assert figures[f"{provider}: {what}", "raw"] > 0
        slower = [figures[f"nats: {what}", who] for who in ("raw", "horae on redis")]
        own = figures[f"nats: {what}", "horae"]
        ratio = max(slower) / own if "pick-up" in what else own / min(slower)
        assert figures[f"nats: {what}, ratio", "horae"] == pytest.approx(ratio)
    assert [goal["what"] for goal in report["goals"] if goal["wanted"] == "≥ 0.9 ×"] == [
        f"nats: {what}, ratio" for what in ("idle pick-up, p50", "idle pick-up, p99", *seen[:2])
    ]
    assert "nats: no-op jobs, one process, ratio (×)" in table
    assert [one["name"] for one in report["contenders"]] == ["horae-redis", "raw-redis", "horae-nats", "raw-nats"]


def test_a_provider_that_is_not_measured_is_refused() -> None:
    done = subprocess.run([*BENCH, "--providers", "cloudtasks"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no 'cloudtasks'; there is redis, nats, " in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="memory and CPU are read from /proc")
def test_a_small_run_measures_horae_alone(tmp_path: Path) -> None:
    # Two seconds, in which each of them falls due many times.
    cron = ("--few-cron-jobs", "600", "--cron-jobs", "36000")
    others = ("--seconds", "2", "--due-jobs", "20", "--internal-jobs", "600", "--rows", "1000")
    report, table = run(tmp_path, "--only", "dispatch,drain,internal,idle,steps", *cron, *others)
    figures = measured(report)
    for what in (
        "600 cron jobs: begun, p99",
        "36,000 cron jobs: written, p99",
        "600 internal jobs: begun, p99",
        "20 due at once: run",
        "idle sidecar: memory",
        "prune of 300 runs: a step, max",
        "resume with 500 runs waiting: a step, max",
        "claim that supersedes 200 fires: a step, max",
        "dead letters of one job in 1,000: a step, max",
    ):
        assert figures[what, "horae"] >= 0
    written, begun = (figures[f"600 cron jobs: {what}, p50", "horae"] for what in ("written", "begun"))
    assert begun >= written
    assert "≤ 100 MB: " in table


def test_an_interrupted_bench_leaves_nothing_running(tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    command = [*BENCH, "--only", "throughput", "--jobs", "500", "--report", str(tmp_path / "report.json")]
    with progress.open("wb") as file:
        bench = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=file, start_new_session=True)
    try:
        wait_for(lambda: "horae worker is process" in progress.read_text(), "the bench to start a worker", 60)
        bench.send_signal(signal.SIGINT)
        shown, _ = bench.communicate(timeout=30)
    finally:
        bench.kill()
        bench.wait()
    assert bench.returncode == 130, progress.read_text()
    assert shown == b""
    assert gone(progress.read_text())
    assert "Traceback" not in progress.read_text()


def test_a_measurement_that_there_is_not_is_refused() -> None:
    done = subprocess.run([*BENCH, "--only", "speed"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no 'speed'; there is throughput, " in done.stderr
