"""The seam of the state store: what holds runs, the outbox, claims, cursors and logs.

Two implementations: `horae.store.redis` for Redis and Valkey, `horae.store.memory` for scripts and tests. Every method
is one atomic step, judged by the store's clock. All raise StoreUnavailable when the store does not answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from horae.jobs import CatchUp, Overlap, Tier
from horae.messages import Lane, Message
from horae.runs import Cause, Failure, Run, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRun:
    """A run on its way into the ledger."""

    id: str
    job: str
    tier: Tier
    cause: Cause
    scheduled_for: datetime | None = None
    due: datetime | None = None
    """When it may be published; None: at once."""
    lane: Lane = Lane.NORMAL
    provider: str = ""
    """Empty: routing chooses."""
    context: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict | None = None
    """A fire that is settled as soon as it is written: `missed`."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """What the relay took out of the outbox, to publish before `hold` runs out."""

    message: Message
    provider: str


class Outbox(Protocol):
    async def accept(self, runs: Sequence[NewRun], hold: timedelta = timedelta(0)) -> list[bool]:
        """Write runs and their outbox entries. False where the run was known already. `hold` keeps the relay off
        entries that are due now, because the caller publishes them itself."""

    async def take(self, limit: int, hold: timedelta) -> list[Due]:
        """What is due, oldest first; no other relay gets it before `hold` has passed."""

    async def published(self, messages: Sequence[Message]) -> None:
        """The broker has them: forget their entries."""

    async def next_due(self) -> datetime | None:
        """When the next entry is due; None for an empty outbox."""


class Answer(StrEnum):
    RUN = "run"
    DUPLICATE = "duplicate"
    LATER = "later"
    """The store keeps the run and hands it out again when it may go on."""
    SETTLED = "settled"
    """Settled at the claim, such as `skipped: overlap`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A claim that a worker would like: a message that it received, and its job's policies."""

    message: Message
    tier: Tier
    overlap: Overlap
    catch_up: CatchUp
    known: bool = True
    """False: this worker does not know the job, and gives the run back for another."""


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
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settlement:
    """The end of a claim: a verdict, a retry (`retry_after`), or a hand-back (neither)."""

    claim: Claim
    verdict: Verdict | None = None
    reason: str = ""
    retry_after: timedelta | None = None
    failure: Failure | None = None
    result: Any = None
    progress: str = ""
    """What the run last said; the ledger has it already where there is a lease."""


class Hold(StrEnum):
    """What became of a lease when it was renewed."""

    KEPT = "kept"
    LOST = "lost"
    """Another worker may run it: stop, the settling will be refused."""
    CANCEL = "cancel"
    """Kept, but somebody asks for it to be cancelled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lapsed:
    """A run whose lease ran out: back in the outbox, or failed."""

    run: str
    job: str
    verdict: Verdict | None
    worker: str


class Claims(Protocol):
    async def claim(self, wanted: Sequence[Wanted], worker: str, lease: timedelta) -> list[Claim]:
        """An answer for each, in order."""

    async def begin(self, run: NewRun, overlap: Overlap, worker: str, lease: timedelta) -> Claim:
        """Accept and claim in one step, past every broker; `duplicate` if the run is known, whoever has it."""

    def renew(self, claims: Sequence[Claim], lease: timedelta) -> list[Hold]:
        """Blocking, for a thread of its own, so that no job can keep a lease from being renewed."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """False where the claim is stale: nothing was written."""

    async def sweep(self, limit: int) -> list[Lapsed]:
        """Hand the runs whose lease ran out to other workers."""

    async def report(self, claim: Claim, text: str) -> None:
        """Say how far a run is; ignored when the claim is stale."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """How far a job's fires are written."""

    job: str
    fingerprint: str
    at: datetime
    """No fire at or before it will be written again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """A job's schedule as one sidecar knows it."""

    job: str
    fingerprint: str
    next_after_now: datetime | None


class Cursors(Protocol):
    async def declare(self, declared: Sequence[Declared], revision: int) -> dict[str, str]:
        """Make these schedules the store's and forget the jobs that this revision no longer has.

        Returns {job: why} for each job that this sidecar must stand aside for. A new job starts now; an edited one goes
        on from now; one that did not change keeps its cursor.
        """

    async def due(self, limit: int) -> list[Cursor]:
        """The jobs with a fire at or before now, the longest overdue first."""

    async def advance(
        self,
        cursor: Cursor,
        to: datetime,
        next_fire: datetime | None,
        runs: Sequence[NewRun],
    ) -> bool:
        """Write the fires up to `to`. False, and nothing written, if the cursor or the schedule changed meanwhile."""

    async def next_fire(self) -> datetime | None:
        """When the next job is due; None if none ever is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Latest:
    """Where a job stands."""

    newest: Run | None
    """Its newest run, by the instant it was scheduled for or else accepted."""
    settled: Run | None
    """The run that got its verdict last."""


class Ledger(Protocol):
    async def run(self, id: str) -> Run | None: ...

    async def runs(
        self,
        *,
        job: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
    ) -> list[Run]:
        """The newest first, by the instant they were scheduled for or else accepted."""

    async def latest(self, jobs: Iterable[str]) -> dict[str, Latest]: ...

    async def record(self, runs: Sequence[Run], keep: int | None = None) -> None:
        """Write runs that another scheduler ran. A settled run is never changed.

        `keep`: how many of the job's runs stay.
        """

    async def append_log(self, run: str, lines: Sequence[str]) -> None: ...

    async def log(self, run: str) -> list[str]: ...

    async def prune(self) -> int:
        """Drop what is older than the retention; returns how many runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """What a durable run that failed leaves behind; the ledger has the rest."""

    run: str
    job: str
    """Empty when the message did not say one."""
    at: datetime
    message: Message | None
    """None for a body that is no message."""
    body: str
    """What came, when it is no message."""
    reason: str
    failure: Failure | None


class DeadLetters(Protocol):
    async def newest(self, limit: int = 50) -> list[DeadLetter]: ...

    async def bury(self, body: bytes, reason: str) -> str:
        """Keep a message that is not a run: malformed, too large, too old. Returns its id."""


class Store(Protocol):
    """The nouns together; `horae.store.connect` opens one."""

    @property
    def namespace(self) -> str: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def claims(self) -> Claims: ...
    @property
    def cursors(self) -> Cursors: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def dead_letters(self) -> DeadLetters: ...

    async def check(self) -> None:
        """Raises UnsafeStore for a store that could lose what it accepts, StoreUnavailable for one that is away."""

    async def now(self) -> datetime:
        """The store's clock. Also the cheapest proof that it answers."""

    async def close(self) -> None: ...
