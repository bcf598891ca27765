"""Reports the runs of all three tiers weekly, Mondays at 07:00 UTC (`report-generation` in prefect.yaml).

It is on Prefect because people read it in the UI and start it by hand for another period. It reads the ledger, so it
needs the state store; it changes nothing there.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact

from flows._report import headlines, rendering, report
from flows._report.ledger import Ledger, read
from flows._report.settings import ReportSettings
from horae import Job, Tier, clock, settings
from horae.errors import HoraeError, StoreUnavailable, UsageError
from horae.local.reachable import effective
from horae.project.loading import job_settings

NAME = "report-generation"
JOB = Job(name=NAME, tier=Tier.PREFECT, settings=ReportSettings)
"""The job's name, which is the name of its table in horae.toml."""
MOST_DAYS = 366
TELL_EACH = 20_000
"""The number of runs between two log lines."""


class NoData(HoraeError):
    """The ledger has no run of the time of the report."""


def may_pass(task: Any, run: Any, state: Any) -> bool:
    """Whether a retry may succeed: only if the store did not answer."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StoreUnavailable) or not isinstance(error, HoraeError)


@task(name="read-ledger", retries=3, retry_delay_seconds=10, retry_condition_fn=may_pass)
def read_ledger(project: settings.Settings, since: datetime, until: datetime) -> Ledger:
    """Read every run in the period of the report."""
    log, told = get_run_logger(), 0

    def say(count: int) -> None:
        nonlocal told
        if count - told >= TELL_EACH:
            told = count
            log.info("%d runs read", count)

    return asyncio.run(read(project, since, until, say))


@task(name="write", retries=2, retry_delay_seconds=5)
def write(found: report.Report, folder: Path, keep: int) -> dict[str, Any]:
    """Write the page and the JSON, and the artifact; returns a summary."""
    page = report.write(found, rendering.html(found), folder, keep)
    headline = rendering.headline(found)
    create_markdown_artifact(key=NAME, markdown=rendering.markdown(found, str(page)), description=headline)
    return {
        "headline": headline,
        "unseen": list(found.unseen),
        "runs": found.runs,
        "verdicts": found.verdicts,
        "dead_letters": len(found.ledger.dead_letters),
        "page": str(page),
    }


@flow(name=NAME, timeout_seconds=1800)
def report_generation(days: int | None = None, until: datetime | None = None) -> dict[str, Any]:
    """Report the runs of all tiers: verdicts, missed fires, lateness, durations with trends, dead letters, headlines.

    Args:
        days: Days that the report covers. Default: `days` in [jobs.report-generation], which is 7.
        until: End of the report, such as 2026-11-23T00:00:00Z; without a zone it is UTC. Default: now.
    """
    project = effective(settings.load())
    given: ReportSettings = job_settings(project, JOB)
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise UsageError(f"days={days}: give 1 to {MOST_DAYS}")
    end = until or clock.now()
    end = (end.astimezone(UTC) if end.tzinfo else end.replace(tzinfo=UTC)).replace(microsecond=0)
    since = end - timedelta(days=given.days if days is None else days)
    progress: Any = create_progress_artifact(progress=0.0, key=f"{NAME}-progress", description="Reading the ledger")
    ledger = read_ledger(project, since, end)
    update_progress_artifact(progress, 70.0, description="Writing the page")
    reports = project.state / "reports"
    folder = project.project / Path(given.folder).expanduser() if given.folder else reports / NAME
    found = report.Report(
        since=since,
        until=end,
        ledger=ledger,
        headlines=(headlines.of_sweep(reports, end), headlines.of_audit(reports, end)),
        previous=report.previous(folder, since, end),
    )
    summary: dict[str, Any] = write(found, folder, given.keep_reports)
    update_progress_artifact(progress, 100.0, description=summary["headline"])
    get_run_logger().info("%s", summary["headline"])
    if not found.runs:
        raise NoData(" ".join([summary["headline"], *summary["unseen"][:3]]))
    return summary
