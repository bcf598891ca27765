"""The retention of settled runs in the model, and the newest instant of a dropped run of each job."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from horae.runs import Run
from horae.settings import StoreSettings

FRESH = timedelta(seconds=60)
"""A settled run is kept at least this long, even beyond the maximum number, because brokers may still hold copies."""


class Held(Protocol):
    """A row that has a run."""

    @property
    def run(self) -> Run: ...
    @property
    def placed(self) -> int: ...


def when(run: Run) -> datetime:
    """The instant by which the ledger sorts the run."""
    instant = run.scheduled_for or run.accepted_at
    assert instant
    return instant


def in_order(index: Mapping[str, datetime]) -> list[str]:
    """The ids of an index, sorted by instant and then by id."""
    return sorted(index, key=lambda run_id: (index[run_id], run_id))


class Retention:
    """Drops rows from `rows`."""

    def __init__(self, rows: dict[str, Any], clock: Callable[[], datetime], settings: StoreSettings) -> None:
        self._rows: Mapping[str, Held] = rows
        self._drop, self._clock = rows.pop, clock
        self._keep, self._keep_each = timedelta(days=settings.keep_runs_days), settings.keep_runs_per_job
        self.by_job: dict[str, dict[str, datetime]] = defaultdict(dict)
        self.logs: dict[str, list[str]] = defaultdict(list)
        self._expires: dict[str, datetime] = {}
        self._floor: dict[str, datetime] = {}

    def index(self, run: Run) -> None:
        self.by_job[run.job][run.run_id] = when(run)

    def expire(self, run_id: str) -> None:
        """Start the time after which the row is dropped."""
        if run_id in self._rows:
            self._expires.pop(run_id, None)
            self._expires[run_id] = self._clock() + self._keep

    def drop_expired(self) -> int:
        """Drop the rows whose time has passed. Returns how many."""
        now = self._clock()
        gone = [run_id for run_id, at in self._expires.items() if at <= now] if self._first_expired(now) else []
        for run_id in gone:
            self.drop(run_id)
        return len(gone)

    def _first_expired(self, now: datetime) -> bool:
        return bool(self._expires) and next(iter(self._expires.values())) <= now

    def drop(self, run_id: str) -> None:
        """Drop a row. The floor of the job is the newest instant of a dropped run."""
        run = self.let_go(run_id)
        self._floor[run.job] = max(when(run), self._floor.get(run.job, when(run)))

    def let_go(self, run_id: str) -> Run:
        run = self._rows[run_id].run
        self._drop(run_id)
        self._expires.pop(run_id, None)
        self.by_job[run.job].pop(run_id, None)
        self.logs.pop(run_id, None)
        return run

    def trim(self, job: str, dead: Mapping[str, object]) -> int:
        """Drop the oldest settled runs of a job beyond the maximum number. Dead letters stay. Returns how many."""
        index, gone = self.by_job[job], 0
        over = len(index) - self._keep_each
        for run_id in in_order(index)[:over] if over > 0 else []:
            run = self._rows[run_id].run
            if run_id in dead or (run.ended_at and self._comes_later(run_id)):
                del index[run_id]
            elif run.ended_at:
                if self._clock() - run.ended_at < FRESH:
                    break
                self.drop(run_id)
                gone += 1
        return gone

    def _comes_later(self, run_id: str) -> bool:
        """Whether a broker delivers a message of the run later."""
        row = self._rows[run_id]
        return bool(row.placed and row.run.not_before and row.run.not_before > self._clock())

    def reaches(self, job: str, made: datetime) -> bool:
        """Whether a run without a row that was created at `made` cannot have run."""
        return self._clock() - made <= self._keep and not self.forgot(job, made)

    def forgot(self, job: str, instant: datetime) -> bool:
        """Whether a run of that instant may have been dropped."""
        floor = self._floor.get(job)
        return floor is not None and instant <= floor
