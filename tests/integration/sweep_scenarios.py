"""Runs the code sweep as a real flow on a real Prefect API and prints what became of it, as JSON on the last line.

A process of its own: Prefect leaves sockets to the garbage collector, and the suite takes their warnings for errors.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from flows.code_sweep import code_sweep
from horae.settings import PrefectSettings, Settings
from internal._health.checks import check_prefect, run_checks
from internal._health.settings import HealthSettings


def run(*arguments: list[str]) -> dict[str, Any]:
    """One run of the flow: its state, result or error, and the report on disk."""
    state: Any = code_sweep.with_options(retries=0)(*arguments, return_state=True)
    result = state.result(raise_on_failure=False)
    latest = Path(".horae/reports/code-sweep/latest.json")
    return {
        "state": state.type.value,
        "result": result if isinstance(result, dict) else f"{type(result).__name__}: {result}",
        "latest": json.loads(latest.read_text()) if latest.exists() else None,
    }


def tasks() -> dict[str, str]:
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(limit=100)
    return {run.name: run.state.type.value for run in runs if run.state}


def artifact(key: str) -> Any:
    found: Any = Artifact.get(key)
    return found.data


async def api_health() -> dict[str, Any]:
    """What the health check says of this API."""
    url = PREFECT_API_URL.value()
    settings = Settings(prefect=PrefectSettings(api_url=url))
    (result,) = await run_checks(settings, HealthSettings(), {"prefect": check_prefect})
    return result.as_dict()


def main() -> None:
    seen: dict[str, Any] = {}
    with prefect_test_harness(server_startup_timeout=60):
        seen["none"] = run([])
        seen["mixed"] = run(["sound", "missing"])
        seen["tasks"] = tasks()
        seen["markdown"], seen["table"] = artifact("code-sweep"), json.loads(artifact("code-sweep-table"))
        Path("sound/app.py").write_text("import os\nimport sys\n")
        os.environ["HORAE_REPOS"] = "sound"
        seen["configured"] = run()
        seen["broken"] = run(["missing", "gone"])
        seen["api_health"] = asyncio.run(api_health())
    print("\n" + json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
