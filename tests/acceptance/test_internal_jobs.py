"""Each bundled internal job stands alone: copied into an empty project it works, and without it the others do."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HELPERS = {
    "heartbeat": "_heartbeat",
    "dlq-processing": "_dlq",
    "cache-cleanup": "_cleanup",
    "metrics-collection": "_metrics",
    "cache-warming": None,
    "health-check": "_health",
}
SCHEDULES = {
    "heartbeat": "every 10s",
    "dlq-processing": "every 5m",
    "cache-cleanup": "cron 0 * * * * UTC",
    "metrics-collection": "every 1m",
    "cache-warming": "every 45s",
    "health-check": "every 30s",
}
"""As the decision matrix has them."""


def files_of(job: str) -> list[str]:
    return [f"{job.replace('-', '_')}.py", *([helpers] if (helpers := HELPERS[job]) else [])]


def horae(project: Path, *arguments: str) -> Any:
    # Without bytecode each look at the cost of an import compiles it anew; users have it.
    left_out = ("HORAE_", "PREFECT_", "PYTHONDONTWRITEBYTECODE")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
    done = subprocess.run(
        [sys.executable, "-m", "horae", *arguments, "--json"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("job", HELPERS)
def test_a_job_travels_alone(job: str, project: Path) -> None:
    for name in files_of(job):
        source = ROOT / "internal" / name
        if source.is_dir():
            shutil.copytree(source, project / "internal" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, project / "internal" / name)
    assert horae(project, "check") == []
    explained = horae(project, "explain", job)
    assert (explained["tier"], explained["schedule"]) == ("apscheduler", SCHEDULES[job])
    run = horae(project, "run", job)
    assert run["verdict"] == "ran"
    assert run["duration_seconds"] < 5


@pytest.mark.parametrize("job", HELPERS)
def test_without_a_job_the_others_are_sound(job: str, project: Path) -> None:
    gone = shutil.ignore_patterns("__pycache__", *files_of(job))
    for folder in ("flows", "infra", "internal"):
        ignored = gone if folder == "internal" else shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, project / folder, ignore=ignored, dirs_exist_ok=True)
    shutil.copy(ROOT / "prefect.yaml", project)
    found = horae(project, "check")
    assert [finding for finding in found if finding["level"] == "error"] == []
    assert job not in [one["name"] for one in horae(project, "jobs")]
