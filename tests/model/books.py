"""All state of the model, and the steps that several of its parts share."""

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Concatenate

from horae.jobs.policies import Tier
from horae.messages import Message, Priority
from horae.reasons import Reason, worded
from horae.runs import Cause, Event, Run, State, Verdict
from horae.settings import StoreSettings
from horae.store.values import Claim, DeadLetter, Happening, Move, NewRun, Notice
from tests.model.retention import Retention, in_order

DEATHS = 3
LAPSES = 10
UNKNOWN_JOB = timedelta(minutes=10)
UNKNOWN_JOB_WAIT = timedelta(seconds=5)
GRACE = timedelta(seconds=60)
NOTICES = 10_000
OPEN = {State.PENDING, State.QUEUED, State.RETRYING}


@dataclass(slots=True)
class Row:
    """A run and the other values that the store keeps for it."""

    run: Run
    priority: Priority = Priority.NORMAL
    generation: int = 1
    failures: int = 0
    deaths: int = 0
    lapses: int = 0
    suspect: bool = False
    token: int = 0
    cancel: str = ""
    unique: str = ""
    pinned: bool = False
    resent: int = 0
    placed: int = 0
    unknown_since: datetime | None = None
    waits_since: datetime | None = None

    def own_message(self, delivered: Message) -> Message:
        """The delivered message with what the run was accepted with."""
        return delivered.model_copy(
            update={
                "scheduled_for": self.run.scheduled_for,
                "priority": self.priority,
                "context": dict(self.run.context),
                "metadata": dict(self.run.metadata),
            }
        )


class Books:
    """All state, and the steps that several parts share. `clock` is the store's clock."""

    def __init__(self, namespace: str, clock: Callable[[], datetime], settings: StoreSettings) -> None:
        self.namespace, self.clock, self.settings = namespace, clock, settings
        self.late_after = timedelta(seconds=settings.late_after_seconds)
        self.lock = threading.RLock()  # leases are renewed in another thread
        self.rows: dict[str, Row] = {}
        self.retention = Retention(self.rows, clock, settings)
        self.outbox: dict[str, datetime] = {}
        self.queued: dict[str, datetime] = {}
        self.providers: set[str] = set()
        self.moves: dict[str | None, Move] = {}
        self.leases: dict[str, datetime] = {}
        self.active: dict[str, dict[str, datetime]] = defaultdict(dict)
        self.waiting: dict[str, dict[str, datetime]] = defaultdict(dict)
        self.bounds: dict[str, int] = {}
        self.paused: set[str | None] = set()
        self.unique: dict[tuple[str, str], str] = {}
        self.newest: dict[str, datetime] = {}
        self.heirs: dict[str, datetime] = {}
        self.last: dict[str, str] = {}
        self.counts: Counter[tuple[str, Verdict]] = Counter()
        self.schedules: dict[str, tuple[str, int, datetime]] = {}
        self.declared: dict[str, tuple[str, timedelta]] = {}
        self.next: dict[str, datetime] = {}
        self.token = 0
        self.dead: dict[str, DeadLetter] = {}
        self.notices: deque[Notice] = deque(maxlen=NOTICES)
        self.noticed: Counter[tuple[str, Happening]] = Counter()

    def row(self, run_id: str) -> Row | None:
        self.retention.drop_expired()
        return self.rows.get(run_id)

    def change(self, run_id: str, **fields: Any) -> None:
        self.rows[run_id].run = replace(self.rows[run_id].run, **fields)

    def tell(self, run_id: str, what: str, note: str = "") -> None:
        row = self.rows[run_id]
        event = Event(
            at=self.clock(), what=what, generation=row.generation, note=note.replace("\r", " ").replace("\n", " ")
        )
        self.change(run_id, story=(*row.run.story, event))

    def notice(self, what: Happening, run_id: str, reason: Reason | None, note: str = "") -> None:
        run = self.rows[run_id].run
        self.say(
            Notice(
                what=what,
                run_id=run_id,
                job=run.job,
                at=self.clock(),
                scheduled_for=run.scheduled_for,
                reason=reason,
                note=note,
            )
        )

    def say(self, notice: Notice) -> None:
        self.notices.append(notice)
        self.noticed[notice.job, notice.what] += 1

    def put(self, new: NewRun) -> bool:
        if self.row(new.run_id):
            return False
        run = Run(
            run_id=new.run_id,
            job=new.job,
            tier=new.tier,
            cause=new.cause,
            state=State.PENDING,
            scheduled_for=new.scheduled_for,
            accepted_at=self.clock(),
            not_before=new.due,
            provider=new.provider,
            context=dict(new.context),
            metadata=dict(new.metadata),
        )
        self.rows[new.run_id] = Row(run=run, priority=new.priority, unique=new.unique, pinned=new.pinned)
        self.retention.index(run)
        self.tell(new.run_id, "accepted", f"{new.cause.value} of {new.replays}" if new.replays else new.cause.value)
        if new.cause is Cause.SCHEDULE and new.scheduled_for:
            self.newest[new.job] = max(new.scheduled_for, self.newest.get(new.job, new.scheduled_for))
        return True

    def route(self, job: str, provider: str, pinned: bool) -> str:
        move = self.moves.get(job) or self.moves.get(None)
        return provider if pinned or provider == "own" or not move else move.provider

    def hand_out(self, run_id: str, due: datetime | None = None) -> None:
        """Put a run into the outbox of the provider that it has by now."""
        row = self.rows[run_id]
        self.change(run_id, provider=self.route(row.run.job, row.run.provider, row.pinned))
        self.providers.add(row.run.provider)
        self.outbox[run_id] = due or self.clock()

    def recall(self, run_id: str, provider: str) -> None:
        """If the run left that provider, its message there counts as a duplicate."""
        row = self.rows[run_id]
        if row.run.provider != provider and row.placed == row.generation:
            row.generation += 1

    def release(self, job: str) -> int:
        """Hand out as many waiting runs of a job as may be active, longest wait first. Returns how many."""
        went = 0
        if self.paused & {job, None}:
            return went
        most = self.bounds.get(job, 1)
        while self.waiting[job] and (most == 0 or len(self.active[job]) + went < most):
            first = in_order(self.waiting[job])[0]
            del self.waiting[job][first]
            self.hand_out(first)
            went += 1
        return went

    def settle(self, run_id: str, verdict: Verdict, reason: Reason | None, note: str = "", **fields: Any) -> None:
        self.change(run_id, state=State(verdict.value), reason=reason, note=note, ended_at=self.clock(), **fields)
        words = worded(reason, note)
        self.tell(run_id, "settled", f"{verdict.value}: {words}" if words else verdict.value)
        run, unique = self.rows[run_id].run, (self.rows[run_id].run.job, self.rows[run_id].unique)
        for index in (self.leases, self.active[run.job], self.waiting[run.job], self.outbox, self.queued):
            index.pop(run_id, None)
        if self.unique.get(unique) == run_id:
            del self.unique[unique]
        self.release(run.job)
        order = self.retention.by_job[run.job]
        last, at = self.last.get(run.job), order.get(run_id)
        if last not in order or (at and at >= order[last]):
            self.last[run.job] = run_id
        self.counts[run.job, verdict] += 1
        if verdict in (Verdict.FAILED, Verdict.MISSED):
            self.notice(Happening(verdict.value), run_id, reason, note)
        if verdict is Verdict.FAILED and run.tier is Tier.ONEIRIC:
            self.dead[run_id] = DeadLetter(
                run_id=run_id,
                job=run.job,
                at=self.clock(),
                message=self.message(run_id),
                body="",
                reason=reason,
                note=note,
                failure=run.failure,
            )
        else:
            self.retention.expire(run_id)
        self.retention.trim(run.job, self.dead)

    def hand_out_again(self, run_id: str, state: State, delay: timedelta, what: str, note: str = "") -> Verdict | None:
        """Hand a run out with the next generation. If its worker missed a requested cancellation, settle it instead."""
        row = self.rows[run_id]
        if row.cancel:
            self.settle(run_id, Verdict.CANCELLED, Reason(row.cancel))
            return Verdict.CANCELLED
        self.tell(run_id, what, note)
        row.generation, row.token = row.generation + 1, 0
        self.change(run_id, state=state, worker="")
        self.leases.pop(run_id, None)
        self.queued.pop(run_id, None)
        self.hand_out(run_id, self.clock() + delay)
        if delay:
            self.change(run_id, not_before=self.outbox[run_id])
        return None

    def message(self, run_id: str) -> Message:
        row = self.rows[run_id]
        return Message(
            job=row.run.job,
            run_id=run_id,
            generation=row.generation,
            scheduled_for=row.run.scheduled_for,
            priority=row.priority,
            context=row.run.context,
            metadata=row.run.metadata,
        ).again(row.resent)

    def holds(self, claim: Claim) -> bool:
        row = self.rows.get(claim.message.run_id)
        return row is not None and row.run.state is State.RUNNING and row.token == claim.token


def locked[N: "Noun", **P, R](
    method: Callable[Concatenate[N, P], R],
) -> Callable[Concatenate[N, P], R]:
    @wraps(method)
    def step(self: N, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.books.lock:
            return method(self, *args, **kwargs)

    return step


class Noun:
    def __init__(self, books: Books) -> None:
        self.books = books
