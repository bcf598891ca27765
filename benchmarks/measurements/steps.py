"""The longest time that one command holds the store's server, in the duties that have much to do."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import batched

from benchmarks.bench import Bench
from benchmarks.figures import Figure, distribution
from benchmarks.valkey import Valkey
from horae.jobs.policies import CatchUp, Overlap, Tier
from horae.runs import Cause, Run, State, fire_id, new_run_id
from horae.settings import StoreSettings
from horae.store.redis import RedisStore
from horae.store.values import NewRun, Policy, Wanted

NAME = "steps"
BATCH, JOBS = 200, 60
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
SECOND, LEASE, ANY_AGE = timedelta(seconds=1), timedelta(seconds=30), timedelta(days=36_500)
MANY = StoreSettings(keep_runs_per_job=1_000_000, keep_runs_days=3650)


def measure(bench: Bench) -> Iterator[Figure]:
    rows = bench.options.rows
    pruned, resumed, superseded = 3 * rows // 10, rows // 2, rows // 5
    for what, one, count in (
        (f"prune of {pruned:,} runs", _prune, pruned),
        (f"resume with {resumed:,} runs waiting", _resume, resumed),
        (f"claim that supersedes {superseded:,} fires", _supersede, superseded),
        (f"dead letters of one job in {rows:,}", _letters, rows),
    ):
        with bench.trying(f"{NAME}: {what}"):
            bench.valkey.empty()
            millis, seconds = asyncio.run(one(bench.valkey, count))
            bench.say(f"{NAME}: {what}: {len(millis):,} steps, longest {max(millis):.1f} ms, in all {seconds:.2f} s")
            yield from distribution(NAME, f"{what}: a step", "horae", millis)
            yield Figure(measurement=NAME, what=f"{what}: in all", who="horae", value=seconds * 1000, unit="ms")


type Timed = tuple[list[float], float]
"""The milliseconds of each call of a script, as the slow log has them from 0.1 ms on, and the seconds of the whole."""


async def _timed(valkey: Valkey, store: RedisStore, work: Callable[[], Awaitable[object]]) -> Timed:
    client = valkey.client
    await store.check()
    client.config_set("slowlog-max-len", 100_000)
    client.config_set("slowlog-log-slower-than", 100)
    client.slowlog_reset()
    began = time.monotonic()
    await work()
    seconds = time.monotonic() - began
    client.config_set("slowlog-log-slower-than", -1)
    # The slow log also has the commands within a script.
    millis = [one["duration"] / 1000 for one in client.slowlog_get(100_000) if "EVALSHA" in str(one["command"])]
    await store.close()
    return millis, seconds


async def _record(store: RedisStore, count: int, tier: Tier, state: State) -> None:
    for numbers in batched(range(count), BATCH, strict=False):
        await store.ledger.record(
            [
                Run(
                    run_id=new_run_id(),
                    job=f"many-{number % JOBS}",
                    tier=tier,
                    cause=Cause.SCHEDULE,
                    state=state,
                    scheduled_for=LONG_AGO + number * SECOND,
                    ended_at=LONG_AGO + number * SECOND,
                )
                for number in numbers
            ]
        )


async def _wait(store: RedisStore, runs: list[NewRun], catch_up: CatchUp) -> None:
    """Accept the runs of a paused job, and claim them."""
    fixed = Policy(overlap=Overlap.ALLOW, catch_up=catch_up, catch_up_window=ANY_AGE)
    for some in batched(runs, BATCH, strict=False):
        await store.outbox.accept(some)
        await store.claims.claim([Wanted(message=run.message, policy=fixed) for run in some], "w", LEASE)


async def _prune(valkey: Valkey, count: int) -> Timed:
    store = RedisStore(valkey.url, NAME, MANY)
    await _record(store, count, Tier.PREFECT, State.RAN)
    await store.close()
    few = RedisStore(valkey.url, NAME, MANY.model_copy(update={"keep_runs_per_job": 10}))

    async def prune() -> None:
        async for _ in few.ledger.prune():
            pass

    return await _timed(valkey, few, prune)


async def _resume(valkey: Valkey, count: int) -> Timed:
    store = RedisStore(valkey.url, NAME, MANY)
    await store.pauses.pause("many")
    enqueued = [NewRun(run_id=new_run_id(), job="many", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE) for _ in range(count)]
    await _wait(store, enqueued, CatchUp.ALL)
    return await _timed(valkey, store, lambda: store.pauses.resume("many"))


async def _supersede(valkey: Valkey, count: int) -> Timed:
    store = RedisStore(valkey.url, NAME, MANY)
    await store.pauses.pause("many")
    fires = [_fire(number) for number in range(count + 1)]
    await _wait(store, fires[:-1], CatchUp.ALL)
    return await _timed(valkey, store, lambda: _wait(store, fires[-1:], CatchUp.LATEST))


def _fire(number: int) -> NewRun:
    at = LONG_AGO + number * SECOND
    return NewRun(
        run_id=fire_id(NAME, "many", at), job="many", tier=Tier.ONEIRIC, cause=Cause.SCHEDULE, scheduled_for=at
    )


async def _letters(valkey: Valkey, count: int) -> Timed:
    store = RedisStore(valkey.url, NAME, MANY)
    await _record(store, count, Tier.ONEIRIC, State.FAILED)
    return await _timed(valkey, store, lambda: store.dead_letters.newest(20, "another"))
