"""Where a run goes: the call, else the move record of its job, else of all jobs, else the job or the default."""

from datetime import timedelta

import pytest

from horae.reasons import Reason
from horae.runs import State
from horae.store import Store
from horae.store.values import Advance, Cursor, Declared, Move
from tests.contract.stores import LEASE, NONE, T0, Clock, claim, fire, new, send, settle, state


async def provider_of(store: Store, job: str = "backup", **fields: object) -> str:
    run = new(job, **fields)
    [accepted] = await store.outbox.accept([run])
    row = await state(store, run.run_id)
    assert row.provider == accepted.provider
    return row.provider


async def ids_at(store: Store, provider: str) -> list[str]:
    return [due.message.run_id for due in (await store.outbox.take([provider], 100, NONE)).entries]


class TestPrecedence:
    async def test_without_a_record_the_job_or_the_default_decides(self, store: Store) -> None:
        assert [await provider_of(store, provider=name) for name in ("nats", "redis", "")] == ["nats", "redis", ""]

    async def test_the_record_of_a_job_goes_before_the_job_and_that_of_all_jobs(self, store: Store) -> None:
        await store.moves.move("kafka")
        assert await provider_of(store, provider="nats") == "kafka"
        await store.moves.move("redis", "backup")
        assert await provider_of(store, provider="nats") == "redis"
        assert await provider_of(store, job="report", provider="nats") == "kafka"

    async def test_the_call_goes_before_every_record(self, store: Store) -> None:
        await store.moves.move("redis", "backup")
        assert await provider_of(store, provider="nats", pinned=True) == "nats"

    async def test_a_job_that_only_one_program_declares_stays_with_the_store(self, store: Store) -> None:
        await store.moves.move("nats")
        assert await provider_of(store, provider="own") == "own"

    async def test_fires_follow_it_too(self, steered: Store, clock: Clock) -> None:
        await steered.moves.move("nats", "backup")
        await steered.cursors.declare([Declared(job="backup", fingerprint="f", next_after_now=T0)], 1)
        clock.move(timedelta(minutes=5))
        cursor = Cursor(job="backup", fingerprint="f", at=T0)
        due = fire(1, provider="redis")
        assert await steered.cursors.advance([Advance(cursor=cursor, to=clock.at, next_fire=None, runs=[due])]) == [
            True
        ]
        assert await ids_at(steered, "redis") == []
        assert await ids_at(steered, "nats") == [due.run_id]


class TestRunsThatWere:
    """What the provider has already got is finished there. What comes back is handed out to the new one."""

    async def test_what_waits_in_the_outbox_goes_to_the_new_provider(self, store: Store) -> None:
        run, pinned = new(provider="nats"), new(provider="nats", pinned=True)
        await store.outbox.accept([run, pinned])
        await store.moves.move("redis", "backup")
        assert await ids_at(store, "nats") == [pinned.run_id]
        assert await ids_at(store, "redis") == [run.run_id]
        assert (await state(store, run.run_id)).provider == "redis"

    async def test_what_is_queued_runs_where_it_is_and_its_retry_where_the_record_says(self, store: Store) -> None:
        run = new(provider="nats")
        await store.outbox.accept([run])
        await store.outbox.published([run.message])
        await store.moves.move("redis")
        held = await claim(store, run.message)
        await settle(store, held, None, retry_after=NONE, reason=Reason.RAISED)
        assert await ids_at(store, "nats") == []
        assert await ids_at(store, "redis") == [run.run_id]

    async def test_a_retry_that_waits_for_its_time_moves_too(self, steered: Store, clock: Clock) -> None:
        [message] = await send(steered, new(provider="nats"))
        await settle(steered, await claim(steered, message), None, retry_after=LEASE, reason=Reason.RAISED)
        await steered.moves.move("redis")
        clock.move(LEASE)
        assert await ids_at(steered, "nats") == []
        assert await ids_at(steered, "redis") == [message.run_id]

    async def test_what_waits_follows_at_once_with_its_time(self, steered: Store, clock: Clock) -> None:
        later, pinned = new(provider="nats", due=T0 + LEASE), new(provider="nats", pinned=True)
        await steered.outbox.accept([later, pinned, *(new(provider="nats") for _ in range(3))])
        await steered.moves.move("redis")
        assert await steered.moves.follow("nats") == 4
        assert await steered.moves.follow("nats") == 0
        assert len(await ids_at(steered, "redis")) == 3
        assert await ids_at(steered, "nats") == [pinned.run_id]
        clock.move(LEASE)
        assert later.run_id in await ids_at(steered, "redis")


class TestRecords:
    async def test_they_are_told_with_the_instant(self, steered: Store, clock: Clock) -> None:
        await steered.moves.move("nats", "backup")
        clock.move(LEASE)
        await steered.moves.move("redis")
        assert await steered.moves.all() == {
            "backup": Move(provider="nats", at=T0),
            None: Move(provider="redis", at=T0 + LEASE),
        }

    @pytest.mark.parametrize("job", [None, "backup"])
    async def test_an_ended_one_is_gone_and_only_that_one(self, store: Store, job: str | None) -> None:
        await store.moves.move("nats", job)
        assert not await store.moves.end("redis", job), "another record stands there meanwhile"
        assert await store.moves.end("nats", job)
        assert not await store.moves.end("nats", job)
        assert await store.moves.all() == {}
        assert await provider_of(store, provider="redis") == "redis"


class TestQueuedRuns:
    """A run whose message the broker lost is found by the index of queued runs."""

    async def test_it_is_handed_out_again_with_the_same_generation_and_another_delivery_id(self, store: Store) -> None:
        [message] = await send(store, new(provider="nats"))
        assert await store.outbox.republish("nats", NONE, "the backlog is empty", 10) == 1
        row = await state(store, message.run_id)
        assert (row.state, row.story[-1].what, row.story[-1].note) == (State.PENDING, "missing", "the backlog is empty")
        [again] = (await store.outbox.take(["nats"], 10, NONE)).entries
        assert (again.message.run_id, again.message.generation) == (message.run_id, message.generation)
        assert again.message.delivery_id != message.delivery_id
        assert again.message.encode(1000) == message.encode(1000)

    async def test_two_copies_run_once(self, store: Store) -> None:
        [message] = await send(store, new(provider="nats"))
        await store.outbox.republish("nats", NONE, "", 10)
        assert (await claim(store, message)).answer.value == "run"
        assert await ids_at(store, "nats") == [], "the late message was there first"
        assert (await claim(store, message)).answer.value == "duplicate"

    async def test_only_what_is_old_enough_and_of_that_provider(self, steered: Store, clock: Clock) -> None:
        await send(steered, new(provider="nats"), new(provider="redis"))
        clock.move(LEASE)
        await send(steered, new(provider="nats"))
        assert await steered.outbox.republish("nats", LEASE, "", 10) == 1
        assert await steered.outbox.republish("nats", LEASE, "", 10) == 0

    async def test_it_goes_where_a_record_says(self, store: Store) -> None:
        [message] = await send(store, new(provider="nats"))
        await store.moves.move("redis")
        await store.outbox.republish("nats", NONE, "", 10)
        assert await ids_at(store, "redis") == [message.run_id]

    async def test_what_was_claimed_waits_or_ended_is_not_in_it(self, store: Store) -> None:
        ran, waits, cancelled = await send(store, *(new(provider="nats") for _ in range(3)))
        await settle(store, await claim(store, ran))
        await store.pauses.pause("backup")
        await claim(store, waits)
        await store.claims.cancel(cancelled.run_id)
        [found] = await store.outbox.by_provider()
        assert (found.provider, found.queued, found.outbox) == ("nats", 0, 0)
        assert await store.outbox.republish("nats", NONE, "", 10) == 0

    async def test_each_provider_tells_its_runs_and_for_how_long(self, steered: Store, clock: Clock) -> None:
        await send(steered, new(provider="nats"), new(provider="nats"))
        later = new(provider="redis", due=T0 + 2 * LEASE)
        await steered.outbox.accept([new(provider="redis"), later])
        clock.move(LEASE)
        nats, redis = await steered.outbox.by_provider()
        assert (nats.provider, nats.queued, nats.oldest, nats.outbox, nats.overdue) == ("nats", 2, LEASE, 0, NONE)
        assert (redis.provider, redis.queued, redis.oldest, redis.outbox, redis.overdue) == ("redis", 0, NONE, 2, LEASE)
