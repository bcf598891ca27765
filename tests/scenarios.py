"""Runs a program of scenarios, such as `audit_scenarios.py`, which prints their results as JSON on its last line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def results_of(
    program: str, project: Path, *arguments: str, timeout_seconds: float, **variables: str
) -> dict[str, Any]:
    """The results of a program in tests/integration, run in that project on a Prefect of its own."""
    (project / "horae.toml").touch()
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PREFECT_", "HORAE_"))}
    environment |= {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(project / "home")}
    environment |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"} | variables
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "integration" / program), *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
