"""Runs the machine learning pipeline as a flow on a real Prefect API and prints what became of it as JSON, on the last
line.

A process of its own, as sweep_scenarios.py is.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy
import pandas
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from flows.ml_pipeline import ml_pipeline


def run(**parameters: Any) -> dict[str, Any]:
    """One run of the flow: its state, its result or error, and the states of its tasks."""
    state: Any = ml_pipeline(**parameters, return_state=True)
    result = state.result(raise_on_failure=False)
    return {
        "state": state.type.value,
        "result": result if isinstance(result, dict) else f"{type(result).__name__}: {result}",
        "tasks": tasks(state.state_details.flow_run_id),
    }


def tasks(flow_run_id: Any) -> dict[str, str]:
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(limit=200)
    mine = [run for run in runs if run.flow_run_id == flow_run_id]
    return {run.name.rpartition("-")[0]: str(run.state.name) for run in mine if run.state}


def write() -> None:
    random = numpy.random.default_rng(1)
    age = random.uniform(18, 80, 120)
    table = pandas.DataFrame({"age": age, "left": numpy.where(random.uniform(18, 80, 120) < age, "yes", "no")})
    table.assign(age=table["age"].where(table.index > 9)).to_csv("gaps.csv", index=False)
    table.assign(code=table["left"].map({"yes": 1, "no": 2})).to_parquet("leak.parquet")
    table.assign(left="yes").to_csv("one.csv", index=False)


def main() -> None:
    write()
    seen: dict[str, Any] = {}
    with prefect_test_harness(server_startup_timeout=60):
        seen["first"] = run(model="linear")
        seen["again"] = run(model="linear")
        Path(seen["first"]["result"]["model"]).unlink()
        seen["model gone"] = run(model="linear")
        seen["gaps"] = run(dataset="gaps.csv", target="left", model="linear")
        seen["leak"] = run(dataset="leak.parquet", target="left")
        seen["one class"] = run(dataset="one.csv", target="left")
        seen["no data"] = run(dataset="iriss")
        seen["no model"] = run(model="deep")
        keys = ["card", "metrics", "confusion", "importance"]
        seen["artifacts"] = {key: getattr(Artifact.get(f"ml-pipeline-{key}"), "data", None) for key in keys}
        sys.modules["skops"] = None  # type: ignore[assignment] # as if the extra were not installed
        seen["no extra"] = run()
    print("\n" + json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
