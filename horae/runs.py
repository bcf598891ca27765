"""A run in the ledger: its id, cause, state, verdict and story."""

import json
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import uuid_utils

from horae.clock import from_millis, isoformat
from horae.jobs.policies import Tier
from horae.reasons import Reason


class Cause(StrEnum):
    SCHEDULE = "schedule"
    MANUAL = "manual"
    ENQUEUE = "enqueue"
    REPLAY = "replay"
    BACKFILL = "backfill"


class Verdict(StrEnum):
    """How a run ended. A verdict never changes."""

    RAN = "ran"
    FAILED = "failed"
    SKIPPED = "skipped"
    MISSED = "missed"
    CANCELLED = "cancelled"


class State(StrEnum):
    """The state of a run. The state of a settled run is its verdict."""

    PENDING = "pending"
    """The run waits for its time, for the relay, for another run of its job or for the end of a pause."""
    QUEUED = "queued"
    """The run's message is at the broker."""
    RUNNING = "running"
    RETRYING = "retrying"
    """An attempt failed, and the run waits in the outbox for the next one."""
    RAN = "ran"
    FAILED = "failed"
    SKIPPED = "skipped"
    MISSED = "missed"
    CANCELLED = "cancelled"

    @property
    def settled(self) -> bool:
        return self.value in Verdict


FIRES = uuid.UUID("6c7b7f0e-5f0b-5d0e-9a55-0f1d1f6f7a10")


def fire_id(namespace: str, job: str, scheduled_for: datetime) -> str:
    """The run id of a fire: a UUIDv5 of namespace, job and instant, so that every process computes the same id."""
    return str(uuid.uuid5(FIRES, f"{namespace}/{job}/{isoformat(scheduled_for)}"))


def start_id(start: str, job: str) -> str:
    """The id of a job's run at a start of `horae up`. A repeated request in the same start is the same run."""
    return str(uuid.uuid5(FIRES, f"{start}/{job}"))


def replay_id(run_id: str) -> str:
    """The id of the replay of that run. If two people replay it at the same time, there is one run."""
    return str(uuid.uuid5(FIRES, f"replay/{run_id}"))


def made_at(run_id: str) -> datetime | None:
    """The instant at which a UUIDv7 was created; None for any other id."""
    try:
        found = uuid.UUID(run_id)
        return from_millis(found.int >> 80) if found.version == 7 else None
    except ValueError:  # not a UUID, or one with a year above 9999
        return None


def new_run_id() -> str:
    """A new id for a run that is not a fire: a UUIDv7, so that ids sort by age."""
    return str(uuid_utils.uuid7())


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """The error of a failed run, as the ledger stores it."""

    type: str
    message: str
    traceback: str = ""

    @property
    def words(self) -> str:
        """Class and message of the exception."""
        return f"{self.type}: {self.message}"

    @classmethod
    def parse(cls, text: str) -> "Failure | None":
        """Read a failure from the text in a row; None for an empty text."""
        if not text:
            return None
        told = json.loads(text)
        return cls(type=str(told["type"]), message=str(told["message"]), traceback=str(told.get("traceback", "")))


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One line of a run's story."""

    at: datetime
    what: str
    """accepted, published, claimed, waits, retrying, handed back, lease ran out, settled, replayed, dropped, …"""
    generation: int
    """The generation of the run that the event belongs to."""
    note: str = ""

    def seconds_after(self, first: "Event") -> float:
        return round((self.at - first.at).total_seconds(), 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A row of the ledger. Instants are aware and in UTC, by the store's clock."""

    run_id: str
    job: str
    tier: Tier
    cause: Cause
    state: State
    scheduled_for: datetime | None = None
    """The instant of the fire; None if no schedule caused the run."""
    reason: Reason | None = None
    """The reason of the verdict; None before the verdict, and for `ran`."""
    note: str = ""
    """Details of the reason, such as the id of the run that has the uniqueness key."""
    attempts: int = 0
    """How often a worker began the run."""
    accepted_at: datetime | None = None
    not_before: datetime | None = None
    """What somebody asked for, or after a failed attempt when it is tried again; None: at once."""
    started_at: datetime | None = None
    """When the latest attempt began."""
    ended_at: datetime | None = None
    worker: str = ""
    provider: str = ""
    context: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    progress: str = ""
    result: Any = None
    failure: Failure | None = None
    story: tuple[Event, ...] = ()

    @property
    def verdict(self) -> Verdict | None:
        return Verdict(self.state.value) if self.state.settled else None

    @property
    def due(self) -> datetime | None:
        """When its latest or next attempt may begin."""
        return self.not_before or self.scheduled_for or self.accepted_at

    @property
    def replays(self) -> str | None:
        """The id of the run that this run replays."""
        return str(self.metadata["replays"]) if self.cause is Cause.REPLAY and "replays" in self.metadata else None

    @property
    def replayed_as(self) -> str | None:
        """The id of the run that replays this run."""
        return next((event.note.removeprefix("as ") for event in self.story if event.what == "replayed"), None)

    @property
    def duration_seconds(self) -> float | None:
        """How long the latest attempt took; None if there is none or it has not ended."""
        if self.started_at is None or self.ended_at is None:
            return None
        return round((self.ended_at - self.started_at).total_seconds(), 3)


def timeline(run: Run) -> list[Event]:
    """The events of a run, in order. For a run of another scheduler, begin and end come from its row."""
    if run.started_at is None or any(event.what == "claimed" for event in run.story):
        return list(run.story)
    told = [Event(at=run.started_at, what="began", generation=1, note=run.worker)]
    for event in run.story:
        if event.what == "accepted":
            event = replace(event, what="recorded")
        elif event.what == "settled" and run.ended_at:
            event = replace(event, at=run.ended_at)
        told.append(event)
    return sorted(told, key=lambda event: event.at)
