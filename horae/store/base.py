"""The seam of the state store: what holds runs, the outbox, claims, cursors, dead letters and logs.

`horae.store.redis` implements it on Redis and Valkey; `tests/model` is an independent model of it. Every method is one
atomic step, judged by the store's clock; one that takes many things is one step for each batch of them. All raise
StoreUnavailable when the store does not answer.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from horae.jobs.policies import Overlap
from horae.messages import Message
from horae.reasons import Reason
from horae.runs import Run
from horae.store.values import (
    ALL_RUNS,
    Accepted,
    Advance,
    Cancelled,
    Claim,
    DeadLetter,
    Declared,
    DueJobs,
    Figures,
    InForce,
    Lapsed,
    Latest,
    NewRun,
    Notice,
    Only,
    Settlement,
    Stop,
    Taken,
    Wanted,
    Watched,
)


class Outbox(Protocol):
    async def accept(self, runs: Sequence[NewRun], hold: timedelta = timedelta(0)) -> list[Accepted]:
        """Write runs, each with its outbox entry, or with its message where the store carries the provider's itself.

        `hold` keeps the relay off entries that are due now, because the caller publishes them.
        """

    async def take(self, limit: int, hold: timedelta) -> Taken:
        """What is due, oldest first; no other relay gets it before `hold` has passed."""

    async def publish_own(self, limit: int) -> int:
        """Of the first `limit` due entries, publish those of jobs that one program alone declares. Returns how many."""

    async def published(self, messages: Sequence[Message]) -> None:
        """The broker has them: forget their entries."""


class Claims(Protocol):
    async def claim(self, wanted: Sequence[Wanted], worker: str, lease: timedelta) -> list[Claim]:
        """An answer for each, in order. A message without a row is accepted first, as `enqueue`."""

    async def begin(self, run: NewRun, overlap: Overlap, worker: str, lease: timedelta) -> Claim:
        """Accept and claim in one step, past every broker; `duplicate` if the run is known, whoever has it."""

    def renew(self, claims: Sequence[Claim], lease: timedelta) -> list[Stop | None]:
        """For each claim why its run must stop, or None: its lease is kept. Only LEASE_LOST means that it is not.

        Blocking, for a thread of its own, so that no job can keep a lease from being renewed.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """False where the claim is stale: nothing was written."""

    async def sweep(self, limit: int) -> list[Lapsed]:
        """Hand the runs whose lease ran out to other workers. With a limit of 0: only try whether it takes writes."""

    async def report(self, claim: Claim, text: str) -> None:
        """Say how far a run is; ignored when the claim is stale."""

    async def cancel(self, run_id: str) -> Cancelled:
        """End a run that waits, or ask the worker that runs it to end it: `cancelled: requested`."""


class Pauses(Protocol):
    """A paused job fires and is enqueued as ever; at the claim its runs wait, or are skipped by their policy."""

    async def pause(self, job: str | None = None) -> None:
        """That job, or everything."""

    async def resume(self, job: str | None = None) -> int:
        """Hand out what waited; returns how many runs. Everything goes on only where no job is paused by name."""

    async def paused(self) -> frozenset[str | None]:
        """The paused jobs; None among them: everything."""


class Cursors(Protocol):
    async def declare(self, declared: Sequence[Declared], revision: int) -> dict[str, str]:
        """Make these schedules the store's and forget the jobs that this revision no longer has.

        Returns {job: why} for each job that this sidecar must stand aside for. A new job starts now; an edited one goes
        on from max(its cursor, now); one that did not change keeps its cursor.
        """

    async def in_force(self, jobs: Sequence[str]) -> dict[str, InForce]:
        """Their schedules as the store has them, without the jobs that it does not know."""

    async def watch(self, watched: Sequence[Watched], revision: int) -> dict[str, datetime]:
        """From when on the fires of each internal job are to be accounted for.

        A definition that is new here is accounted for from now on. A job whose definition a newer revision holds is
        left out.
        """

    async def account(self, watched: Sequence[Watched], until: datetime) -> None:
        """All fires of these up to `until` have a row; ignored where another definition is in force."""

    async def due(self, limit: int) -> DueJobs:
        """The jobs with a fire at or before now, and when there is more to do."""

    async def advance(self, advances: Sequence[Advance]) -> list[bool]:
        """Write the fires of jobs. False, and nothing written, where cursor or schedule changed meanwhile."""


class Ledger(Protocol):
    async def run(self, run_id: str) -> Run | None: ...

    async def runs(
        self,
        *,
        job: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        only: Only = ALL_RUNS,
        limit: int = 50,
    ) -> list[Run]:
        """The newest first, by the instant they were scheduled for or else accepted; both bounds are inclusive."""

    async def ids(self, *, job: str | None = None, since: datetime | None = None, limit: int = 50) -> list[str]:
        """The ids alone, in the order of `runs`."""

    async def many(self, run_ids: Sequence[str]) -> list[Run]:
        """Those of them that there are, in the order given."""

    async def find(self, part: str, limit: int) -> list[str]:
        """Ids that begin or end with it, in no order."""

    async def latest(self, jobs: Iterable[str]) -> dict[str, Latest]: ...

    async def record(self, runs: Sequence[Run], keep: int | None = None) -> None:
        """Write runs that another scheduler ran. A settled run is never changed; one that was dropped stays gone.

        `keep`: how many of the job's runs stay.
        """

    async def append_log(self, run_id: str, lines: Sequence[str]) -> None: ...

    async def log(self, run_id: str) -> list[str]: ...

    async def figures(self) -> Figures:
        """What is to be measured, in one cheap look that any process may take every few seconds."""

    async def prune(self) -> int:
        """Drop what is older or more than the retention; returns how many runs."""


class Notices(Protocol):
    """Missed, failed and late fires, each handed out once."""

    async def take(self, limit: int) -> list[Notice]:
        """The oldest first. What is taken is gone."""

    async def put_back(self, notices: Sequence[Notice]) -> None:
        """Nobody could be told: the next one tries again."""


class DeadLetters(Protocol):
    async def newest(self, limit: int = 50, job: str | None = None) -> list[DeadLetter]: ...

    async def get(self, run_id: str) -> DeadLetter | None: ...

    def every(self, job: str | None = None, run_ids: Sequence[str] | None = None) -> AsyncIterator[DeadLetter]:
        """All that there are when it begins, the oldest first, or those of `runs`; what goes meanwhile is left out."""

    async def bury(self, body: bytes, reason: Reason, note: str = "", job: str = "") -> str:
        """Keep a message that is not a run: malformed, too large, too old. `note`: what is wrong. Returns its id."""

    async def drop(self, run_ids: Sequence[str]) -> int:
        """Let letters go; returns how many there were. What the ledger says of a run stays."""


class Store(Protocol):
    """The nouns together; `horae.store.connect` opens one."""

    @property
    def namespace(self) -> str: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def claims(self) -> Claims: ...
    @property
    def pauses(self) -> Pauses: ...
    @property
    def cursors(self) -> Cursors: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def notices(self) -> Notices: ...

    async def check(self) -> None:
        """Raises UnsafeStore for a store that could lose what it accepts, StoreUnavailable for one that is away."""

    async def now(self) -> datetime:
        """The store's clock. Also the cheapest proof that it answers."""

    async def close(self) -> None: ...
