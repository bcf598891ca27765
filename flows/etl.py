"""Loads commits and files of the repositories, and configured files and tables, into a warehouse, weekly on Mondays at
06:00 UTC (`etl` in prefect.yaml).

It is on Prefect because it is a workflow of dependent steps over several repositories, and people read its counts in
the UI and start it by hand. Its report begins with the sources that could not be read. It fails if nothing could be
read, or if the warehouse has other rows than the sources.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from datetime import datetime
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

from flows._etl import loading, reading, report
from flows._etl.errors import (
    NothingLoaded,
    NotReconciled,
    SourceUnavailable,
    UnreadableSource,
    WarehouseUnavailable,
    require_extra,
)
from flows._etl.reading import Source
from flows._etl.reconciling import Reconciled, reconcile
from flows._etl.settings import EtlSettings
from flows._etl.staged import Extracted
from flows._etl.transforming import Transformed
from flows._etl.warehouse import Warehouse, configured, work_folder
from horae import Job, Tier, clock, settings
from horae.errors import HoraeError
from horae.project.loading import job_settings

NAME = "etl"
JOB = Job(name=NAME, tier=Tier.PREFECT, settings=EtlSettings)
"""The job's name, which is the name of its table in horae.toml."""


def may_pass(task: Any, run: Any, state: Any) -> bool:
    """Whether a retry may succeed: only if a source or the warehouse did not answer."""
    return isinstance(state.result(raise_on_failure=False), SourceUnavailable | WarehouseUnavailable)


@task(name="open", retries=2, retry_delay_seconds=5, retry_condition_fn=may_pass)
def open_step(warehouse: Warehouse) -> None:
    """See that the warehouse answers, before anything is read."""
    warehouse.query("SELECT 1")


@task(
    name="extract", task_run_name="extract {source.name}", retries=2, retry_delay_seconds=5,
    retry_condition_fn=may_pass,
)  # fmt: skip
def extract_step(source: Source, known: bool, warehouse: Warehouse, given: EtlSettings, now: datetime) -> Extracted:
    """Read one source: what is new since the last load (`known`), or everything."""
    return reading.extract(source, warehouse, given, now, known=known)


@task(name="transform", task_run_name="transform {source.name}")
def transform_step(source: Source, extracted: Extracted, warehouse: Warehouse, given: EtlSettings) -> list[Transformed]:
    """Give each row its types, and put rows aside that break the contract."""
    return reading.transform(source, extracted, warehouse, given)


@task(name="load", task_run_name="load {name}", retries=2, retry_delay_seconds=5, retry_condition_fn=may_pass)
def load_step(
    name: str, found: list[Transformed], warehouse: Warehouse, given: EtlSettings, work: Path
) -> list[Reconciled]:
    """Load the rows of these sources, and count them in the warehouse."""
    loading.load(found, warehouse, given, work)
    return [reconcile(one, warehouse) for one in found]


@task(name="record", retries=2, retry_delay_seconds=5, retry_condition_fn=may_pass)
def record_step(
    counts: list[Reconciled], heads: dict[str, str], now: datetime, warehouse: Warehouse, work: Path
) -> None:
    """Write the counts, and how far each repository was read."""
    loading.record([one.as_dict() for one in counts], heads, now, warehouse, work)


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
    with work_folder(project.state) as work, nullcontext() if dry_run else warehouse.held():
        wanted = reading.sources(given, project, repos, sources, work)
        run = _Run(warehouse, given, clock.now(), work, dry_run=dry_run)
        run.pass_over(wanted, known=not full)
        # A source that was read in part and does not reconcile is read in full, once.
        run.pass_over([one for one in wanted if one.name in run.to_repeat], known=False)
        run.record()
        summary: dict[str, Any] = report_step(
            run.report(len(wanted)), project.state / "reports" / NAME, given.keep_reports
        )
    run.tell(100.0, summary["headline"])
    get_run_logger().info("%s", summary["headline"])
    for sentence in summary["unseen"]:
        get_run_logger().warning("%s", sentence)
    if len(run.unread) == len(wanted):
        raise NothingLoaded(" ".join([summary["headline"], *summary["unseen"][:3]]))
    if not all(one.sound for one in run.counts.values()):
        raise NotReconciled(" ".join([summary["headline"], *summary["unseen"][:3]]))
    return summary


class _Run:
    """The state of one run of the flow."""

    def __init__(self, warehouse: Warehouse, given: EtlSettings, now: datetime, work: Path, *, dry_run: bool) -> None:
        self._warehouse, self._given, self._now, self._work, self._dry_run = warehouse, given, now, work, dry_run
        self._progress: Any = create_progress_artifact(progress=0.0, key=f"{NAME}-progress", description="Extracting")
        self._extracted: dict[str, Extracted] = {}
        self._transformed: dict[tuple[str, str], Transformed] = {}
        self.counts: dict[tuple[str, str], Reconciled] = {}
        self.unread: dict[str, str] = {}
        self._notes: list[str] = []

    def tell(self, percent: float, doing: str) -> None:
        update_progress_artifact(self._progress, percent, description=doing)

    @property
    def to_repeat(self) -> set[str]:
        """Sources that were read incrementally and do not reconcile."""
        partly = {one.source for one in self._transformed.values() if not one.full}
        return {one.source for one in self.counts.values() if not one.sound} & partly

    def pass_over(self, wanted: list[Source], *, known: bool) -> None:
        """Extract, transform, load and count these sources."""
        if not wanted:
            return
        if not known and self.counts:
            self._notes += [f"{one.name} did not reconcile, so all its rows were read again" for one in wanted]
        asked = [(one, extract_step.submit(one, known, self._warehouse, self._given, self._now)) for one in wanted]
        read = self._answers(asked, Extracted)
        self.tell(40.0, f"Transforming {len(read)} sources")
        turned = [(one, transform_step.submit(one, got, self._warehouse, self._given)) for one, got in read]
        groups: dict[str, list[Transformed]] = {}
        for (one, found), (_, got) in zip(turned, read, strict=True):
            for _, tables in self._answers([(one, found)], list):
                self._extracted[one.name] = got
                self._transformed |= {(one.name, each.contract.table): each for each in tables}
                groups.setdefault("repositories" if one.is_repository else one.name, []).extend(tables)
        if not self._dry_run:
            self._load(groups)

    def _load(self, groups: dict[str, list[Transformed]]) -> None:
        """Load each group. A group that fails does not stop the others."""
        for name, tables in groups.items():
            self.tell(60.0, f"Loading {sum(one.good for one in tables):,} rows of {name}")
            state: Any = load_step(name, tables, self._warehouse, self._given, self._work, return_state=True)
            answer = state.result(raise_on_failure=False)
            if isinstance(answer, list):
                self.counts |= {(one.source, one.table): one for one in answer}
            else:
                self._unread({one.source for one in tables}, answer)

    def _answers(self, futures: Iterable[tuple[Source, Any]], kind: type) -> list[tuple[Source, Any]]:
        found = []
        for source, future in futures:
            answer = future.result(raise_on_failure=False)
            if isinstance(answer, kind):
                found.append((source, answer))
            else:
                self._unread({source.name}, answer)
        return found

    def _unread(self, names: Iterable[str], error: Any) -> None:
        reason = error.message if isinstance(error, HoraeError) else f"{type(error).__name__}: {error}"
        reason = self._warehouse.cleaned(reason).rstrip(".")
        for name in sorted(names):
            self.unread[name] = reason
            self._transformed = {key: one for key, one in self._transformed.items() if key[0] != name}
            self.counts = {key: one for key, one in self.counts.items() if key[0] != name}
            kind = "read" if isinstance(error, UnreadableSource) else "loaded"
            get_run_logger().warning("%s could not be %s: %s", name, kind, reason)

    def record(self) -> None:
        """Write the counts, and mark the repositories that reconcile."""
        if self._dry_run or not self.counts:
            return
        sound = {name for name, _ in self.counts} - {one.source for one in self.counts.values() if not one.sound}
        heads = {name: one.head for name, one in self._extracted.items() if one.head and name in sound}
        record_step(list(self.counts.values()), heads, self._now, self._warehouse, self._work)

    def report(self, sources: int) -> report.Report:
        read = [one for name, one in self._extracted.items() if name not in self.unread]
        return report.Report(
            at=self._now,
            warehouse=self._warehouse.shown,
            sources=sources,
            dry_run=self._dry_run,
            transformed=tuple(self._transformed.values()),
            reconciled=tuple(self.counts.values()),
            unread=self.unread,
            partly=tuple(f"{one.name}: {sentence}." for one in read for sentence in one.unseen),
            notes=(*self._notes, *(f"{one.name}: {note}" for one in read for note in one.notes)),
        )
