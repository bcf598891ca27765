"""No call of a script does work that grows with the data: it stops at a bound, and a later call continues.

The scripts here count the commands that they send and the values that they get, on a real server with small bounds.
Each operation has several times as much to do as one step may do.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from horae.duties.sweeper import Sweeper
from horae.jobs.policies import CatchUp, Overlap, Tier
from horae.metrics.process import Metrics
from horae.reasons import Reason
from horae.runs import Cause, Run, State, Verdict, new_run_id
from horae.settings import StoreSettings
from horae.store.redis import RedisStore, connection
from horae.store.values import Answer, Claim, NewRun
from tests.contract.stores import (
    LEASE,
    T0,
    Clock,
    SteeredConnection,
    claim,
    fire,
    new,
    pruned,
    send,
    settle,
    state,
    steered_store,
    upgrade,
    verdict_of,
    wants,
)

STEP, LOOKS, MANY = 10, 40, 150
UNITS = 450
"""The most that a step may do with these bounds: 35 units for each of STEP runs, and 2 for each of LOOKS entries."""
COUNTS = """
local units, server = 0, redis
local function counted(send, ...)
  local answer = send(...)
  units = units + 1 + (type(answer) == 'table' and #answer or 0)
  return answer
end
local redis = setmetatable({
  call = function(...) return counted(server.call, ...) end,
  pcall = function(...) return counted(server.pcall, ...) end,
}, { __index = server })
"""
TELLS = """
local answer = respond()
server.call('RPUSH', P .. 'units', ARGV[1] .. ' ' .. units)
return answer
"""


class CountedConnection(SteeredConnection):
    def told(self, text: str) -> str:
        text = super().told(text)
        assert text.count("\nreturn respond()\n") == 1
        return COUNTS + text.replace("\nreturn respond()\n", TELLS)


class Counted(RedisStore):
    """A store whose steps are counted."""

    @property
    def server(self) -> Any:
        return self._connection.client

    def key(self, name: str) -> str:
        return self._connection.key(name)

    async def call(self, noun: str, function: str, **arguments: Any) -> Any:
        """One step, whose caller dies after it."""
        return await self._connection.call(noun, function, **arguments)

    async def steps(self, function: str) -> list[int]:
        """What each call of the function did so far, in units."""
        lines: list[str] = await self.server.lrange(self.key("units"), 0, -1)
        return [int(units) for name, units in map(str.split, lines) if name == function]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["valkey", "upgraded"])
async def counted(
    request: pytest.FixtureRequest, valkey_url: str, namespace: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Counted]:
    if request.param == "upgraded":
        upgrade(valkey_url, namespace)
    monkeypatch.setattr(connection, "LIMITS", (*connection.LIMITS[:-2], STEP, LOOKS))
    settings = StoreSettings(keep_runs_per_job=10, keep_dead_letters=10)
    opened = steered_store(valkey_url, namespace, settings, clock, connection=CountedConnection)
    opened.__class__ = Counted
    assert isinstance(opened, Counted)
    yield opened
    lines: list[str] = await opened.server.lrange(opened.key("units"), 0, -1)
    await opened.close()
    long = [line for line in lines if int(line.split()[1]) > UNITS]
    assert not long, f"calls that did more than {UNITS} units: {long}"


async def waiting(store: RedisStore, runs: list[NewRun], **policy: Any) -> list[str]:
    """Let runs wait, a few in each call. Returns their ids."""
    for start in range(0, len(runs), STEP):
        some = runs[start : start + STEP]
        await store.outbox.accept(some)
        await store.claims.claim([wants(run.message, **policy) for run in some], "w1", LEASE)
    return [run.run_id for run in runs]


def enqueued(count: int = MANY) -> list[NewRun]:
    return [new(run_id=f"r{number:03}") for number in range(count)]


async def outbox(store: Counted) -> list[str]:
    found: list[str] = await store.server.zrange(store.key("outbox"), 0, -1)
    return found


class TestResumption:
    async def test_all_that_waits_is_handed_out(self, counted: Counted) -> None:
        await counted.pauses.pause("backup")
        runs = await waiting(counted, enqueued())
        assert await outbox(counted) == []
        assert await counted.pauses.resume("backup") == MANY
        assert await outbox(counted) == runs
        assert len(await counted.steps("release")) >= MANY // STEP - 1
        assert (await counted.ledger.figures()).waiting == 0

    async def test_the_sweeper_continues_if_the_caller_dies(self, counted: Counted, clock: Clock) -> None:
        await counted.pauses.pause("backup")
        runs = await waiting(counted, enqueued())
        await counted.call("pauses", "resume", job="backup")
        handed_out = await outbox(counted)
        assert handed_out == runs[: len(handed_out)], "the longest wait first"
        assert 0 < len(handed_out) <= STEP
        for _ in range(2 * MANY // STEP):
            clock.move(timedelta(milliseconds=1))
            await counted.claims.sweep(10)
        assert await outbox(counted) == runs

    async def test_all_jobs(self, counted: Counted) -> None:
        await counted.pauses.pause()
        runs = [new(f"job-{number}") for number in range(MANY)]
        await waiting(counted, runs)
        assert await counted.pauses.resume() == MANY
        assert sorted(await outbox(counted)) == sorted(run.run_id for run in runs)

    async def test_a_pause_between_two_steps_holds_the_rest(self, counted: Counted) -> None:
        await counted.pauses.pause("backup")
        runs = await waiting(counted, enqueued())
        await counted.call("pauses", "resume", job="backup")
        first = await outbox(counted)
        await counted.pauses.pause("backup")
        for _ in range(3):
            await counted.claims.sweep(10)
        assert await outbox(counted) == first
        assert await counted.pauses.resume("backup") == MANY - len(first)
        assert await outbox(counted) == runs

    async def test_no_more_than_may_be_active(self, counted: Counted) -> None:
        await counted.pauses.pause("backup")
        runs = await waiting(counted, enqueued(), concurrency=3 * STEP)
        assert await counted.pauses.resume("backup") == 3 * STEP
        assert await outbox(counted) == runs[: 3 * STEP]
        assert (await counted.ledger.figures()).waiting == MANY - 3 * STEP


class TestSupersede:
    async def newest(self, store: Counted, older: list[NewRun]) -> tuple[NewRun, Claim]:
        await store.pauses.pause("backup")
        await waiting(store, older)
        newest = fire(MANY)
        await store.outbox.accept([newest])
        return newest, await claim(store, newest.message, catch_up=CatchUp.LATEST)

    async def test_all_older_fires_give_way(self, counted: Counted, clock: Clock) -> None:
        clock.move(timedelta(minutes=MANY))
        older = [fire(minute) for minute in range(MANY)]
        newest, answer = await self.newest(counted, older)
        assert (answer.answer, answer.reason) == (Answer.LATER, Reason.PAUSED)
        verdicts = {await verdict_of(counted, run.run_id) for run in older}
        assert verdicts == {(Verdict.MISSED, Reason.SUPERSEDED)}
        assert await verdict_of(counted, newest.run_id) == (None, None)

    async def test_what_is_no_older_fire_stays(self, counted: Counted, clock: Clock) -> None:
        runs = enqueued()
        older = [fire(minute) for minute in range(MANY)]
        await counted.pauses.pause("backup")
        await waiting(counted, runs)
        clock.move(timedelta(minutes=MANY))
        newest, _ = await self.newest(counted, older)
        assert await counted.pauses.resume("backup") == MANY + 1
        assert sorted(await outbox(counted)) == sorted([*(run.run_id for run in runs), newest.run_id])

    async def test_they_give_way_at_the_resumption_if_the_caller_dies(self, counted: Counted, clock: Clock) -> None:
        clock.move(timedelta(minutes=MANY))
        older = [fire(minute) for minute in range(MANY)]
        await counted.pauses.pause("backup")
        await waiting(counted, older)
        newest = fire(MANY)
        await counted.outbox.accept([newest])
        policy = {"overlap": "allow", "catch_up": "latest", "window": 10**12, "most": 0}
        asked = [[newest.run_id, "backup", 1]]
        await counted.call("claims", "claim", wanted=asked, policies={"backup": policy}, worker="w1", lease=30_000)
        verdicts = [(await state(counted, run.run_id)).verdict for run in older]
        assert Verdict.MISSED in verdicts
        assert None in verdicts
        assert await counted.pauses.resume("backup") == 1
        assert await outbox(counted) == [newest.run_id]
        assert {await verdict_of(counted, run.run_id) for run in older} == {(Verdict.MISSED, Reason.SUPERSEDED)}

    async def test_an_older_fire_behind_many_runs_gives_way_too(self, counted: Counted, clock: Clock) -> None:
        clock.move(timedelta(minutes=MANY))
        await self.newest(counted, [])
        await waiting(counted, enqueued())
        late = fire(1)
        await counted.outbox.accept([late])
        answer = await claim(counted, late.message, catch_up=CatchUp.LATEST)
        assert answer.reason == "missed: superseded"


class TestRetention:
    async def recorded(self, store: Counted, jobs: int, each: int) -> None:
        for number in range(jobs):
            for start in range(0, each, STEP):
                await store.ledger.record([ended(f"job-{number}", place) for place in range(start, start + STEP)])

    async def left(self, store: Counted) -> int:
        return int(await store.server.zcard(store.key("ledger")))

    @pytest.mark.parametrize(("jobs", "each"), [(1, MANY), (15, 20)])
    async def test_pruning(self, counted: Counted, clock: Clock, jobs: int, each: int) -> None:
        await self.recorded(counted, jobs, each)
        clock.move(timedelta(days=1))
        await pruned(counted)
        assert await self.left(counted) == 10 * jobs
        assert len(await counted.ledger.runs(job="job-0", limit=MANY)) == 10
        assert await pruned(counted) == 0

    async def test_pruning_passes_over_many_that_stay(self, counted: Counted, clock: Clock) -> None:
        """Open runs stand before those that may go, more than one step looks at."""
        await waiting(counted, [new("job-0", run_id=f"open-{number}") for number in range(2 * LOOKS)])
        clock.move(timedelta(days=1))
        for start in range(1, MANY, STEP):
            await counted.ledger.record([ended("job-0", number) for number in range(start, start + STEP)])
        clock.move(timedelta(days=1))
        await pruned(counted)
        assert await self.left(counted) == 2 * LOOKS + 10

    async def test_dead_letters(self, counted: Counted) -> None:
        await failed(counted, MANY)
        assert await pruned(counted) >= MANY - 10
        assert len(await counted.dead_letters.ids()) == 10

    async def test_a_smaller_number_for_records(self, counted: Counted) -> None:
        await counted.pauses.pause("job-0")
        await waiting(counted, [new("job-0") for _ in range(MANY)])
        for number in range(2 * MANY // STEP):
            await counted.ledger.record([ended("job-0", number)], keep=2)
        assert len(await counted.ledger.runs(job="job-0", limit=MANY)) == 2


async def test_a_sweep_comes_between_two_steps_of_a_pruning(counted: Counted, clock: Clock) -> None:
    for start in range(0, MANY, STEP):
        await counted.ledger.record([ended("backup", place) for place in range(start, start + STEP)])
    clock.move(timedelta(days=1))
    sweeper = Sweeper(counted, Metrics(), LEASE)
    while await sweeper.step() == 0:
        assert len(await counted.steps("sweep")) >= len(await counted.steps("prune"))
    assert len(await counted.steps("prune")) > MANY // STEP / 2
    assert len(await counted.ledger.runs(job="backup", limit=MANY)) == 10


def ended(job: str, place: int, tier: Tier = Tier.PREFECT, verdict: State = State.RAN) -> Run:
    at = T0 + timedelta(seconds=place)
    return Run(
        run_id=new_run_id(), job=job, tier=tier, cause=Cause.SCHEDULE, state=verdict, scheduled_for=at, ended_at=at
    )


async def failed(store: Counted, count: int, job: str = "backup") -> list[str]:
    """Let runs leave dead letters. Returns their ids, oldest first."""
    runs = [ended(job, place, Tier.ONEIRIC, State.FAILED) for place in range(count)]
    for start in range(0, count, STEP):
        await store.ledger.record(runs[start : start + STEP])
    letters: list[str] = await store.server.zrange(store.key("dead"), 0, -1)
    mine = {run.run_id for run in runs}
    return [run_id for run_id in letters if run_id in mine]


class TestDeadLetters:
    async def test_those_of_one_job(self, counted: Counted, clock: Clock) -> None:
        rare = await failed(counted, 3, "rare")
        clock.move(LEASE)
        often = await failed(counted, MANY)
        assert [letter.run_id for letter in await counted.dead_letters.newest(50, "rare")] == rare[::-1]
        assert [letter.run_id for letter in await counted.dead_letters.newest(MANY)] == often[::-1]
        assert await counted.dead_letters.ids("rare") == rare
        assert await counted.dead_letters.ids() == [*rare, *often]
        assert [letter.run_id async for letter in counted.dead_letters.every("backup")] == often
        assert max(await counted.steps("page")) <= 4 * LOOKS

    async def test_a_page_that_follows_a_dropped_letter(self, counted: Counted) -> None:
        letters = await failed(counted, MANY)
        asked = {"newest_first": False, "job": "backup", "limit": 1_000}
        more, run_id, at, *first = await counted.call("dead_letters", "page", after=["", ""], **asked)
        assert (more, first) == (1, letters[:LOOKS])
        await counted.dead_letters.drop(first)
        _, _, _, *second = await counted.call("dead_letters", "page", after=[run_id, at], **asked)
        assert second == letters[LOOKS : 2 * LOOKS]


async def test_a_settlement_hands_out_no_more_than_a_step(counted: Counted) -> None:
    [message] = await send(counted, new(run_id="first"))
    first = await claim(counted, message, overlap=Overlap.QUEUE)
    await waiting(counted, enqueued(), overlap=Overlap.QUEUE)
    # An edit lifts the limit of the job: the next run that waits writes it.
    await counted.server.hset(counted.key("bounds"), "backup", 0)
    assert await settle(counted, first)
    assert len(await outbox(counted)) == STEP + 1
    for _ in range(2 * MANY // STEP):
        await counted.claims.sweep(10)
    assert len(await outbox(counted)) == MANY


async def test_a_claim_that_cancels_many_others(counted: Counted) -> None:
    for run in enqueued():
        await send(counted, run)
        await claim(counted, run.message)
    asked = new(run_id="asked")
    await send(counted, asked)
    answer = await claim(counted, asked.message, overlap=Overlap.CANCEL_OTHER)
    assert answer.answer is Answer.LATER


async def test_figures_of_many_jobs(counted: Counted) -> None:
    await counted.pauses.pause()
    runs = [new(f"job-{number}") for number in range(MANY)]
    await waiting(counted, runs)
    assert (await counted.ledger.figures()).waiting == MANY
