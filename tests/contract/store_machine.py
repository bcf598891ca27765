"""A state machine that takes the same steps with two stores, and holds both to the law.

Given the same steps by the same clock, memory and a real server give the same answers and keep the same rows. Beside
them stands a broker that loses nothing, doubles and reorders, and relays that die between taking, publishing and telling.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from horae.jobs import CatchUp, Overlap, Tier
from horae.messages import Lane, Message
from horae.runs import Cause, Failure, State, Verdict
from horae.settings import StoreSettings
from horae.store import Store
from horae.store.memory import MemoryStore
from horae.store.redis import RedisStore
from horae.store.values import Answer, Claim, NewRun, Policy, Settlement, Wanted
from tests.contract.server_law import ServerLaw
from tests.contract.stores import LEASE, NONE, Clock, memory_store, steered_store

HOUR = timedelta(hours=1)
POLICIES = [
    Policy(overlap=Overlap.SKIP, catch_up=CatchUp.LATEST, catch_up_window=HOUR),
    Policy(overlap=Overlap.SKIP, catch_up=CatchUp.ALL, catch_up_window=HOUR),
    Policy(overlap=Overlap.QUEUE, catch_up=CatchUp.LATEST, catch_up_window=HOUR),
    Policy(overlap=Overlap.QUEUE, catch_up=CatchUp.ALL, catch_up_window=HOUR),
    Policy(overlap=Overlap.CANCEL_OTHER, catch_up=CatchUp.LATEST, catch_up_window=HOUR),
    Policy(overlap=Overlap.CANCEL_OTHER, catch_up=CatchUp.NONE, catch_up_window=HOUR),
    Policy(overlap=Overlap.ALLOW, catch_up=CatchUp.ALL, catch_up_window=HOUR),
    Policy(overlap=Overlap.ALLOW, catch_up=CatchUp.LATEST, catch_up_window=HOUR, concurrency=2),
]
SPANS = [timedelta(milliseconds=1), timedelta(seconds=1), timedelta(seconds=5), LEASE, timedelta(seconds=61), HOUR]
AGES = [NONE, LEASE, timedelta(seconds=60), timedelta(seconds=61), HOUR, HOUR + timedelta(milliseconds=1)]
DELAYS = [NONE, timedelta(seconds=5), HOUR]
ENDINGS: list[dict[str, Any]] = [
    {"verdict": Verdict.RAN, "result": {"n": [1]}},
    {"verdict": Verdict.FAILED, "reason": "raised", "failure": Failure(type="OSError", message="disk full")},
    {"verdict": Verdict.CANCELLED, "reason": "overlap"},
    {"reason": "draining"},
    {"retry_after": NONE, "reason": "raised"},
    {"retry_after": timedelta(seconds=5), "reason": "raised", "failure": Failure(type="E", message="1")},
    {"died": True, "reason": "killed"},
    {"died": True, "retry_after": timedelta(seconds=1), "reason": "killed"},
]
ANY = st.integers(0, 1_000_000)
"""Picks one of those there are."""
UNKNOWN_TO_THIS_WORKER = st.sampled_from([True, True, True, True, False])


class StoreMachine(RuleBasedStateMachine):
    """`carried`: the server carries the provider's messages itself; memory is given a relay that never rests."""

    carried = ""

    def __init__(self, url: str, namespace: str) -> None:
        super().__init__()
        self.loop, self.clock, self.sound = asyncio.new_event_loop(), Clock(), True
        settings = StoreSettings(keep_runs_per_job=10)
        self.memory: MemoryStore = memory_store(namespace, settings, self.clock)
        self.server: RedisStore = steered_store(url, namespace, settings, self.clock, self.carried)
        self.law = ServerLaw(url, namespace)
        self.jobs: dict[str, Policy] = {}
        self.runs: list[str] = []
        self.relay: list[tuple[Message, str]] = []
        self.untold: list[Message] = []
        self.broker: list[Message] = []
        self.held: list[Claim] = []
        self.newest_token = 0
        self.verdicts: dict[str, tuple[Verdict | None, str]] = {}
        self.notices: list[Any] = []

    def wait[R](self, step: Coroutine[Any, Any, R] | Awaitable[R]) -> R:
        return self.loop.run_until_complete(step)  # type: ignore[arg-type]

    def both[R](self, step: Callable[[Store], Awaitable[R]]) -> R:
        """The answer, which is the same of both."""
        self.sound = False
        expected, found = self.wait(step(self.memory)), self.wait(step(self.server))
        assert expected == found
        self.sound = True
        return found

    @initialize(policies=st.lists(st.sampled_from(POLICIES), min_size=1, max_size=2))
    def declare(self, policies: list[Policy]) -> None:
        self.jobs = {f"job-{place}": policy for place, policy in enumerate(policies)}

    def job_of(self, pick: int) -> str:
        return f"job-{pick % len(self.jobs)}"

    def fresh_id(self) -> str:
        """Neither by age nor by alphabet."""
        self.runs.append(f"r{len(self.runs) * 37 % 100:02d}-{len(self.runs)}")
        return self.runs[-1]

    def new_run(self, pick: int, **fields: Any) -> NewRun:
        return NewRun(id=self.fresh_id(), job=self.job_of(pick), tier=Tier.ONEIRIC, provider=self.carried, **fields)

    async def accepted(self, store: Store, *runs: NewRun) -> list[Any]:
        return [replace(one, published=False) for one in await store.outbox.accept(runs)]

    # What comes in.

    @rule(pick=ANY, unique=st.sampled_from(["", "", "k"]), delay=st.sampled_from(DELAYS), lane=st.sampled_from(Lane))
    def enqueue(self, pick: int, unique: str, delay: timedelta, lane: Lane) -> None:
        due = self.clock() + delay if delay else None
        run = self.new_run(pick, cause=Cause.ENQUEUE, unique=unique, due=due, lane=lane, context={"n": pick})
        self.both(lambda store: self.accepted(store, run))

    @rule(pick=ANY, ages=st.lists(st.sampled_from(AGES), min_size=1, max_size=3, unique=True))
    def fall_due(self, pick: int, ages: list[timedelta]) -> None:
        fires = [
            self.new_run(pick, cause=Cause.SCHEDULE, scheduled_for=self.clock() - age)
            for age in sorted(ages, reverse=True)
        ]
        self.both(lambda store: self.accepted(store, *fires))

    @rule(pick=ANY, unique=st.sampled_from(["", "k"]), attempt=st.sampled_from([1, 1, 3]))
    def come_without_a_row(self, pick: int, unique: str, attempt: int) -> None:
        message = Message(job=self.job_of(pick), run=self.fresh_id(), attempt=attempt, context={"n": 1})
        self.claim_from([message], unique=unique)

    @rule(pick=ANY, cause=st.sampled_from([Cause.SCHEDULE, Cause.MANUAL, Cause.ENQUEUE]))
    def begin(self, pick: int, cause: Cause) -> None:
        due = self.clock() if cause is Cause.SCHEDULE else None
        run = replace(self.new_run(pick, cause=cause, scheduled_for=due), tier=Tier.APSCHEDULER, provider="")
        overlap = self.jobs[run.job].overlap
        self.hold([self.both(lambda store: store.claims.begin(run, overlap, "s1", LEASE))])

    @precondition(lambda self: self.runs)
    @rule(pick=ANY)
    def replay(self, pick: int) -> None:
        replayed = self.runs[pick % len(self.runs)]
        run = self.new_run(pick, cause=Cause.REPLAY, replays=replayed)
        self.both(lambda store: self.accepted(store, run))

    # From the outbox to the broker.

    @rule(limit=st.sampled_from([1, 2, 100]))
    def take(self, limit: int) -> None:
        if self.carried:
            return
        found = self.both(lambda store: store.outbox.take(limit, timedelta(seconds=5)))
        self.relay += [(due.message, due.provider) for due in found.entries]

    @precondition(lambda self: self.relay)
    @rule(pick=ANY)
    def publish(self, pick: int) -> None:
        message, _ = self.relay.pop(pick % len(self.relay))
        self.broker.append(message)
        self.untold.append(message)

    @precondition(lambda self: self.relay)
    @rule(pick=ANY)
    def relay_dies(self, pick: int) -> None:
        self.relay.pop(pick % len(self.relay))

    @precondition(lambda self: self.untold)
    @rule(pick=ANY)
    def say_published(self, pick: int) -> None:
        message = self.untold.pop(pick % len(self.untold))
        self.both(lambda store: store.outbox.published([message]))

    @precondition(lambda self: self.broker)
    @rule(pick=ANY)
    def double(self, pick: int) -> None:
        self.broker.append(self.broker[pick % len(self.broker)])

    # At the worker.

    @precondition(lambda self: self.broker)
    @rule(picks=st.lists(ANY, min_size=1, max_size=3), known=UNKNOWN_TO_THIS_WORKER, acknowledged=st.booleans())
    def deliver(self, picks: list[int], known: bool, acknowledged: bool) -> None:
        found = [self.broker[pick % len(self.broker)] for pick in picks[: 1 if self.carried else None]]
        self.claim_from(found, known=known)
        for message in found if acknowledged else []:
            if message in self.broker:
                self.broker.remove(message)

    def claim_from(self, found: list[Message], known: bool = True, unique: str = "") -> None:
        wanted = [Wanted(message=one, policy=replace(self.jobs[one.job], known=known), unique=unique) for one in found]

        async def claimed(store: Store) -> list[Claim]:
            claims = await store.claims.claim(wanted, "w1", LEASE)
            # Whether a copy's run is pending or queued depends on who carries it.
            return [replace(one, reason="") if one.answer is Answer.DUPLICATE else one for one in claims]

        self.hold(self.both(claimed))

    def hold(self, claims: list[Claim]) -> None:
        for one in claims:
            if one.answer is Answer.RUN:
                assert one.token > self.newest_token, "fencing tokens grow"
                self.newest_token = one.token
                self.held.append(one)

    @precondition(lambda self: self.held)
    @rule(pick=ANY, ending=st.sampled_from(ENDINGS))
    def settle(self, pick: int, ending: dict[str, Any]) -> None:
        """Of a stale claim too: it is refused. A durable job's ending; an internal run is only ever settled."""
        one = self.held[pick % len(self.held)]
        if one.message.run in self.internal and "verdict" not in ending:
            ending = ENDINGS[0]
        self.both(lambda store: store.claims.settle([Settlement(claim=one, **ending)]))

    @property
    def internal(self) -> set[str]:
        return {id for id, row in self.memory.claims.books.rows.items() if row.run.tier is Tier.APSCHEDULER}

    @precondition(lambda self: self.held)
    @rule(picks=st.lists(ANY, min_size=1, max_size=4))
    def renew(self, picks: list[int]) -> None:
        claims = [self.held[pick % len(self.held)] for pick in picks]

        async def renewed(store: Store) -> list[Any]:
            return store.claims.renew(claims, LEASE)

        self.both(renewed)

    @precondition(lambda self: self.held)
    @rule(pick=ANY)
    def report(self, pick: int) -> None:
        one = self.held[pick % len(self.held)]
        self.both(lambda store: store.claims.report(one, f"{pick} done"))

    @rule(limit=st.sampled_from([1, 100]))
    def sweep(self, limit: int) -> None:
        self.both(lambda store: store.claims.sweep(limit))

    # By people.

    @precondition(lambda self: self.runs)
    @rule(pick=ANY)
    def cancel(self, pick: int) -> None:
        run = self.runs[pick % len(self.runs)]
        self.both(lambda store: store.claims.cancel(run))

    @rule(pick=ANY, everything=st.booleans())
    def pause(self, pick: int, everything: bool) -> None:
        self.both(lambda store: store.pauses.pause(None if everything else self.job_of(pick)))

    @rule(pick=ANY, everything=st.booleans())
    def resume(self, pick: int, everything: bool) -> None:
        self.both(lambda store: store.pauses.resume(None if everything else self.job_of(pick)))

    @precondition(lambda self: self.runs)
    @rule(pick=ANY)
    def drop_letter(self, pick: int) -> None:
        self.both(lambda store: store.dead_letters.drop([self.runs[pick % len(self.runs)]]))

    @rule(limit=st.sampled_from([0, 1, 3]))
    def take_notices(self, limit: int) -> None:
        self.notices += self.both(lambda store: store.notices.take(limit))

    @rule()
    def put_notices_back(self) -> None:
        self.both(lambda store: store.notices.put_back(self.notices))
        self.notices = []

    @rule()
    def prune(self) -> None:
        self.both(lambda store: store.ledger.prune())

    @rule(span=st.sampled_from(SPANS))
    def pass_time(self, span: timedelta) -> None:
        self.clock.move(span)

    # The law.

    @invariant()
    def relay_at_once(self) -> None:
        if self.carried and self.jobs:
            self.carry()

    def carry(self) -> None:
        """Memory's relay publishes what the server has published itself, and what it leaves to the relay."""
        mine = [due.message for due in self.wait(self.memory.outbox.take(1000, NONE)).entries]
        left = [due.message for due in self.wait(self.server.outbox.take(1000, NONE)).entries]
        self.wait(self.memory.outbox.published(mine))
        self.wait(self.server.outbox.published(left))
        sent = [*self.wait(self.law.published()), *left]
        assert sorted(mine, key=repr) == sorted(sent, key=repr)
        self.broker += mine

    @invariant()
    def rows_are_the_same(self) -> None:
        async def rows(store: Store) -> list[Any]:
            by_job = [await store.ledger.runs(job=job, limit=1000) for job in self.jobs]
            return [
                await store.ledger.runs(limit=1000),
                by_job,
                await store.ledger.latest(self.jobs),
                await store.dead_letters.newest(1000),
                dict(await store.ledger.counts()),
                await store.pauses.paused(),
                (await store.outbox.take(0, NONE)).next_in,
            ]

        if self.jobs:
            self.hold_to_the_law(self.both(rows)[0])

    def hold_to_the_law(self, runs: list[Any]) -> None:
        for run in runs:
            if run.verdict:
                assert self.verdicts.setdefault(run.id, (run.verdict, run.reason)) == (run.verdict, run.reason)
        for job, policy in self.jobs.items():
            running = sum(run.job == job and run.state is State.RUNNING for run in runs)
            assert not policy.most or running <= policy.most, f"{running} runs of {job} at once"
        self.wait(self.law.holds(runs, {(one.run, one.attempt) for one in self.broker}))

    def teardown(self) -> None:
        try:
            if self.sound and self.jobs:
                self.come_to_rest()
        finally:
            self.wait(self.server.close())
            self.wait(self.law.close())
            self.loop.close()

    def come_to_rest(self) -> None:
        """Once everything goes on and nothing fails any more, every run gets its verdict: none is lost, none stuck."""
        for job in (None, *self.jobs):
            self.both(lambda store, job=job: store.pauses.resume(job))  # type: ignore[misc]
        for _ in range(4 * len(self.runs) + 4):
            if not self.open_runs():
                return
            self.clock.move(HOUR)
            self.sweep(1000)
            self.take(1000)
            while self.relay:
                self.publish(0)
                self.say_published(0)
            self.relay_at_once()
            held = len(self.held)
            while self.broker:
                self.deliver([0], True, True)
            for one in self.held[held:]:
                self.both(lambda store, one=one: store.claims.settle([Settlement(claim=one, verdict=Verdict.RAN)]))  # type: ignore[misc]
            self.rows_are_the_same()
        assert not self.open_runs(), "these runs never come to an end"

    def open_runs(self) -> list[Any]:
        return [run for run in self.both(lambda store: store.ledger.runs(limit=1000)) if run.verdict is None]
