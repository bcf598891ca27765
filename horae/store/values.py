"""What goes into the state store and what comes out of it. Instants are aware and in UTC, by the store's clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from horae.jobs.policies import CatchUp, Overlap, Tier
from horae.messages import Message, Priority
from horae.reasons import Reason
from horae.runs import Cause, Failure, Run, State, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRun:
    """A run on its way into the ledger."""

    run_id: str
    job: str
    tier: Tier
    cause: Cause
    scheduled_for: datetime | None = None
    due: datetime | None = None
    """When it may be published; None: at once."""
    priority: Priority = Priority.NORMAL
    provider: str = ""
    """Empty: the relay asks routing."""
    context: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    unique: str = ""
    """While a run of the job with the same text is not settled, this one is not written."""
    replays: str = ""
    """The run whose dead letter this one takes up; the letter goes in the same step."""
    verdict: Verdict | None = None
    """A fire that is settled as soon as it is written: `missed`."""
    reason: Reason | None = None

    @property
    def message(self) -> Message:
        """What carries it, the first time that it is handed out."""
        return Message(
            job=self.job,
            run_id=self.run_id,
            scheduled_for=self.scheduled_for,
            priority=self.priority,
            context=dict(self.context),
            metadata=dict(self.metadata),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """What became of a new run: once this is returned, it is in the store."""

    run_id: str
    """The run that stands: under a uniqueness key it may be an earlier one."""
    job: str
    provider: str
    due: datetime | None
    """When the run was asked to begin; None: at once."""
    new: bool
    """False: nothing was written. The run was accepted before, or another run holds the uniqueness key."""
    published: bool = False
    """The store carries the provider's messages itself, and published this one in the same step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """What the relay took out of the outbox, to publish before `hold` runs out."""

    message: Message
    provider: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What a look into the outbox found."""

    entries: Sequence[Due]
    """What is to be published, the longest overdue first."""
    published: int
    """How many the store published itself."""
    next_in: timedelta | None
    """From now to the next entry; None for an empty outbox."""


class Answer(StrEnum):
    RUN = "run"
    DUPLICATE = "duplicate"
    LATER = "later"
    """The store keeps the run and hands it out again when it may go on."""
    SETTLED = "settled"
    """Settled at the claim, such as `skipped: overlap`."""
    TOO_OLD = "too old"
    """There is no row, and the ledger no longer reaches back to it: nobody can say that it did not run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What a worker's definition of a job has to say at the claim."""

    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window: timedelta = timedelta(days=1)
    concurrency: int | None = None
    """Runs at once over all workers; None: overlap alone decides."""

    @property
    def most(self) -> int:
        """How many of its runs may be active; 0: any number."""
        return (self.concurrency or 0) if self.overlap is Overlap.ALLOW else 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A claim that a worker would like: a message that it received, and its job's policy."""

    message: Message
    policy: Policy | None
    """None: this worker does not know the job, and gives the run back for another worker."""
    unique: str = ""
    """For a message without a row: its uniqueness key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The store's answer. With `run` it is the word that this worker, and no other, runs this run now."""

    message: Message
    answer: Answer
    token: int = 0
    """The fencing token: grows with every claim in this namespace."""
    attempts: int = 0
    """Claims on this run so far, this one among them."""
    failures: int = 0
    """Attempts that failed before; a hand-back is none."""
    alone: bool = False
    """A suspect: a worker died with it. It runs in a child process of its own."""
    reason: str = ""
    """Why it is not `run`, in words for the log: `missed: too late`, `paused`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settlement:
    """The end of a claim: a verdict, a retry (`retry_after`), or a hand-back (neither)."""

    claim: Claim
    verdict: Verdict | None = None
    reason: Reason | None = None
    note: str = ""
    """What the reason is about; for a retry the message of the exception."""
    retry_after: timedelta | None = None
    died: bool = False
    """It killed its process: handed out again, and `failed` when it did so too often."""
    failure: Failure | None = None
    result: Any = None
    progress: str = ""
    """What the run last said; the ledger has it already where there is a lease."""


class Stop(StrEnum):
    """Why a run that is under way must stop."""

    OVERLAP = "overlap"
    """A newer run of its job cancels it: verdict `cancelled`."""
    REQUESTED = "requested"
    """Somebody asked for it to be cancelled: verdict `cancelled`."""
    DRAINING = "draining"
    """The process ends: it hands the run back."""
    LEASE_LOST = "lease lost"
    """Another worker may run it: the store would refuse to settle it."""


class Cancelled(StrEnum):
    """What became of a wish to cancel a run."""

    CANCELLED = "cancelled"
    ASKED = "asked"
    """It runs; its worker hears of it when it next renews the lease."""
    SETTLED = "settled"
    """It has its verdict already."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lapsed:
    """A run whose lease ran out: back in the outbox, or failed."""

    run_id: str
    job: str
    verdict: Verdict | None
    worker: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """How far a job's fires are written."""

    job: str
    fingerprint: str
    at: datetime
    """No fire at or before it will be written again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DueJobs:
    """What a look at the cursors found."""

    cursors: Sequence[Cursor]
    """The jobs with a fire at or before now, the longest overdue first."""
    now: datetime
    next_in: timedelta | None
    """From now to the first fire after these; None if there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advance:
    """The fires of a job up to an instant, to be written with its cursor."""

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
    """As text, so that who replaces it can still tell its fires."""
    offset: timedelta = timedelta(0)
    """By which jitter moves its fires."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InForce:
    """A job's schedule as the store has it."""

    fingerprint: str
    revision: int
    cursor: datetime
    """No fire at or before it is written, or accounted for, again."""
    next_fire: datetime | None
    """Of a durable job: when it comes up; None: never."""
    schedule: str
    """Empty where an older release declared it."""
    offset: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """An internal job whose fires are accounted for."""

    job: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Latest:
    """Where a job stands."""

    newest: Run | None
    """Its newest run, by the instant it was scheduled for or else accepted."""
    settled: Run | None
    """Of the runs that have a verdict the newest, by the same instant. A fire that is told late is not it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Only:
    """Which runs to look at; an empty set leaves all of them."""

    states: frozenset[State] = frozenset()
    causes: frozenset[Cause] = frozenset()
    tiers: frozenset[Tier] = frozenset()

    def holds(self, state: str, cause: str, tier: str) -> bool:
        pairs = ((self.states, state), (self.causes, cause), (self.tiers, tier))
        return all(not wanted or value in wanted for wanted, value in pairs)


ALL_RUNS = Only()


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """What a durable run that failed leaves behind; the ledger has the rest."""

    run_id: str
    job: str
    """Empty when the message did not say one."""
    at: datetime
    message: Message | None
    """None for a body that is no message."""
    body: str
    """What came, when it is no message."""
    reason: Reason | None
    failure: Failure | None
    note: str = ""
    """What the reason is about, such as what is wrong with the message."""


class Happening(StrEnum):
    """What somebody should hear of."""

    FAILED = "failed"
    MISSED = "missed"
    LATE = "late"


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """Something that somebody should hear of: a fire that was missed, failed or began late."""

    what: Happening
    run_id: str
    job: str
    at: datetime
    scheduled_for: datetime | None
    reason: Reason | None
    """None for `late`, which is no verdict."""
    note: str = ""
    """What the reason is about; for `late` how late."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What the store can say in numbers. Those by job only grow."""

    settled: Mapping[tuple[str, Verdict], int]
    """Runs that got their verdict, by job."""
    noticed: Mapping[tuple[str, Happening], int]
    """Notices so far, by job."""
    overdue: timedelta
    """For how long the first entry of the outbox has been due; zero when none is."""
    outbox: int
    """Entries that wait for their time or for the relay."""
    waiting: int
    """Runs that wait for another run of their job, or for the end of a pause."""
    running: int
    """Runs that a worker has claimed and not settled."""
    dead_letters: int
