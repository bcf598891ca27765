"""The weekly report: the figures of each job, missing information, and changes since the previous report."""

import contextlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from flows._report.figures import OPEN, VERDICTS, JobFigures, percentile
from flows._report.headlines import Headline
from flows._report.ledger import LEAD, Ledger
from horae.clock import isoformat, parse_instant
from horae.errors import HoraeError

LATEST = "latest.json"
TIERS = ("prefect", "oneiric", "apscheduler")
GAP = timedelta(days=2)
"""The previous report may end this long before or after the start of this one."""


@dataclass(frozen=True, kw_only=True)
class Report:
    since: datetime
    until: datetime
    """Not included."""
    ledger: Ledger
    headlines: tuple[Headline, ...] = ()
    previous: Mapping[str, Any] | None = None
    """The JSON of the previous report; None: there is none."""

    @cached_property
    def jobs(self) -> tuple[JobFigures, ...]:
        """All jobs, by tier, then by name."""
        order = {tier: place for place, tier in enumerate(TIERS)}
        return tuple(sorted(self.ledger.jobs.values(), key=lambda one: (order.get(one.tier, 9), one.job)))

    @cached_property
    def verdicts(self) -> dict[str, int]:
        """The number of runs of all jobs by verdict, and of runs without a verdict."""
        total: Counter[str] = Counter()
        for one in self.jobs:
            total.update(one.verdicts)
        return {name: total[name] for name in (*VERDICTS, OPEN)}

    @cached_property
    def days(self) -> dict[date, Counter[str]]:
        """Verdicts of all jobs on each day of the report."""
        found: dict[date, Counter[str]] = {}
        day = self.since.date()
        while day <= (self.until - timedelta(microseconds=1)).date():
            found[day] = Counter()
            day += timedelta(days=1)
        for one in self.jobs:
            for when, about in one.days.items():
                found[when].update(about.verdicts)
        return found

    @property
    def runs(self) -> int:
        return sum(one.runs for one in self.jobs)

    @cached_property
    def unseen(self) -> tuple[str, ...]:
        """A sentence for each piece of missing information."""
        return tuple(_unseen(self))

    def percentiles(self, name: str) -> dict[str, float | None]:
        """p50, p95 and the largest of `lateness` or `durations` over all jobs."""
        values = [value for one in self.jobs for value in getattr(one, name)]
        return _percentiles(values)

    def before(self, job: str) -> Mapping[str, Any]:
        """The job's entry in the previous report; empty if there is none."""
        jobs = self.previous["jobs"] if self.previous else []
        return next((one for one in jobs if one["job"] == job), {})

    def as_dict(self) -> dict[str, Any]:
        """The documented shape of the JSON on disk: docs/how-to/read-the-weekly-report.md."""
        return {
            "since": isoformat(self.since),
            "until": isoformat(self.until),
            "unseen": list(self.unseen),
            "runs": self.runs,
            "verdicts": self.verdicts,
            "lateness_seconds": self.percentiles("lateness"),
            "jobs": [_job(one) for one in self.jobs],
            "dead_letters": {"new": len(self.ledger.dead_letters), "waiting": self.ledger.waiting_letters},
            "headlines": {one.job: one.text for one in self.headlines},
            "counts": self.ledger.counts,
        }


def _job(one: JobFigures) -> dict[str, Any]:
    return {
        "job": one.job,
        "tier": one.tier,
        "runs": one.runs,
        "fires": one.fires,
        "expected": one.expected,
        "verdicts": dict(one.verdicts),
        "reasons": dict(one.reasons),
        "failures": dict(one.failures.most_common(10)),
        "lateness_seconds": _percentiles(one.lateness),
        "duration_seconds": _percentiles(one.durations),
    }


def _percentiles(values: list[float]) -> dict[str, float | None]:
    return {"p50": percentile(values, 50), "p95": percentile(values, 95), "max": max(values, default=None)}


def _unseen(report: Report) -> Iterator[str]:
    if not report.runs:
        yield "The ledger has no runs of this period: nothing ran, or the store was emptied, or it is another store."
    yield from (f"{problem}." for problem in report.ledger.problems)
    begins = report.ledger.begins
    if begins > report.since:
        yield f"The ledger begins at {isoformat(begins)}, so earlier fires that were due are not expected in it."
    for one in report.jobs:
        if one.expected is None or one.fires >= one.expected:
            continue
        lacking = f"{one.job}: {one.expected - one.fires:,} of {one.expected:,} expected fires are not in the ledger"
        if one.oldest is not None and one.oldest - begins > LEAD:
            yield f"{lacking}, which begins for it at {isoformat(one.oldest)}; {_counted(report, one.job)}."
        else:
            yield f"{lacking}. Its scheduler may have been down, or its schedule may have changed."
    yield from (one.unseen for one in report.headlines if one.unseen)


def _counted(report: Report, job: str) -> str:
    """The store's counters for a job whose rows were dropped. Dropping rows does not reduce the counters."""
    if report.previous is None:
        return "the job is new, or its older runs were dropped"
    before = report.previous.get("counts", {}).get(job, {})
    now = report.ledger.counts.get(job, {})
    grown = {verdict: count - before.get(verdict, 0) for verdict, count in now.items()}
    told = ", ".join(f"{count:,} {verdict}" for verdict, count in grown.items() if count > 0)
    return f"by the store's counters since the report before: {told or 'nothing'}"


def previous(folder: Path, since: datetime, until: datetime) -> dict[str, Any] | None:
    """The newest report in the folder with the same length that ends near the start of this one; None without one."""
    for path in sorted(folder.glob("[0-9]*Z-*d.json"), reverse=True):
        try:
            found = json.loads(path.read_text())
            began, ended = parse_instant(found["since"]), parse_instant(found["until"])
            _ = [(one["job"], one["duration_seconds"]["p95"], one["verdicts"].get("failed")) for one in found["jobs"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, HoraeError):
            continue
        if ended - began == until - since and abs(ended - since) <= GAP:
            return dict(found)
    return None


def write(report: Report, html: str, folder: Path, keep: int) -> Path:
    """Write the page and the JSON, named by end and days of the report and as `latest`, and delete the oldest.

    Returns the page.
    """
    stem = f"{report.until:%Y%m%dT%H%M%S}Z-{(report.until - report.since).days}d"
    text = json.dumps(report.as_dict(), indent=2) + "\n"
    for name, content in ((f"{stem}.html", html), ("latest.html", html), (f"{stem}.json", text), (LATEST, text)):
        write_whole(folder / name, content)
    for suffix in ("html", "json"):
        for old in sorted(folder.glob(f"[0-9]*Z-*d.{suffix}"))[:-keep]:
            old.unlink(missing_ok=True)
    return folder / f"{stem}.html"


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically: a reader sees the whole old text or the whole new text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
