"""The cursors of schedules: the instant up to which the fires of each job are written, and each job's schedule."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from horae.store.values import NewRun


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """The instant up to which the fires of a job are written."""

    job: str
    fingerprint: str
    at: datetime
    """Fires at or before this instant are never written again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DueJobs:
    """The answer of `Cursors.due`."""

    cursors: Sequence[Cursor]
    """The jobs with a fire at or before now, the longest overdue first."""
    now: datetime
    next_in: timedelta | None
    """The time from now until the first fire after these; None if there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advance:
    """A request to write the fires of a job up to `to`, together with its new cursor."""

    cursor: Cursor
    to: datetime
    next_fire: datetime | None
    runs: Sequence[NewRun]


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """A job's schedule as one sidecar knows it."""

    job: str
    fingerprint: str
    next_after_now: datetime | None
    schedule: str = ""
    """The schedule as text, so that the sidecar that replaces it can still compute its fires."""
    offset: timedelta = timedelta(0)
    """How far jitter moves the fires."""
    since: datetime | None = None
    """Fires up to this instant have their runs. It counts if the store has lost the schedule; None: up to now."""
    next_after_since: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class InForce:
    """A job's schedule in the store."""

    fingerprint: str
    revision: int
    cursor: datetime
    """Fires at or before this instant are never written again."""
    next_fire: datetime | None
    """The next fire of a durable job; None if there is none."""
    schedule: str
    """The schedule as text. Empty if an older release declared the job."""
    offset: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """An internal job whose fires all get a row in the ledger."""

    job: str
    fingerprint: str
