"""Runs the ETL job as a flow on a real Prefect API and prints what became of it as JSON, on the last line.

A process of its own, as sweep_scenarios.py is.
"""

import json
import sys
from pathlib import Path
from typing import Any

from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from flows.etl import complex_etl


def run(**parameters: Any) -> dict[str, Any]:
    """One run of the flow: its state, result or error, and its artifacts."""
    state: Any = complex_etl(**parameters, return_state=True)
    result = state.result(raise_on_failure=False)
    return {
        "state": state.type.value,
        "result": result if isinstance(result, dict) else f"{type(result).__name__}: {result}",
        "markdown": artifact("etl"),
        "table": json.loads(artifact("etl-table") or "[]"),
        "tasks": tasks(state.state_details.flow_run_id),
    }


def artifact(key: str) -> Any:
    found: Any = Artifact.get(key)
    return found.data if found else None


def tasks(flow_run_id: Any) -> dict[str, str]:
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(limit=200)
    return {run.name: run.state.type.value for run in runs if run.state and run.flow_run_id == flow_run_id}


def main() -> None:
    seen: dict[str, Any] = {}
    with prefect_test_harness(server_startup_timeout=120):
        seen["none"] = run(repos=[])
        seen["unknown"] = run(sources=["order"])
        seen["dry"] = run(dry_run=True)
        seen["mixed"] = run(repos=["shop", "missing"])
        seen["away"] = run(repos=["missing"])
        Path("horae.toml").write_text('[jobs.etl]\nwarehous = "x"\n')
        seen["typing mistake"] = run()
        sys.modules["dlt"] = None  # type: ignore[assignment] # as if the extra were not installed
        seen["no extra"] = run()
    print("\n" + json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
