"""Runs the dependency audit as a flow on a real Prefect API and prints what became of it as JSON, on the last line.

A process of its own, as sweep_scenarios.py is.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from flows import dependency_audit as file
from tests.audit_servers import RECORDS, osv_server, registry

REPORTS = Path(".horae/reports/dependency-audit")
PYPI = {"files": [{"filename": "jinja2-3.1.6-py3-none-any.whl", "url": "", "yanked": False}]}


def run(**parameters: Any) -> dict[str, Any]:
    """One run of the flow: its state, result or error, and the report on disk."""
    state: Any = file.dependency_audit(**parameters, return_state=True)
    result = state.result(raise_on_failure=False)
    latest = REPORTS / "latest.json"
    return {
        "state": state.type.value,
        "result": result if isinstance(result, dict) else f"{type(result).__name__}: {result}",
        "latest": json.loads(latest.read_text()) if latest.exists() else None,
        "markdown": artifact("dependency-audit"),
        "table": json.loads(artifact("dependency-audit-table") or "[]"),
    }


def artifact(key: str) -> Any:
    found: Any = Artifact.get(key)
    return found.data if found else None


def tasks() -> dict[str, str]:
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(limit=100)
    return {run.name: run.state.type.value for run in runs if run.state}


def configure(osv: str, registries: str, **more: Any) -> None:
    table = {"osv_url": osv, "pypi_url": f"{registries}/simple", "npm_url": f"{registries}/npm", "timeout_seconds": 3}
    table |= {"pypi_fallback": False} | more
    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items()]
    Path("horae.toml").write_text("\n".join(['repos = ["shop"]', "[jobs.dependency-audit]", *lines, ""]))


@contextmanager
def without_retries() -> Iterator[None]:
    kept = file.look_up_vulnerabilities
    file.look_up_vulnerabilities = kept.with_options(retries=0)
    yield
    file.look_up_vulnerabilities = kept


def main() -> None:
    seen: dict[str, Any] = {}
    Path("empty").mkdir()
    with prefect_test_harness(server_startup_timeout=60), registry({"/simple/jinja2/": PYPI}) as registries:
        with osv_server(*RECORDS) as osv, without_retries():
            configure(osv, registries)
            seen["none"] = run(repos=[])
            seen["found"] = run()
            seen["tasks"] = tasks()
            seen["mixed"] = run(repos=["shop", "missing"])
            configure(osv, registries, snapshto="x")
            seen["typing mistake"] = run()
        with without_retries():
            configure(osv, registries)  # which is gone now
            seen["away"] = run()
            seen["empty snapshot"] = run(snapshot="empty")
        os.environ["HORAE_JOBS__DEPENDENCY_AUDIT__SNAPSHOT"] = "records"
        seen["snapshot"] = run()
        sys.modules["cvss"] = None  # type: ignore[assignment] # as if the extra were not installed
        seen["no extra"] = run()
    print("\n" + json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
