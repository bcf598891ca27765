"""All state of the memory store, and the steps that several nouns share."""

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Concatenate

from horae.jobs import Tier
from horae.messages import Lane, Message
from horae.runs import Event, Run, State, Verdict
from horae.store.base import (
    Claim,
    DeadLetter,
    NewRun,
)

DEATHS = 3
UNKNOWN = timedelta(minutes=10)
UNKNOWN_WAIT = timedelta(seconds=5)
OPEN = {State.PENDING, State.QUEUED, State.RETRYING}


@dataclass(slots=True)
class Row:
    """What the store keeps beside the run itself."""

    run: Run
    lane: Lane = Lane.NORMAL
    attempt: int = 1
    failures: int = 0
    deaths: int = 0
    token: int = 0
    cancel: bool = False
    unknown_since: datetime | None = None
    log: list[str] = field(default_factory=list)


class Books:
    """All state, and the steps that several nouns share. `clock` is the store's clock."""

    def __init__(self, namespace: str, clock: Callable[[], datetime]) -> None:
        self.namespace, self.clock = namespace, clock
        self.lock = threading.RLock()  # the renewer comes from a thread of its own
        self.rows: dict[str, Row] = {}
        self.outbox: dict[str, datetime] = {}
        self.leases: dict[str, datetime] = {}
        self.active: dict[str, dict[str, None]] = defaultdict(dict)
        self.waiting: dict[str, dict[str, None]] = defaultdict(dict)
        self.last: dict[str, str] = {}
        self.schedules: dict[str, tuple[str, int, datetime]] = {}
        self.next: dict[str, datetime] = {}
        self.token = 0
        self.dead: dict[str, DeadLetter] = {}

    def change(self, id: str, **fields: Any) -> None:
        self.rows[id].run = replace(self.rows[id].run, **fields)

    def tell(self, id: str, what: str, note: str = "") -> None:
        row = self.rows[id]
        event = Event(at=self.clock(), what=what, attempt=row.attempt, note=note)
        self.change(id, story=(*row.run.story, event))

    def put(self, new: NewRun) -> bool:
        if new.id in self.rows:
            return False
        run = Run(
            id=new.id,
            job=new.job,
            tier=new.tier,
            cause=new.cause,
            state=State.PENDING,
            scheduled_for=new.scheduled_for,
            accepted_at=self.clock(),
            provider=new.provider,
            context=dict(new.context),
            metadata=dict(new.metadata),
        )
        self.rows[new.id] = Row(run=run, lane=new.lane)
        self.tell(new.id, "accepted", new.cause.value)
        return True

    def release(self, job: str) -> None:
        if not self.active[job] and self.waiting[job]:
            first = next(iter(self.waiting[job]))
            del self.waiting[job][first]
            self.outbox[first] = self.clock()

    def settle(self, id: str, verdict: Verdict, reason: str, **fields: Any) -> None:
        self.change(
            id,
            state=State(verdict.value),
            reason=reason,
            ended_at=self.clock(),
            **fields,
        )
        self.tell(id, "settled", f"{verdict.value}: {reason}" if reason else verdict.value)
        run = self.rows[id].run
        for index in (
            self.leases,
            self.active[run.job],
            self.waiting[run.job],
            self.outbox,
        ):
            index.pop(id, None)
        self.release(run.job)
        self.last[run.job] = id
        if verdict is Verdict.FAILED and run.tier is Tier.ONEIRIC:
            self.dead[id] = DeadLetter(
                run=id,
                job=run.job,
                at=self.clock(),
                message=self.message(id),
                body="",
                reason=reason,
                failure=run.failure,
            )

    def hand_out_again(self, id: str, state: State, delay: timedelta, what: str, note: str = "") -> None:
        self.tell(id, what, note)
        row = self.rows[id]
        row.attempt, row.token = row.attempt + 1, 0
        self.change(id, state=state, worker="")
        self.leases.pop(id, None)
        self.outbox[id] = self.clock() + delay
        if state is not State.RETRYING:
            self.active[row.run.job].pop(id, None)
            self.release(row.run.job)

    def message(self, id: str) -> Message:
        row = self.rows[id]
        return Message(
            job=row.run.job,
            run=id,
            attempt=row.attempt,
            scheduled_for=row.run.scheduled_for,
            lane=row.lane,
            context=row.run.context,
            metadata=row.run.metadata,
        )

    def holds(self, claim: Claim) -> bool:
        row = self.rows.get(claim.message.run)
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
