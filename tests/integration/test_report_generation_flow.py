"""The weekly report as a Prefect flow over a real ledger: a week without data, and one of 100,000 fires."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE_BYTES = 200_000


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> dict[str, Any]:
    """What became of each scenario of report_scenarios.py."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "horae.toml").write_text("")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PREFECT_", "HORAE_"))}
    environment |= {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / "home")}
    environment |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "WARNING"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("report_scenarios.py")), valkey_url, folder.parent.name[:8]],
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


pytestmark = pytest.mark.timeout(300)


def test_without_a_store_it_says_how_to_name_one(seen: dict[str, Any]) -> None:
    assert seen["no store"]["state"] == "FAILED"
    assert seen["no store"]["result"].startswith("NoLedger: no state store is configured")


def test_a_store_that_is_away_is_no_quiet_week(seen: dict[str, Any]) -> None:
    assert seen["away"]["state"] == "FAILED"
    assert seen["away"]["result"].startswith("StoreUnavailable")


def test_a_week_without_data_fails_and_is_still_written(seen: dict[str, Any]) -> None:
    empty = seen["empty"]
    assert empty["state"] == "FAILED"
    assert empty["result"].startswith("NoData: NO DATA: the ledger has no runs of this period.")
    assert empty["markdown"].startswith("**NO DATA")
    assert empty["latest"]["runs"] == 0


def test_a_hundred_thousand_fires_are_all_counted(seen: dict[str, Any]) -> None:
    many = seen["many"]
    assert many["state"] == "COMPLETED"
    assert many["result"]["runs"] == 100_000
    verdicts = many["result"]["verdicts"]
    assert sum(verdicts.values()) == 100_000
    assert 800 < verdicts["failed"] < 1200
    assert 1700 < verdicts["missed"] < 2300
    assert {one["tier"] for one in many["latest"]["jobs"]} == {"prefect", "oneiric", "apscheduler"}
    assert all(one["runs"] == 10_000 for one in many["latest"]["jobs"])
    assert 0.9 < many["latest"]["lateness_seconds"]["p95"] < 1.0
    page = Path(many["result"]["page"])
    assert page.stat().st_size < PAGE_BYTES
    assert page.with_name("latest.html").read_text() != ""


def test_the_page_needs_nothing_else_and_nothing_breaks_out_of_it(seen: dict[str, Any]) -> None:
    text = Path(seen["many"]["result"]["page"]).read_text()
    assert text.count("<svg") == 11
    assert "<script" not in text
    assert "http" not in text
    assert "<b>no</b>" not in text
    assert "&lt;b&gt;no&lt;/b&gt; such | thing" in text


def test_the_end_is_not_included_and_days_can_be_said(seen: dict[str, Any]) -> None:
    assert seen["week before"]["state"] == "FAILED"
    days = seen["days"]["latest"]
    assert (days["since"], days["until"]) == ("2026-11-21T00:00:00Z", "2026-11-23T00:00:00Z")
    assert 28_500 < days["runs"] < 28_600


def test_a_wrong_number_of_days_is_refused(seen: dict[str, Any]) -> None:
    assert seen["bad days"]["state"] == "FAILED"
    assert "days=0: give 1 to 366" in seen["bad days"]["result"]
