"""The code sweep as a Prefect flow: tasks, verdict and artifacts, on a real Prefect API."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of each scenario of sweep_scenarios.py, in a project with one sound repository, `sound`."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "horae.toml").write_text("")
    subprocess.run(["git", "init", "-q", str(folder / "sound")], check=True)
    (folder / "sound" / "app.py").write_text("import os\n")
    subprocess.run(["git", "-C", str(folder / "sound"), "add", "--all"], check=True)
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PREFECT_", "HORAE_"))}
    environment |= {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / "home")}
    environment |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("sweep_scenarios.py"))],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_one_broken_repository_is_named_and_the_others_are_reported(seen: dict[str, Any]) -> None:
    mixed = seen["mixed"]
    assert mixed["state"] == "COMPLETED"
    assert mixed["result"]["swept"] == ["sound"]
    assert mixed["result"]["broken"] == {"missing": "the folder does not exist"}
    statuses = {entry["name"]: entry["status"] for entry in mixed["latest"]["repositories"]}
    assert statuses == {"sound": "swept", "missing": "broken"}


def test_each_repository_is_a_task_of_its_own(seen: dict[str, Any]) -> None:
    assert seen["tasks"]["sweep sound"] == "COMPLETED"
    assert seen["tasks"]["sweep missing"] == "FAILED"


def test_the_ui_gets_a_table_and_a_markdown_report(seen: dict[str, Any]) -> None:
    assert "- **missing**: the folder does not exist" in seen["markdown"]
    assert [(row["repository"], row["lines"]) for row in seen["table"]] == [("sound", 1), ("missing", "-")]


def test_repositories_come_from_the_settings_and_changes_are_named(seen: dict[str, Any]) -> None:
    configured = seen["configured"]
    assert configured["result"]["swept"] == ["sound"]
    assert configured["latest"]["previous_at"] == seen["mixed"]["latest"]["at"]
    assert {"repository": "sound", "figure": "lines", "before": 1, "after": 2} in configured["latest"]["changes"]
    assert "missing is no longer swept" in configured["latest"]["news"]


def test_it_fails_when_nothing_could_be_swept_and_still_reports(seen: dict[str, Any]) -> None:
    broken = seen["broken"]
    assert broken["state"] == "FAILED"
    found = re.fullmatch(
        r"NothingSwept: (/.*): the folder does not exist; (/.*): there is no such folder\. (.*)", broken["result"]
    )
    assert found, broken["result"]
    assert [Path(place).name for place in found.groups()[:2]] == ["missing", "gone"]
    assert "HORAE_REPOS" in found[3]
    assert [entry["status"] for entry in broken["latest"]["repositories"]] == ["broken", "broken"]


def test_no_repository_at_all_is_refused(seen: dict[str, Any]) -> None:
    assert seen["none"]["state"] == "FAILED"
    assert "give some in horae.toml" in seen["none"]["result"]
    assert seen["none"]["latest"] is None


def test_the_health_check_finds_the_api_well(seen: dict[str, Any]) -> None:
    assert seen["api_health"]["ok"] is True, seen["api_health"]
