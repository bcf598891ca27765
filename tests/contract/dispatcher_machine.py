"""A state machine of several dispatchers on one store, compared with an account of the expected fires.

The account has no index, fingerprint or batch: a fire is a multiple of the job's interval between the job's cursor and
now, and the policy decides its verdict.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pydantic import SecretStr

from horae.clock import EPOCH
from horae.duties.dispatcher import Dispatcher
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Tier
from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.queues.opened import open_queues
from horae.reasons import Reason
from horae.runs import Verdict
from horae.schedules.making import every
from horae.settings import Settings, StoreSettings
from horae.store import Store
from tests.contract.stores import (
    NONE,
    PROVIDERS,
    Clock,
)

NOWHERE = Settings(store=StoreSettings(url=SecretStr("redis://127.0.0.1:1/0")))
"""Routing chooses a provider and connects to none."""

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
WINDOW = timedelta(hours=30)
POLICIES = {"a-latest": CatchUp.LATEST, "b-all": CatchUp.ALL, "c-none": CatchUp.NONE}
INTERVALS = [timedelta(minutes=20), HOUR, timedelta(hours=7)]
SPANS = [timedelta(milliseconds=1), MINUTE, timedelta(minutes=19), HOUR, timedelta(hours=9), timedelta(days=2)]
ALL = 10_000


@dataclass
class Schedule:
    """A job in the account."""

    interval: timedelta
    revision: int
    cursor: datetime


@dataclass
class Account:
    """The fires that must be in the ledger, each with the reason why it is missed, or None."""

    schedules: dict[str, Schedule] = field(default_factory=dict)
    fires: dict[tuple[str, datetime], Reason | None] = field(default_factory=dict)

    def declare(self, jobs: Mapping[str, timedelta], revision: int, now: datetime) -> None:
        for name, interval in jobs.items():
            known = self.schedules.get(name)
            if known is None:
                self.schedules[name] = Schedule(interval, revision, now)
            elif known.interval == interval:
                known.revision = max(known.revision, revision)
            elif revision > known.revision:
                self.dispatch(
                    {name: known.interval}, now
                )  # fires that were due by the former schedule get their verdict
                self.schedules[name] = Schedule(interval, revision, max(now, known.cursor))
        for name in [name for name, one in self.schedules.items() if name not in jobs and one.revision < revision]:
            del self.schedules[name]

    def dispatch(self, jobs: Mapping[str, timedelta], now: datetime) -> None:
        for name, interval in jobs.items():
            one = self.schedules.get(name)
            if one and one.interval == interval:
                first = EPOCH + ((one.cursor - EPOCH) // interval + 1) * interval
                due = [first + n * interval for n in range((now - first) // interval + 1)] if first <= now else []
                for at in due:
                    self.fires.setdefault((name, at), self.missed(name, at, due[-1], now))
                if due:
                    one.cursor = now

    def missed(self, name: str, at: datetime, newest: datetime, now: datetime) -> Reason | None:
        if now - at > WINDOW:
            return Reason.TOO_LATE
        if POLICIES[name] is CatchUp.LATEST and at < newest:
            return Reason.SUPERSEDED
        return Reason.NOT_CAUGHT_UP if POLICIES[name] is CatchUp.NONE and now - at > MINUTE else None


@dataclass
class Sidecar:
    dispatcher: Dispatcher
    jobs: Mapping[str, timedelta]
    revision: int
    declared: bool = False


class DispatcherMachine(RuleBasedStateMachine):
    def __init__(self, store: Callable[[Clock], Store]) -> None:
        super().__init__()
        self.loop, self.clock = asyncio.new_event_loop(), Clock()
        self.store, self.account = store(self.clock), Account()
        self.router = open_queues(NOWHERE).router
        self.sidecars: list[Sidecar] = []
        self.published: set[str] = set()

    def wait[R](self, step: Awaitable[R]) -> R:
        async def waited() -> R:
            return await step

        return self.loop.run_until_complete(waited())

    @rule(
        jobs=st.dictionaries(st.sampled_from(sorted(POLICIES)), st.sampled_from(INTERVALS), max_size=3),
        revision=st.integers(1, 4),
    )
    def start(self, jobs: dict[str, timedelta], revision: int) -> None:
        """Start a sidecar. All sidecars of one revision have the same definitions."""
        jobs = next((dict(one.jobs) for one in self.sidecars if one.revision == revision), jobs)
        registry = Registry()
        for name, interval in jobs.items():
            registry.add(
                Job(
                    name=name, tier=Tier.ONEIRIC, schedule=every(interval), catch_up=POLICIES[name],
                    catch_up_window=WINDOW,
                )
            )  # fmt: skip
        dispatcher = Dispatcher(self.store, registry, self.router, Metrics(), revision)
        self.sidecars.append(Sidecar(dispatcher, jobs, revision))

    @precondition(lambda self: self.sidecars)
    @rule(pick=st.integers(0, 1000))
    def step(self, pick: int) -> None:
        one = self.sidecars[pick % len(self.sidecars)]
        if not one.declared:
            self.account.declare(one.jobs, one.revision, self.clock())
        self.account.dispatch(one.jobs, self.clock())
        self.wait(self.catch_up(one))

    @precondition(lambda self: any(one.declared for one in self.sidecars))
    @rule()
    def step_all_at_once(self) -> None:
        """All dispatchers step at once and race for the same cursors."""
        declared = [one for one in self.sidecars if one.declared]
        for one in declared:
            self.account.dispatch(one.jobs, self.clock())

        async def race() -> None:
            await asyncio.gather(*(self.catch_up(one) for one in declared))

        self.wait(race())

    async def catch_up(self, one: Sidecar) -> None:
        """Step until the dispatcher has nothing more to write, because a long gap takes several steps."""
        one.declared = True
        written = -1
        while written < (written := len(await self.store.ledger.runs(limit=ALL))):
            await one.dispatcher.step()

    @precondition(lambda self: self.sidecars)
    @rule(pick=st.integers(0, 1000))
    def stop(self, pick: int) -> None:
        self.sidecars.pop(pick % len(self.sidecars))

    @rule(span=st.sampled_from(SPANS))
    def pass_time(self, span: timedelta) -> None:
        self.clock.move(span)

    @rule(span=st.sampled_from(SPANS))
    def step_the_clock_back(self, span: timedelta) -> None:
        self.clock.move(-span)

    @rule()
    def publish(self) -> None:
        """Publish; no message may be published twice without a new generation."""
        messages = [due.message for due in self.wait(self.store.outbox.take(PROVIDERS, ALL, NONE)).entries]
        assert not self.published & {one.run_id for one in messages}
        self.wait(self.store.outbox.published(messages))
        self.published |= {one.run_id for one in messages}

    @invariant()
    def each_fire_is_written_once_and_by_policy(self) -> None:
        runs = self.wait(self.store.ledger.runs(limit=ALL))
        found = {(run.job, run.scheduled_for): run.reason for run in runs}
        assert len(found) == len(runs), "a fire is in the ledger twice"
        assert found == self.account.fires
        assert all((run.verdict is Verdict.MISSED) == bool(run.reason) for run in runs)

    def teardown(self) -> None:
        try:
            self.clock.move(timedelta(days=1000))
            self.publish()
            wanted = {run.run_id for run in self.wait(self.store.ledger.runs(limit=ALL)) if run.verdict is None}
            assert self.published == wanted, "what is to run was in the outbox, once"
        finally:
            self.wait(self.store.close())
            self.wait(self.router.close())
            self.loop.close()
