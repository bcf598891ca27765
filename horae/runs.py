"""What the ledger knows of one piece of work: the run, its states, its verdict."""

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
    """How a run ended. It never changes."""

    RAN = "ran"
    FAILED = "failed"
    SKIPPED = "skipped"
    MISSED = "missed"
    CANCELLED = "cancelled"


class State(StrEnum):
    """Where a run is. Once it is settled, its state is its verdict."""

    PENDING = "pending"
    """In the outbox, waiting for its time or for the relay."""
    QUEUED = "queued"
    """At the broker."""
    RUNNING = "running"
    RETRYING = "retrying"
    """Failed, and waiting in the outbox for its next attempt."""
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
    """The run id of a fire: a UUIDv5 of namespace, job and instant, so that everyone computes the same."""
    return str(uuid.uuid5(FIRES, f"{namespace}/{job}/{isoformat(scheduled_for)}"))


def start_id(start: str, job: str) -> str:
    """The id of the run that a start of `horae up` asks a job for: asked twice, it is one run."""
    return str(uuid.uuid5(FIRES, f"{start}/{job}"))


def replay_id(run_id: str) -> str:
    """The id of the run that takes up that run's dead letter: replayed by two at once, it is one run."""
    return str(uuid.uuid5(FIRES, f"replay/{run_id}"))


def made_at(run_id: str) -> datetime | None:
    """When a UUIDv7 was made; None for any other id."""
    try:
        found = uuid.UUID(run_id)
        return from_millis(found.int >> 80) if found.version == 7 else None
    except ValueError:  # no UUID, or one that says a year above 9999
        return None


def new_run_id() -> str:
    """The id of a run that no fire caused: a UUIDv7, so that ids sort by age."""
    return str(uuid_utils.uuid7())


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What went wrong, as far as the ledger keeps it."""

    type: str
    message: str
    traceback: str = ""

    @property
    def words(self) -> str:
        """Class and message of what was raised."""
        return f"{self.type}: {self.message}"

    @classmethod
    def parse(cls, text: str) -> "Failure | None":
        """From a row; None for an empty text."""
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
    """Which handing-out of the run it is about."""
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
    """The fire it answers to; None unless a schedule caused it."""
    reason: Reason | None = None
    """Why it has its verdict; None while it has none, and for `ran`."""
    note: str = ""
    """What the reason is about, such as the run that has the uniqueness key."""
    attempts: int = 0
    """How often a worker began it."""
    accepted_at: datetime | None = None
    not_before: datetime | None = None
    """What somebody asked for, or after a failed attempt when it is tried again; None: at once."""
    started_at: datetime | None = None
    """When its latest attempt began."""
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
        """The run whose dead letter it took up."""
        return str(self.metadata["replays"]) if self.cause is Cause.REPLAY and "replays" in self.metadata else None

    @property
    def replayed_as(self) -> str | None:
        """The run that took up its dead letter."""
        return next((event.note.removeprefix("as ") for event in self.story if event.what == "replayed"), None)

    @property
    def duration_seconds(self) -> float | None:
        """How long its latest attempt took, or None while there is none or it goes on."""
        if self.started_at is None or self.ended_at is None:
            return None
        return round((self.ended_at - self.started_at).total_seconds(), 3)


def timeline(run: Run) -> list[Event]:
    """What happened to it, in order. Where another scheduler ran it, its row says when it began and ended."""
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
