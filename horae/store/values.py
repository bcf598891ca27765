"""The arguments and answers of the state store. Instants are aware and in UTC, by the store's clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

from horae.jobs.policies import CatchUp, Overlap, Tier
from horae.messages import Message, Priority
from horae.reasons import Reason
from horae.runs import Cause, Failure, Run, State, Verdict


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A run that is not yet in the ledger."""

    run_id: str
    job: str
    tier: Tier
    cause: Cause
    scheduled_for: datetime | None = None
    due: datetime | None = None
    """When the run may be published; None: at once."""
    priority: Priority = Priority.NORMAL
    provider: str = ""
    """Empty: the relay publishes it to the default provider. A move record in the store replaces it."""
    pinned: bool = False
    """True: the call named the provider, so that no move record replaces it."""
    context: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    unique: str = ""
    """The uniqueness key. The store does not write this run while an unsettled run of the job has the same key."""
    replays: str = ""
    """The id of the run that this one replays. Its dead letter is removed in the same step."""
    verdict: Verdict | None = None
    """Set for a fire that is settled in the same step, such as `missed`."""
    reason: Reason | None = None

    @cached_property
    def message(self) -> Message:
        """The message of generation 1."""
        return Message(
            job=self.job,
            run_id=self.run_id,
            scheduled_for=self.scheduled_for,
            priority=self.priority,
            context=dict(self.context),
            metadata=dict(self.metadata),
        )

    @cached_property
    def text(self) -> str:
        """The JSON of the message, as the row stores it. Raises InvalidMessage for values that JSON lacks."""
        return self.message.text()


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The answer to a new run. When the caller has it, the run is in the store."""

    run_id: str
    """The id of the run in the store. With a uniqueness key this may be an earlier run."""
    job: str
    provider: str
    """The provider that the store chose: that of the call, of a move record, of the job, or the default."""
    due: datetime | None
    """When the run was asked to begin; None: at once."""
    new: bool
    """False: nothing was written, because the run was accepted before or another run holds the uniqueness key."""
    published: bool = False
    """True: the store itself carries the provider's messages, and published this one in the same step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """An entry that the relay took from the outbox. The relay must publish it before `hold` has passed."""

    message: Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Upcoming:
    """A run that waits in the outbox for its time, and whose message the broker does not have."""

    message: Message
    due: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """The answer of `Outbox.take`."""

    entries: Sequence[Due]
    """The entries to publish, the longest overdue first."""
    published: int
    """How many entries the store itself published."""
    next_in: timedelta | None
    """The time from now until the next entry is due; None if these providers have no entry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderRuns:
    """The runs that wait for a provider."""

    provider: str
    """Empty: runs for the default provider, whichever that is."""
    outbox: int
    """The number of runs that wait for their time or for the provider's relay."""
    overdue: timedelta
    """How long the first of these has been due; zero if none is due."""
    queued: int
    """The number of runs whose message is at the provider."""
    oldest: timedelta
    """How long ago the first of these messages was published; zero if there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A move record: where runs go, whatever the code says."""

    provider: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Routes:
    """Where runs wait, and where they go."""

    runs: Sequence[ProviderRuns]
    """By provider."""
    moves: Mapping[str | None, Move]
    """By job; None is the record of all jobs."""

    def moved(self, job: str) -> Move | None:
        """The record that the runs of that job follow."""
        return self.moves.get(job) or self.moves.get(None)


class Answer(StrEnum):
    RUN = "run"
    DUPLICATE = "duplicate"
    LATER = "later"
    """The store keeps the run and hands it out again when it may run."""
    EARLY = "early"
    """The run is not due, and nothing was written. The broker must deliver the message again: do not acknowledge it."""
    SETTLED = "settled"
    """The claim settled the run, for example as `skipped: overlap`."""
    TOO_OLD = "too old"
    """The run has no row and is older than the retention of the ledger, so it may have run before."""
    NO_ROW = "no row"
    """The run has no row, and the request did not ask to accept it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The parts of a worker's definition of a job that the claim uses."""

    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window: timedelta = timedelta(days=1)
    concurrency: int | None = None
    """The maximum number of simultaneous runs over all workers; None: only `overlap` limits it."""

    @property
    def most(self) -> int:
        """How many runs of the job may be active; 0: any number."""
        return (self.concurrency or 0) if self.overlap is Overlap.ALLOW else 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A worker's request for a claim: the message that it received, and the policy of the job."""

    message: Message
    policy: Policy | None
    """None: this worker does not know the job, so the store hands the run to another worker."""
    unique: str = ""
    """The uniqueness key, used if the message has no row."""
    adopt: bool = True
    """Whether the store accepts a message without a row. If not, the answer is `unknown`, and nothing is written."""
    body: bytes = b""
    """The message as it was received, if it is known. The store compares it with that of the row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The store's answer to `Wanted`. The answer `run` means that only this worker may run this run now."""

    message: Message
    answer: Answer
    token: int = 0
    """The fencing token. It grows with every claim in this namespace."""
    attempts: int = 0
    """How many claims this run has had, including this one."""
    failures: int = 0
    """How many earlier attempts failed. A hand-back does not count."""
    alone: bool = False
    """True: a process died while it ran this run, so the worker runs it in a separate child process."""
    reason: str = ""
    """Why the answer is not `run`, as text for the log, such as `missed: too late` or `paused`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settlement:
    """The end of a claim: a verdict, a retry (`retry_after`), or a hand-back (neither)."""

    claim: Claim
    verdict: Verdict | None = None
    reason: Reason | None = None
    note: str = ""
    """Details of the reason; for a retry the message of the exception."""
    retry_after: timedelta | None = None
    died: bool = False
    """True: the run killed its process. The store hands it out again, or fails it if this was the `DEATHS`th time."""
    failure: Failure | None = None
    result: Any = None
    progress: str = ""
    """The last progress that the run reported. If the run has a lease, the ledger has it already."""


class Stop(StrEnum):
    """Why a running run must stop."""

    OVERLAP = "overlap"
    """A newer run of the job cancels this one. The verdict is `cancelled`."""
    REQUESTED = "requested"
    """A user cancelled the run. The verdict is `cancelled`."""
    DRAINING = "draining"
    """The worker process stops and hands the run back."""
    LEASE_LOST = "lease lost"
    """Another worker may have the run now. The store refuses to settle this claim."""


class Cancelled(StrEnum):
    """The answer to a request to cancel a run."""

    CANCELLED = "cancelled"
    ASKED = "asked"
    """The run is running. Its worker gets the request when it next renews the lease."""
    SETTLED = "settled"
    """The run already has a verdict."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lapsed:
    """A run whose lease expired. The store has handed it out again or, if `verdict` is set, settled it."""

    run_id: str
    job: str
    verdict: Verdict | None
    worker: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Latest:
    """The latest runs of a job."""

    newest: Run | None
    """The newest run, by the instant it was scheduled for, or else accepted."""
    settled: Run | None
    """The newest run with a verdict, in the same order. An older fire that is recorded later does not replace it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Only:
    """A filter on runs. An empty set does not filter."""

    states: frozenset[State] = frozenset()
    causes: frozenset[Cause] = frozenset()
    tiers: frozenset[Tier] = frozenset()

    def holds(self, state: str, cause: str, tier: str) -> bool:
        pairs = ((self.states, state), (self.causes, cause), (self.tiers, tier))
        return all(not wanted or value in wanted for wanted, value in pairs)


ALL_RUNS = Only()


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """The dead letter of a durable run that failed, or of an invalid message. The ledger has the rest of the run."""

    run_id: str
    job: str
    """Empty if the message does not name a job."""
    at: datetime
    message: Message | None
    """None if the body is not a valid message."""
    body: str
    """The received text, if it is not a valid message."""
    reason: Reason | None
    failure: Failure | None
    note: str = ""
    """Details of the reason, such as what is wrong with the message."""


class Happening(StrEnum):
    """The kinds of notices."""

    FAILED = "failed"
    MISSED = "missed"
    LATE = "late"


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """An event to report to people: a fire was missed, a run failed, or a fire began late."""

    what: Happening
    run_id: str
    job: str
    at: datetime
    scheduled_for: datetime | None
    reason: Reason | None
    """None for `late`, which is not a verdict."""
    note: str = ""
    """Details of the reason; for `late` how late the fire began."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """The store's numbers for metrics. The counts by job only grow."""

    settled: Mapping[tuple[str, Verdict], int]
    """The number of settled runs, by job and verdict."""
    noticed: Mapping[tuple[str, Happening], int]
    """The number of notices so far, by job and kind."""
    overdue: timedelta
    """How long the first entry of the outbox has been due; zero if no entry is due."""
    outbox: int
    """The number of entries that wait for their time or for the relay."""
    waiting: int
    """The number of runs that wait for another run of their job, or for the end of a pause."""
    running: int
    """The number of runs that a worker has claimed and not yet settled."""
    dead_letters: int
