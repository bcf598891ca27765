"""The work of the weekly report: figures, what was not seen, trends, plots and the page."""

import json
import xml.etree.ElementTree as xml
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows._report import headlines, ledger, rendering, report, svg
from flows._report.figures import JobFigures, percentile
from flows._report.settings import ReportSettings
from horae import decide
from horae.clock import isoformat
from horae.jobs.policies import Tier
from horae.project.loading import load
from horae.reasons import Reason
from horae.runs import Cause, Failure, Run, State
from horae.settings import load as load_settings
from horae.store.values import DeadLetter

SINCE, UNTIL = datetime(2026, 11, 16, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)


def ran(at: datetime = SINCE, *, late: float = 0.5, took: float = 2.0, **more: Any) -> Run:
    began = at + timedelta(seconds=late)
    given: dict[str, Any] = {
        "run_id": isoformat(at), "job": "backup", "tier": Tier.ONEIRIC, "cause": Cause.SCHEDULE, "state": State.RAN,
        "scheduled_for": at, "attempts": 1, "started_at": began, "ended_at": began + timedelta(seconds=took),
    }  # fmt: skip
    return Run(**(given | more))


def figures(*runs: Run, expected: int | None = None, job: str = "backup", tier: str = "oneiric") -> JobFigures:
    found = JobFigures(job=job, tier=tier, expected=expected)
    for run in runs:
        found.add(run)
    return found


def made(*jobs: JobFigures, **more: Any) -> report.Report:
    letters = more.pop("letters", ())
    counts = more.pop("counts", {})
    read = ledger.Ledger(
        begins=more.pop("begins", SINCE),
        jobs={one.job: one for one in jobs},
        counts=counts,
        dead_letters=letters,
        waiting_letters=len(letters),
    )
    return report.Report(since=SINCE, until=UNTIL, ledger=read, **more)


def test_runs_are_counted_by_verdict_reason_and_day() -> None:
    failure = Failure(type="OSError", message="disk\nfull")
    missed: dict[str, Any] = {"state": State.MISSED, "reason": "superseded", "attempts": 0, "started_at": None}
    found = figures(
        ran(),
        ran(SINCE + timedelta(days=1), state=State.FAILED, failure=failure),
        ran(SINCE + timedelta(days=1), ended_at=None, **missed),
        ran(state=State.RUNNING, ended_at=None, cause=Cause.MANUAL, scheduled_for=None, accepted_at=SINCE),
    )  # fmt: skip
    assert (found.runs, found.fires) == (4, 3)
    assert found.verdicts == {"ran": 1, "failed": 1, "missed": 1, "open": 1}
    assert found.reasons["missed: superseded"] == 1
    assert found.failures == {"OSError: disk full": 1}
    assert found.days[date(2026, 11, 17)].verdicts == {"failed": 1, "missed": 1}


def test_lateness_is_of_first_attempts_and_durations_of_what_ran_or_failed() -> None:
    found = figures(
        ran(late=1.0, took=3.0),
        ran(late=60.0, took=5.0, attempts=2),
        ran(state=State.CANCELLED, late=2.0, took=100.0),
    )
    assert found.lateness == [1.0, 2.0]
    assert found.durations == [3.0, 5.0]


@pytest.mark.parametrize(
    ("values", "p50", "p95"), [([], None, None), ([7.0], 7.0, 7.0), ([float(n) for n in range(1, 101)], 50.0, 95.0)]
)
def test_percentiles(values: list[float], p50: float | None, p95: float | None) -> None:
    assert (percentile(values, 50), percentile(values, 95)) == (p50, p95)


def test_a_week_without_data_is_never_a_good_week() -> None:
    found = made(figures(expected=7))
    assert rendering.headline(found) == "NO DATA: the ledger has no runs of this period."
    assert any("the store was emptied" in sentence for sentence in found.unseen)
    assert any("7 of 7 expected fires are not in the ledger" in sentence for sentence in found.unseen)
    page = rendering.html(found)
    assert page.index("NO DATA") < page.index("<h2>")
    assert rendering.markdown(found, "/x").startswith("**NO DATA")
    assert "0.00 %" not in page


def test_fires_that_left_no_row_are_told() -> None:
    runs = [ran(SINCE + timedelta(days=day)) for day in range(5)]
    (lacking,) = made(figures(*runs, expected=7)).unseen
    assert lacking.startswith("backup: 2 of 7 expected fires are not in the ledger")
    assert made(figures(*runs, expected=5)).unseen == ()


def test_a_ledger_that_begins_later_is_told_once() -> None:
    runs = [ran(UNTIL - timedelta(days=day)) for day in (1, 2)]
    (begins,) = made(figures(*runs, expected=2), begins=UNTIL - timedelta(days=2)).unseen
    assert begins.startswith("The ledger begins at 2026-11-21T00:00:00Z")


def test_rows_that_were_dropped_are_told_with_the_counters() -> None:
    newest = [ran(UNTIL - timedelta(minutes=minute)) for minute in range(1, 21)]
    counts = {"backup": {"ran": 20_100, "failed": 7}}
    alone = made(figures(*newest, expected=20_160), counts=counts)
    assert "its older runs were dropped" in alone.unseen[0]
    before = made(figures(*newest), counts={"backup": {"ran": 100, "failed": 4}}).as_dict() | {
        "until": isoformat(SINCE)
    }
    after = made(figures(*newest, expected=20_160), counts=counts, previous=before)
    assert "by the store's counters since the report before: 20,000 ran, 3 failed" in after.unseen[0]


def week_before(**duration: float) -> dict[str, Any]:
    entry = {"job": "backup", "duration_seconds": duration, "verdicts": {"failed": 1}}
    return {"until": isoformat(SINCE), "jobs": [entry]}


@pytest.mark.parametrize(
    ("p95", "words"), [(2.0, "steady"), (1.0, "p95 +100%"), (4.0, "p95 -50%")], ids=["equal", "slower", "faster"]
)
def test_the_trend_against_the_week_before(p95: float, words: str) -> None:
    failed = [ran(state=State.FAILED, took=2.0) for _ in range(3)]
    text = rendering.markdown(made(figures(*failed), previous=week_before(p95=p95)), "/x")
    assert f"| {words}, +2 failed |" in text


def test_only_a_report_as_long_on_the_time_before_is_compared_with(tmp_path: Path) -> None:
    week = timedelta(days=7)
    for since, until in (
        (SINCE - week, SINCE),
        (SINCE - timedelta(days=2), SINCE),
        (SINCE - 3 * week, SINCE - 2 * week),
    ):
        other = report.Report(since=since, until=until, ledger=made(figures(ran())).ledger)
        report.write(other, "page", tmp_path, keep=9)
    found = report.previous(tmp_path, SINCE, UNTIL)
    assert found is not None
    assert (found["since"], found["until"]) == (isoformat(SINCE - week), isoformat(SINCE))
    assert found["jobs"][0]["duration_seconds"]["p95"] == 2.0
    assert report.previous(tmp_path, UNTIL, UNTIL + week) is None


def letter(job: str) -> DeadLetter:
    return DeadLetter(
        run_id="r1", job=job, at=SINCE, message=None, body="", reason=Reason.OTHER, note="<script>", failure=None
    )


def test_the_page_is_whole_and_nothing_breaks_out_of_it() -> None:
    bad = ran(state=State.FAILED, failure=Failure(type="E", message="<script>x</script> | y"))
    found = made(
        figures(ran(), bad, expected=2), figures(job="<i>odd", tier="prefect"),
        letters=(letter("<u>job"),),
        headlines=(headlines.Headline(job="code-sweep", text="<b>no</b>"),),
    )  # fmt: skip
    page = rendering.html(found)
    for tag in ("<script", "<i>odd", "<u>", "<b>no"):
        assert tag not in page
    assert "http" not in page
    text = rendering.markdown(found, "/x")
    assert "&lt;script>x&lt;/script> \\| y" in text
    assert "<svg" not in text


def parsed(text: str) -> xml.Element:
    return xml.fromstring(text)


def test_the_bars_are_stacked_and_one_failure_is_seen_beside_many() -> None:
    days = {date(2026, 11, 16 + n): Counter({"ran": 100_000, "failed": 1}) for n in range(7)}
    root = parsed(svg.bars(days))
    heights = [float(box.get("height", 0)) for box in root.iter("rect")]
    assert len(heights) == 14
    assert min(heights) >= 2
    assert all(float(box.get("y", -1)) >= 0 for box in root.iter("rect"))
    assert "Mon 2026-11-16: ran 100,000, failed 1" in [title.text for title in root.iter("title")]


def test_days_without_runs_are_days() -> None:
    assert len(list(parsed(svg.bars(made().days)).iter("g"))) == 7
    assert "no run" in svg.bars(made().days)


@pytest.mark.parametrize(
    ("values", "lines", "dots"),
    [([1.0, 2.0, 3.0], 1, 0), ([1.0, None, 3.0], 0, 2), ([1.0, 2.0, None, 1.0, 2.0], 2, 0), ([0.0], 0, 1)],
)
def test_a_line_has_gaps_where_a_day_has_none(values: list[float | None], lines: int, dots: int) -> None:
    root = parsed(svg.line(values, "a & b"))
    assert (len(list(root.iter("polyline"))), len(list(root.iter("circle")))) == (lines, dots)
    assert svg.line([None, None], "x") == ""


def test_reports_are_written_and_the_oldest_go(tmp_path: Path) -> None:
    for week in range(3):
        found = report.Report(since=SINCE, until=UNTIL + timedelta(days=7 * week), ledger=made(figures(ran())).ledger)
        page = report.write(found, "page", tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.glob("2*")) == [
        "20261130T000000Z-14d.html", "20261130T000000Z-14d.json", "20261207T000000Z-21d.html",
        "20261207T000000Z-21d.json",
    ]  # fmt: skip
    assert page.read_text() == "page"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"until": "x", "jobs": [1]}'])
def test_a_previous_report_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "20261116T000000Z-7d.json").write_text(text)
    assert report.previous(tmp_path, SINCE, UNTIL) is None


AUDIT = {
    "at": isoformat(UNTIL),
    "severities": {"high": 0},
    "checked": 3,
    "packages": 5,
    "complete": False,
    "appeared": [],
}
SWEEP = {"at": isoformat(UNTIL), "repositories": [
    {"name": "a", "status": "swept", "figures": {"lint_findings": 4}}, {"name": "b", "status": "broken"},
]}  # fmt: skip


def put(folder: Path, job: str, content: Any) -> None:
    (folder / job).mkdir()
    (folder / job / "latest.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_the_headlines_of_sweep_and_audit(tmp_path: Path) -> None:
    put(tmp_path, "code-sweep", SWEEP)
    put(tmp_path, "dependency-audit", AUDIT)
    sweep, audit = headlines.of_sweep(tmp_path, UNTIL), headlines.of_audit(tmp_path, UNTIL)
    assert sweep.text == "1 of 2 repositories swept, 4 lint findings; not swept: b (2026-11-23)"
    assert audit.text.startswith(
        "3 of 5 packages checked for vulnerabilities, INCOMPLETE: none found in what was checked"
    )
    assert (sweep.unseen, audit.unseen) == ("", "")
    late = headlines.of_audit(tmp_path, UNTIL + timedelta(days=9))
    assert late.unseen == "The newest report of dependency-audit is 9 days old."


@pytest.mark.parametrize("content", ["{", "[]", {"at": "x"}, {"at": isoformat(UNTIL)}])
def test_a_headline_that_cannot_be_read_is_told(tmp_path: Path, content: Any) -> None:
    put(tmp_path, "code-sweep", content)
    assert "cannot be read" in headlines.of_sweep(tmp_path, UNTIL).unseen
    assert "There is no report of dependency-audit" in headlines.of_audit(tmp_path, UNTIL).unseen


def test_the_page_names_every_setting_with_its_default() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/read-the-weekly-report.md").read_text()
    for name, field in ReportSettings.model_fields.items():
        (row,) = [line for line in page.splitlines() if line.startswith("| `") and f"`{name}`" in line.split(" | ")[0]]
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert f"| {field.default} |" in row


def test_the_matrix_puts_it_on_prefect() -> None:
    job = load(load_settings(Path(__file__).parents[3], {})).get("report-generation")
    assert job.tier is decide(job.traits, job.schedule).tier is Tier.PREFECT
