"""Loads commits and files of the repositories, and configured files and tables, into a warehouse, weekly on Mondays at
06:00 UTC (`etl` in prefect.yaml).

It is on Prefect because it is a workflow of dependent steps over several repositories, and people read its counts in
the UI and start it by hand. Its report begins with the sources that could not be read. It fails if nothing could be
read, or if the warehouse has other rows than the sources.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.task_runners import ThreadPoolTaskRunner

from flows._etl import reading, report
from flows._etl.errors import (
    NothingLoaded,
    NotReconciled,
    SourceUnavailable,
    WarehouseUnavailable,
    require_extra,
)
from flows._etl.running import STEPS, Run
from flows._etl.settings import EtlSettings
from flows._etl.warehouse import Warehouse, configured, work_folder
from horae import Job, Tier, clock, settings
from horae.project.loading import job_settings

NAME = "etl"
JOB = Job(name=NAME, tier=Tier.PREFECT, settings=EtlSettings)
"""The job's name, which is the name of its table in horae.toml."""


def may_pass(task: Any, run: Any, state: Any) -> bool:
    """Whether a retry may succeed: only if a source or the warehouse did not answer."""
    return isinstance(state.result(raise_on_failure=False), SourceUnavailable | WarehouseUnavailable)


def step(name: str, shown: str) -> Any:
    """A step as a task. `shown` is the name of its runs."""
    return task(
        name=name, task_run_name=shown, retries=2, retry_delay_seconds=5, retry_condition_fn=may_pass
    )(STEPS[name])  # fmt: skip


extract_step = step("extract", "extract {source.name}")
transform_step = step("transform", "transform {source.name}")
load_step = step("load", "load {name}")
record_step = step("record", "record")
TASKS = {"extract": extract_step, "transform": transform_step, "load": load_step, "record": record_step}


@task(name="open", retries=2, retry_delay_seconds=5, retry_condition_fn=may_pass)
def open_step(warehouse: Warehouse) -> None:
    """See that the warehouse answers, before anything is read."""
    warehouse.query("SELECT 1")


@task(name="report", retries=2, retry_delay_seconds=5)
def report_step(found: report.Report, folder: Path, keep: int) -> dict[str, Any]:
    """Write the JSON and the artifacts; returns a summary."""
    create_table_artifact(key=f"{NAME}-table", table=found.rows, description=found.headline)
    create_markdown_artifact(key=NAME, markdown=found.markdown, description=found.headline)
    path = report.write(found, folder, keep)
    about = {name: found.total(name) for name in ("extracted", "good", "rejected", "gone")}
    return {"headline": found.headline, "unseen": list(found.unseen), **about, "report": str(path)}


@flow(
    name="complex-etl",
    timeout_seconds=4 * 3600,
    task_runner=ThreadPoolTaskRunner(max_workers=4),  # type: ignore[arg-type]
)
def complex_etl(
    repos: list[str] | None = None,
    sources: list[str] | None = None,
    full: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Extract from the sources, transform, load into the warehouse, and compare the counts.

    Args:
        repos: Repositories as paths or globs, relative to the project. Default: `repos` of horae.toml.
        sources: Names of [jobs.etl.sources] to load. Default: all.
        full: Read all rows of each source, and not only the new ones.
        dry_run: Read and transform, and report what would be loaded. Nothing is written to the warehouse.
    """
    require_extra()
    project = settings.load()
    given: EtlSettings = job_settings(project, JOB)
    warehouse = configured(given, project.project, project.state)
    open_step(warehouse)
    progress: Any = create_progress_artifact(progress=0.0, key=f"{NAME}-progress", description="Extracting")
    log = get_run_logger()

    def told(percent: float, doing: str) -> None:
        update_progress_artifact(progress, percent, description=doing)
        log.info("%s", doing)

    with work_folder(project.state) as work, nullcontext() if dry_run else warehouse.held():
        wanted = reading.sources(given, project, repos, sources, work)
        run = Run(warehouse, given, clock.now(), work, each=as_tasks, tell=told, dry_run=dry_run)
        found = run.run(wanted, full=full)
    summary: dict[str, Any] = report_step(found, project.state / "reports" / NAME, given.keep_reports)
    told(100.0, found.headline)
    for sentence in found.unseen:
        log.warning("%s", sentence)
    told_first = " ".join([found.headline, *found.unseen[:3]])
    if not found.read:
        raise NothingLoaded(told_first)
    if not found.sound:
        raise NotReconciled(told_first)
    return summary


def as_tasks(name: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Run a step for each of these arguments as a task of its own; returns the results or exceptions."""
    futures = [TASKS[name].submit(*arguments) for arguments in calls]
    return [future.result(raise_on_failure=False) for future in futures]
