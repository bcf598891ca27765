"""The interface of the state store, which holds runs, the outbox, claims, cursors, dead letters and logs.

`horae.store.redis` implements it on Redis and Valkey; `tests/model` is an independent model of it. Every method
uses the store's clock and is one atomic step, unless it has much to do. A step blocks the store for all other callers,
so each step touches a bounded number of runs, and a method that takes many items does one step for each batch of them.
If the caller dies between two steps, the store still holds what is left to do. All methods raise StoreUnavailable if
the store does not answer.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from horae.jobs.policies import Overlap
from horae.messages import Message
from horae.reasons import Reason
from horae.runs import Run
from horae.store.cursors import Advance, Declared, DueJobs, InForce, Watched
from horae.store.values import (
    ALL_RUNS,
    Accepted,
    Cancelled,
    Claim,
    DeadLetter,
    Figures,
    Lapsed,
    Latest,
    Move,
    NewRun,
    Notice,
    Only,
    ProviderRuns,
    Settlement,
    Stop,
    Taken,
    Upcoming,
    Wanted,
)


class Outbox(Protocol):
    async def accept(self, runs: Sequence[NewRun], hold: timedelta = timedelta(0)) -> list[Accepted]:
        """Write each run with its outbox entry, or with its message if the store carries the provider's messages.

        For the time `hold`, the relay does not take entries that are due now, because the caller publishes them.
        """

    async def take(self, providers: Sequence[str], limit: int, hold: timedelta) -> Taken:
        """Take the due entries of these providers, each provider's oldest first.

        No other relay gets them before `hold` has passed.
        """

    async def publish_own(self, limit: int) -> int:
        """Publish the first `limit` due entries of jobs that one program alone declares. Returns how many."""

    async def published(self, messages: Sequence[Message], provider: str = "") -> None:
        """Remove the outbox entries of these messages. Call it after the broker has accepted them.

        `provider`: where the messages are, if that is not the provider of their rows.
        """

    async def upcoming(self, provider: str, within: timedelta) -> list[Upcoming]:
        """Runs of that provider that are due later, but within that time, and whose message the broker does not have.

        Returns a part of them at each call, all of them in turn.
        """

    async def placed(self, messages: Sequence[Message]) -> None:
        """Note that the broker has these messages and delivers them when they are due. Their entries stay."""

    async def republish(self, provider: str, age: timedelta, note: str, limit: int) -> int:
        """Hand out again runs whose message was published that long ago and which no worker has claimed.

        They keep their generation, so the claim discards one of two copies. `note`: why, for the story. Returns how
        many runs were found, at most `limit`.
        """

    async def by_provider(self) -> list[ProviderRuns]:
        """The runs that wait for each provider that ever had one. The call is cheap."""

    async def sort(self) -> None:
        """Sort entries of the previous release by their provider: a part of them at each call, all of them in turn."""


class Claims(Protocol):
    async def claim(self, wanted: Sequence[Wanted], worker: str, lease: timedelta) -> list[Claim]:
        """Return an answer for each wanted claim, in order. A message without a row is first accepted as `enqueue`."""

    async def begin(
        self,
        run: NewRun,
        overlap: Overlap,
        worker: str,
        lease: timedelta,
        *,
        concurrency: int | None = None,
        waits: bool = False,
    ) -> Claim:
        """Accept and claim a run in one step, without a broker. Answers `duplicate` if the store knows the run.

        While other runs of the job are in the way, the run is skipped. With `waits` the answer is `later` instead, and
        nothing is written.
        """

    async def again(self, attempt: Settlement) -> bool:
        """An attempt ended as `attempt` says, and the holder of its claim begins the next one itself.

        The claim stays as it is. False where it is stale: nothing was written.
        """

    def renew(self, claims: Sequence[Claim], lease: timedelta) -> list[Stop | None]:
        """Renew leases. Returns for each claim why its run must stop, or None. LEASE_LOST: the lease was not renewed.

        The call blocks. Use a separate thread, so that a job cannot delay the renewal of a lease.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End claims. Returns False for each claim that is stale; nothing is written for it."""

    async def sweep(self, limit: int) -> list[Lapsed]:
        """Hand runs whose lease expired to other workers. With `limit` 0, only check that the store accepts writes."""

    async def report(self, claim: Claim, text: str) -> None:
        """Write the progress of a run. Does nothing if the claim is stale."""

    async def cancel(self, run_id: str) -> Cancelled:
        """Cancel a waiting run, or ask the worker of a running one to stop it. Verdict: `cancelled: requested`."""


class Pauses(Protocol):
    """Paused jobs. They still fire and can be enqueued; at the claim their policy makes runs wait or skips them."""

    async def pause(self, job: str | None = None) -> None:
        """Pause that job, or all jobs."""

    async def resume(self, job: str | None = None) -> int:
        """Resume that job, or all jobs that are not paused by name. Returns how many waiting runs were handed out."""

    async def paused(self) -> frozenset[str | None]:
        """The names of the paused jobs. None in the set means that all jobs are paused."""


class Moves(Protocol):
    """Move records. A run goes to the provider that its call names, else its job's record, else the record of all
    jobs, else its job, else the default."""

    async def move(self, provider: str, job: str | None = None) -> None:
        """Write the record of that job, or of all jobs. It holds from the next time that a run is handed out."""

    async def end(self, provider: str, job: str | None = None) -> bool:
        """Remove that record. Returns False if there is none."""

    async def follow(self, provider: str) -> int:
        """Move runs that wait in the outbox of that provider to where they go by now. Returns how many moved."""

    async def all(self) -> dict[str | None, Move]:
        """All records, by job. None in it is the record of all jobs."""


class Cursors(Protocol):
    async def declare(self, declared: Sequence[Declared], revision: int) -> dict[str, str]:
        """Write these schedules to the store and remove the jobs that this revision no longer declares.

        Returns {job: why} for each job that this sidecar must not fire. The cursor of a new job is now. The cursor of
        an edited job becomes max(cursor, now). An unchanged job keeps its cursor.
        """

    async def in_force(self, jobs: Sequence[str]) -> dict[str, InForce]:
        """The schedules of these jobs in the store. Jobs that the store does not know are left out."""

    async def watch(self, watched: Sequence[Watched], revision: int) -> dict[str, datetime]:
        """Return for each internal job the instant from which its fires need a row in the ledger.

        For a definition that is new to the store, this is now. A job is left out if a newer revision has another
        definition of it.
        """

    async def account(self, watched: Sequence[Watched], until: datetime) -> None:
        """Note that all fires of these jobs up to `until` have a row. Ignores jobs with another definition in force."""

    async def due(self, limit: int) -> DueJobs:
        """Return the jobs with a fire at or before now, and the time until the next fire after these."""

    async def advance(self, advances: Sequence[Advance]) -> list[bool]:
        """Write fires. Returns False for a job whose cursor or schedule has changed; nothing is written for it."""


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
        """Runs, newest first, by the instant they were scheduled for, or else accepted. Both bounds are inclusive."""

    async def ids(self, *, job: str | None = None, since: datetime | None = None, limit: int = 50) -> list[str]:
        """Only the ids, in the order of `runs`."""

    async def many(self, run_ids: Sequence[str]) -> list[Run]:
        """The runs with these ids, in the order given. Unknown ids are left out."""

    async def find(self, part: str, limit: int) -> list[str]:
        """Up to `limit` ids that begin or end with `part`, in no order."""

    async def latest(self, jobs: Iterable[str]) -> dict[str, Latest]: ...

    async def record(self, runs: Sequence[Run], keep: int | None = None) -> None:
        """Write runs of another scheduler. A settled run is never changed; a dropped run is not written again.

        `keep`: how many runs of the job the ledger keeps.
        """

    async def append_log(self, run_id: str, lines: Sequence[str]) -> None: ...

    async def log(self, run_id: str) -> list[str]: ...

    async def figures(self) -> Figures:
        """The numbers for metrics. The call is cheap: any process may make it every few seconds."""

    def prune(self) -> AsyncIterator[int]:
        """Drop runs that exceed the retention by age or number. Yields after each step how many it dropped."""


class Notices(Protocol):
    """Missed, failed and late fires, each handed out once."""

    async def take(self, limit: int) -> list[Notice]:
        """Remove up to `limit` notices from the store and return them, oldest first."""

    async def put_back(self, notices: Sequence[Notice]) -> None:
        """Return notices that could not be delivered. The next `take` returns them again."""


class DeadLetters(Protocol):
    async def newest(self, limit: int = 50, job: str | None = None) -> list[DeadLetter]: ...

    async def ids(self, job: str | None = None) -> list[str]:
        """The run ids of all letters, oldest first."""

    async def get(self, run_id: str) -> DeadLetter | None: ...

    def every(self, job: str | None = None, run_ids: Sequence[str] | None = None) -> AsyncIterator[DeadLetter]:
        """All letters at the start of the call, oldest first, or those of `run_ids`. Omits those dropped meanwhile."""

    async def bury(self, body: bytes, reason: Reason, note: str = "", job: str = "") -> str:
        """Keep a message that is not a run: malformed, too large, too old. `note`: what is wrong. Returns a new id."""

    async def drop(self, run_ids: Sequence[str]) -> int:
        """Remove letters and return how many existed. The runs stay in the ledger."""


class Store(Protocol):
    """The whole store. `horae.store.connect` opens one."""

    @property
    def namespace(self) -> str: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def claims(self) -> Claims: ...
    @property
    def pauses(self) -> Pauses: ...
    @property
    def moves(self) -> Moves: ...
    @property
    def cursors(self) -> Cursors: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def notices(self) -> Notices: ...

    async def check(self) -> None:
        """Raises UnsafeStore if the store could lose accepted runs, StoreUnavailable if it does not answer."""

    async def now(self) -> datetime:
        """The time by the store's clock. Also the cheapest check that the store answers."""

    async def close(self) -> None: ...
