"""What becomes of an internal job's fires: which sidecar, overlap, time limits, and a store that is away."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from horae.apscheduler.fires import InternalFires
from horae.apscheduler.paused_jobs import PausedJobs
from horae.apscheduler.scheduler import InternalScheduler
from horae.clock import now
from horae.execution.work import Work
from horae.jobs.job import Job
from horae.jobs.policies import Overlap, Scope, Tier
from horae.local.ports import free_port
from horae.metrics.process import Metrics
from horae.reasons import Reason
from horae.runs import Verdict, new_run_id
from horae.schedules.making import every
from horae.settings import Settings, StoreSettings
from horae.store import Store, connect
from tests.model import ModelStore
from tests.servers import OwnValkey
from tests.waiting import wait_until

SECOND = timedelta(seconds=1)


@dataclass
class Counted:
    """A job that counts how often it ran, and waits if it is told to."""

    times: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def job(self, *, waits: bool = False, **fields: Any) -> Job:
        async def function() -> dict[str, int]:
            """Count."""
            self.times += 1
            if waits:
                await self.go_on.wait()
            return {"times": self.times}

        return Job(name="beat", tier=Tier.APSCHEDULER, function=function, schedule=every("1s"), **fields)


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def sidecar(stack: AsyncExitStack, store: Store, name: str = "s1") -> InternalFires:
    work = await stack.enter_async_context(Work(Settings(), store, Metrics(), 10, timedelta(seconds=5)))
    return InternalFires(store, work, name)


async def verdicts(store: Store) -> list[tuple[Verdict | None, Reason | None]]:
    return [(run.verdict, run.reason) for run in reversed(await store.ledger.runs())]


def recently(seconds: int = 1) -> datetime:
    return now().replace(microsecond=0) - timedelta(seconds=seconds)


async def test_one_of_several_sidecars_runs_a_fire(stack: AsyncExitStack) -> None:
    store, counted = ModelStore(), Counted()
    at = recently()
    for name in ("s1", "s2", "s3"):
        await (await sidecar(stack, store, name)).fire(counted.job(), [at])
    assert counted.times == 1
    assert await verdicts(store) == [(Verdict.RAN, None)]


async def test_with_scope_each_every_sidecar_runs_it(stack: AsyncExitStack) -> None:
    store, counted = ModelStore(), Counted()
    at = recently()
    for name in ("s1", "s2", "s3"):
        await (await sidecar(stack, store, name)).fire(counted.job(scope=Scope.EACH), [at])
    assert counted.times == 3
    assert await verdicts(store) == [(Verdict.RAN, None)] * 3


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_fire_during_a_run_is_skipped(stack: AsyncExitStack, scope: Scope) -> None:
    store, counted = ModelStore(), Counted()
    fires, job = await sidecar(stack, store), counted.job(waits=True, scope=scope)
    first = asyncio.create_task(fires.fire(job, [recently(2)]))
    await wait_until(lambda: counted.times == 1, "the first run to begin")
    await fires.fire(job, [recently(1)])
    counted.go_on.set()
    await first
    assert counted.times == 1
    assert await verdicts(store) == [(Verdict.RAN, None), (Verdict.SKIPPED, "overlap")]


@pytest.mark.parametrize("scope", list(Scope))
async def test_what_is_asked_for_runs_also_during_a_fire(stack: AsyncExitStack, scope: Scope) -> None:
    store, counted = ModelStore(), Counted()
    fires, job = await sidecar(stack, store), counted.job(waits=True, scope=scope)
    first = asyncio.create_task(fires.fire(job, [recently(1)]))
    await wait_until(lambda: counted.times == 1, "the fire's run to begin")
    asked = asyncio.create_task(fires.run_once(job, "asked"))
    await wait_until(lambda: counted.times == 2 or asked.done(), "the run that was asked for to begin")
    counted.go_on.set()
    await asyncio.gather(first, asked)
    assert await verdicts(store) == [(Verdict.RAN, None)] * 2


async def test_a_run_that_was_asked_for_and_ends_first_leaves_the_fires_run_active(stack: AsyncExitStack) -> None:
    store, begun = ModelStore(), list[asyncio.Event]()

    async def beat() -> None:
        begun.append(asyncio.Event())
        await begun[-1].wait()

    job = Job(name="beat", tier=Tier.APSCHEDULER, function=beat, schedule=every("1s"), scope=Scope.EACH)
    fires = await sidecar(stack, store)
    first = asyncio.create_task(fires.fire(job, [recently(2)]))
    await wait_until(lambda: len(begun) == 1, "the fire's run to begin")
    asked = asyncio.create_task(fires.run_once(job, "asked"))
    await wait_until(lambda: len(begun) == 2, "the run that was asked for to begin")
    begun[1].set()
    await asked
    await asyncio.wait([asyncio.create_task(fires.fire(job, [recently(1)]))], timeout=1)
    for event in begun:
        event.set()
    await first
    assert len(begun) == 2
    assert (Verdict.SKIPPED, "overlap") in await verdicts(store)


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_fire_whose_job_raises_a_cancellation_has_failed(stack: AsyncExitStack, scope: Scope) -> None:
    store = ModelStore()

    async def beat() -> None:
        raise asyncio.CancelledError

    job = Job(name="beat", tier=Tier.APSCHEDULER, function=beat, schedule=every("1s"), scope=scope)
    await (await sidecar(stack, store)).fire(job, [recently()])
    assert await verdicts(store) == [(Verdict.FAILED, "raised")]


async def test_overlap_allow_runs_both(stack: AsyncExitStack) -> None:
    store, counted = ModelStore(), Counted()
    fires, job = await sidecar(stack, store), counted.job(waits=True, scope=Scope.EACH, overlap=Overlap.ALLOW)
    both = [asyncio.create_task(fires.fire(job, [recently(2 - n)])) for n in range(2)]
    await wait_until(lambda: counted.times == 2, "both runs to begin")
    counted.go_on.set()
    await asyncio.gather(*both)


async def test_after_a_pause_only_the_newest_fire_runs(stack: AsyncExitStack) -> None:
    store, counted = ModelStore(), Counted()
    await (await sidecar(stack, store)).fire(counted.job(), [recently(3), recently(2), recently(1)])
    assert counted.times == 1


async def test_an_async_job_over_its_limit_is_cancelled(stack: AsyncExitStack) -> None:
    store, counted = ModelStore(), Counted()
    await (await sidecar(stack, store)).fire(counted.job(waits=True, time_limit=SECOND / 20), [recently()])
    assert await verdicts(store) == [(Verdict.FAILED, "timed out")]


async def test_a_sync_job_over_its_limit_is_abandoned_and_the_process_owes_a_restart(stack: AsyncExitStack) -> None:
    store, let_go = ModelStore(), threading.Event()
    stack.callback(let_go.set)

    def stuck() -> None:
        let_go.wait()

    work = await stack.enter_async_context(Work(Settings(), store, Metrics(), 10, timedelta(seconds=5)))
    job = Job(name="stuck", tier=Tier.APSCHEDULER, function=stuck, schedule=every("1s"), time_limit=SECOND / 20)
    await InternalFires(store, work, "s1").fire(job, [recently()])
    assert await verdicts(store) == [(Verdict.FAILED, "abandoned")]
    assert work.runner.abandoned == 1
    let_go.set()


async def test_without_a_store_scope_each_goes_on_and_scope_one_gives_way(stack: AsyncExitStack) -> None:
    away = Settings(store=StoreSettings(url=SecretStr(f"redis://127.0.0.1:{free_port()}/0")))
    store = await stack.enter_async_context(connect(away))
    counted = Counted()
    fires = await sidecar(stack, store)
    await fires.fire(counted.job(scope=Scope.EACH), [recently()])
    assert counted.times == 1
    await fires.fire(counted.job(scope=Scope.ONE), [recently()])
    assert counted.times == 1, "its claim waits for the store, until the next fire takes its place"


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("paused", ["beat", None])
async def test_a_fire_of_a_paused_job_is_skipped(stack: AsyncExitStack, scope: Scope, paused: str | None) -> None:
    store, counted = ModelStore(), Counted()
    await store.pauses.pause(paused)
    job = counted.job(scope=scope)
    await (await sidecar(stack, store)).fire(job, [recently()])
    assert counted.times == 0
    assert await verdicts(store) == [(Verdict.SKIPPED, "paused")]
    await (await sidecar(stack, store, "s2")).run_once(job, new_run_id())
    assert counted.times == 1, "what somebody asks for by name runs all the same"
    await store.pauses.resume(paused)
    await (await sidecar(stack, store, "s3")).fire(job, [recently(0)])
    assert counted.times == 2


async def test_what_is_paused_is_known_for_five_seconds() -> None:
    store, seconds = ModelStore(), 0.0
    jobs = PausedJobs(store.pauses, lambda: seconds)
    assert not await jobs.holds("beat")
    await store.pauses.pause("beat")
    seconds = 4.9
    assert not await jobs.holds("beat")
    seconds = 5.0
    assert [await jobs.holds(name) for name in ("beat", "other")] == [True, False]


@pytest.mark.requires("valkey")
async def test_what_is_paused_stays_so_while_the_store_is_away(stack: AsyncExitStack, tmp_path: Path) -> None:
    valkey, seconds = OwnValkey(tmp_path), 0.0
    valkey.start()
    stack.callback(valkey.kill)
    store = await stack.enter_async_context(connect(Settings(store=StoreSettings(url=SecretStr(valkey.url)))))
    await store.pauses.pause("beat")
    jobs, unknowing = PausedJobs(store.pauses, lambda: seconds), PausedJobs(store.pauses)
    assert await jobs.holds("beat")
    valkey.kill()
    seconds = 5.0
    assert await jobs.holds("beat"), "what it said last holds"
    assert not await unknowing.holds("beat"), "who never heard of it goes on without the store"


async def test_apscheduler_fires_by_our_schedule(stack: AsyncExitStack) -> None:
    store, counted = ModelStore(), Counted()
    fires = await sidecar(stack, store)
    scheduler = await stack.enter_async_context(InternalScheduler(fires.fire))
    scheduler.add(counted.job())
    await wait_until(lambda: counted.times >= 2, "two fires", seconds=10)
    runs = await wait_until(lambda: store.ledger.runs(), "a row")
    assert all(run.scheduled_for and run.scheduled_for.microsecond == 0 for run in runs)
    assert all(run.scheduled_for and run.scheduled_for.tzinfo is UTC for run in runs)
