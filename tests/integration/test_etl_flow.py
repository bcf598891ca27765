"""The ETL job as a Prefect flow: tasks, artifacts, parameters and refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.etl_projects import repository

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(300)
SETTINGS = """
repos = ["shop"]
[jobs.etl.sources.orders]
files = "orders.csv"
columns = { id = "bigint" }
key = "id"
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of each scenario of etl_scenarios.py, in a project with a repository and a CSV file."""
    folder = tmp_path_factory.mktemp("project")
    repository(folder / "shop")
    (folder / "horae.toml").write_text(SETTINGS)
    (folder / "orders.csv").write_text("id\n1\nx\n")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PREFECT_", "HORAE_"))}
    environment |= {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / "home")}
    environment |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("etl_scenarios.py"))],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_each_step_of_each_source_is_a_task(seen: dict[str, Any]) -> None:
    tasks = {name: state for name, state in seen["mixed"]["tasks"].items() if "missing" not in name}
    names = {f"{step} {source}" for step in ("extract", "transform") for source in ("shop", "orders")}
    names |= {"load the repositories", "load orders", "record"}
    assert names <= set(tasks)
    assert set(tasks.values()) == {"COMPLETED"}


def test_a_dry_run_is_told_first_and_reads_all(seen: dict[str, Any]) -> None:
    assert seen["dry"]["result"]["headline"] == (
        "DRY RUN, nothing was written. All 2 sources were read: 6 rows read, 5 would be loaded, 1 rejected, 0 removed."
    )
    assert not [name for name in seen["dry"]["tasks"] if name.startswith(("load", "record"))]


def test_what_was_not_read_comes_first_and_the_rest_is_loaded(seen: dict[str, Any]) -> None:
    mixed = seen["mixed"]
    assert mixed["state"] == "COMPLETED"
    assert mixed["markdown"].startswith(
        "**INCOMPLETE: 2 of 3 sources were loaded and reconciled: 6 rows read, 5 loaded"
    )
    assert mixed["result"]["unseen"] == ["missing was not loaded: there is no such folder."]
    assert mixed["table"][0]["reconciled"] == "NOT LOADED: there is no such folder"
    assert [row["in warehouse"] for row in mixed["table"][1:]] == [2, 2, 1]
    assert "- orders, orders: id: … is not a bigint (1 times)" in mixed["markdown"]


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("unknown", "unknown source 'order', did you mean 'orders'?"),
        ("typing mistake", "[jobs.etl]: unknown setting 'warehous', did you mean 'warehouse'?"),
        ("no extra", "pip install 'horae[etl]'"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(seen: dict[str, Any], scenario: str, words: str) -> None:
    assert seen[scenario]["state"] == "FAILED"
    assert words in seen[scenario]["result"]


def test_a_run_that_loads_only_a_part_says_so(seen: dict[str, Any]) -> None:
    assert seen["none"]["state"] == "COMPLETED", "the source is still there"
    assert seen["away"]["markdown"].startswith("**INCOMPLETE: 1 of 2 sources were loaded")
