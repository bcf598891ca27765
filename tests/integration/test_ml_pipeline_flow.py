"""The machine learning pipeline as a Prefect flow: steps, cached results, artifacts and refusals."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import results_of

pytestmark = [pytest.mark.timeout(240), pytest.mark.requires("ml")]
STEPS = {"validate", "split", "preprocess", "train", "evaluate"}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of the scenarios of ml_scenarios.py."""
    folder = tmp_path_factory.mktemp("project")
    return results_of("ml_scenarios.py", folder, timeout_seconds=230)


def test_each_step_is_a_task_and_leaves_a_model_and_a_card(seen: dict[str, Any]) -> None:
    first = seen["first"]
    assert first["state"] == "COMPLETED"
    assert first["tasks"] == dict.fromkeys({*STEPS, "report"}, "Completed")
    assert first["result"]["metrics"]["accuracy"] > 0.8
    assert Path(first["result"]["model"]).is_file()
    assert Path(first["result"]["card"]).is_file()


def test_what_is_known_is_not_worked_out_again(seen: dict[str, Any]) -> None:
    assert seen["again"]["tasks"] == dict.fromkeys(STEPS, "Cached") | {"report": "Completed"}
    assert seen["again"]["result"] == seen["first"]["result"]


def test_a_known_result_without_its_file_is_worked_out_again(seen: dict[str, Any]) -> None:
    assert seen["model gone"]["tasks"] == dict.fromkeys(STEPS, "Cached") | {"train": "Completed", "report": "Completed"}


def test_the_ui_gets_a_card_a_table_and_images(seen: dict[str, Any]) -> None:
    artifacts = seen["artifacts"]
    assert "# gaps-linear" in artifacts["card"]
    assert {row["metric"] for row in json.loads(artifacts["metrics"])} >= {"accuracy", "ROC AUC"}
    for name in ("confusion", "importance"):
        kind, _, data = artifacts[name].partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")


def test_gaps_are_filled_and_told(seen: dict[str, Any]) -> None:
    assert seen["gaps"]["state"] == "COMPLETED"
    assert any("10 cells (8.3 %) are missing" in note for note in seen["gaps"]["result"]["notes"])


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("leak", "Leak: the target leaks into the features"),
        ("one class", "has one value only ('yes')"),
        ("no data", "unknown data set 'iriss', did you mean 'iris'"),
        ("no model", "'gradient-boosting', 'linear' or 'random-forest'"),
        ("no extra", "pip install 'horae[ml]'"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_in_a_sentence(seen: dict[str, Any], scenario: str, words: str) -> None:
    assert seen[scenario]["state"] == "FAILED"
    assert words in seen[scenario]["result"]
