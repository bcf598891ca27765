"""The figures of one job in the period of the report. Rows are added one by one, so memory does not limit them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from math import ceil

from horae.runs import Cause, Run, Verdict

VERDICTS = tuple(verdict.value for verdict in Verdict)
OPEN = "open"
"""The name for runs without a verdict."""


@dataclass(kw_only=True, slots=True)
class Day:
    """The runs of one day, UTC."""

    verdicts: Counter[str] = field(default_factory=Counter)
    durations: list[float] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class JobFigures:
    """All runs of a job that the ledger has for the period of the report."""

    job: str
    tier: str
    runs: int = 0
    fires: int = 0
    """Runs that a schedule caused."""
    expected: int | None = None
    """Expected fires by the current schedule; None: the job has no schedule."""
    oldest: datetime | None = None
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Runs that did not run, by verdict and reason, such as `skipped: overlap`."""
    failures: Counter[str] = field(default_factory=Counter)
    """Failed runs by type and message of their error."""
    lateness: list[float] = field(default_factory=list)
    """Seconds between the due time and the start of a fire. First attempts only."""
    durations: list[float] = field(default_factory=list)
    """Seconds that the latest attempt of each run took."""
    days: dict[date, Day] = field(default_factory=dict)

    def add(self, run: Run) -> None:
        at = instant_of(run)
        if at is None:
            return
        self.runs += 1
        self.fires += run.cause is Cause.SCHEDULE
        self.oldest = at if self.oldest is None else min(at, self.oldest)
        verdict = run.verdict.value if run.verdict else OPEN
        self.verdicts[verdict] += 1
        day = self.days.setdefault(at.date(), Day())
        day.verdicts[verdict] += 1
        if run.verdict and run.verdict is not Verdict.RAN:
            self.reasons[f"{verdict}: {run.reason}" if run.reason else verdict] += 1
        if run.verdict is Verdict.FAILED:
            said = f"{run.failure.type}: {run.failure.message}" if run.failure else run.reason
            self.failures[" ".join((said or "no stored reason").split())[:200]] += 1
        if run.scheduled_for and run.started_at and run.attempts <= 1:
            self.lateness.append(max(0.0, (run.started_at - run.scheduled_for).total_seconds()))
        if run.duration_seconds is not None and run.verdict in (Verdict.RAN, Verdict.FAILED):
            self.durations.append(run.duration_seconds)
            day.durations.append(run.duration_seconds)


def instant_of(run: Run) -> datetime | None:
    """When a run was due, else when it was accepted. The ledger orders runs by this instant."""
    return run.scheduled_for or run.accepted_at or run.started_at


def percentile(values: Iterable[float], percent: float) -> float | None:
    """The smallest value that at least `percent` of the values do not exceed; None without values."""
    ranked = sorted(values)
    return ranked[max(0, ceil(len(ranked) * percent / 100) - 1)] if ranked else None
