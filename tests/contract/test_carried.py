"""If the store's server also carries the provider's messages, the store publishes runs itself; workers get them."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from horae.jobs.policies import Overlap
from horae.messages import Message, Priority
from horae.queues.redis import RedisConsumer
from horae.reasons import Reason
from horae.redis.keys import OWN, PROVIDER, own_queue
from horae.runs import State, Verdict
from horae.settings import StoreSettings
from horae.store import Store
from horae.store.values import Advance, Answer, Cancelled, Claim, Declared, NewRun
from tests.contract.stores import (
    LEASE,
    MILLI,
    NONE,
    PROVIDERS,
    T0,
    Clock,
    claim,
    fire,
    new,
    next_in,
    settle,
    state,
    steered_store,
    taken,
)

pytestmark = pytest.mark.requires("valkey")
SOON = timedelta(seconds=10)
AT_ONCE = timedelta(0)
LIMIT_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Carrying:
    """A store that carries messages, and a worker on the same server."""

    store: Store
    consumer: RedisConsumer

    async def received(self, count: int = 1) -> list[Message]:
        """Receive exactly that many messages and acknowledge them."""
        found: list[Message] = []
        while len(found) < count:
            deliveries = await self.consumer.receive(count - len(found), SOON)
            assert deliveries, f"{len(found)} of {count} came"
            for one in deliveries:
                assert one.message, one.wrong
                found.append(one.message)
            await self.consumer.ack(deliveries)
        await self.nothing_more()
        return found

    async def nothing_more(self) -> None:
        assert [one.message for one in await self.consumer.receive(10, AT_ONCE)] == []


@pytest.fixture
async def carrying(valkey_url: str, namespace: str, clock: Clock) -> AsyncIterator[Carrying]:
    store = steered_store(valkey_url, namespace, StoreSettings(), clock, PROVIDER)
    consumer = RedisConsumer(valkey_url, namespace, LIMIT_BYTES, f"w{os.getpid()}")
    yield Carrying(store, consumer)
    await consumer.close()
    await store.close()


def ours(job: str = "backup", **fields: Any) -> NewRun:
    return new(job, provider=PROVIDER, **fields)


async def begun(carrying: Carrying, **policy: Any) -> Claim:
    """A run that was accepted, received and claimed."""
    await carrying.store.outbox.accept([ours(context={"a": ["é", 1]}, metadata={"m": 1})])
    [message] = await carrying.received()
    return await claim(carrying.store, message, **policy)


class TestAccepting:
    async def test_what_is_due_is_published_in_the_same_step(self, carrying: Carrying) -> None:
        run = ours(context={"text": "é\x00\n{}", "empty": [], "none": {}}, metadata={"m": 1}, scheduled_for=T0 + MILLI)
        [accepted] = await carrying.store.outbox.accept([run])
        assert (accepted.new, accepted.published) == (True, True)
        assert await carrying.received() == [run.message]
        row = await state(carrying.store, run.run_id)
        assert (row.state, [event.what for event in row.story]) == (State.QUEUED, ["accepted", "published"])
        assert await next_in(carrying.store) is None

    async def test_a_hold_is_for_nothing(self, carrying: Carrying) -> None:
        [accepted] = await carrying.store.outbox.accept([ours()], LEASE)
        assert accepted.published
        await carrying.received()

    @pytest.mark.parametrize("priority", list(Priority))
    async def test_its_priority_says_its_stream(self, carrying: Carrying, priority: Priority) -> None:
        await carrying.store.outbox.accept([ours(priority=priority)])
        assert [message.priority for message in await carrying.received()] == [priority]

    async def test_what_is_known_is_not_published_again(self, carrying: Carrying) -> None:
        run, barred = ours(unique="k"), ours(unique="k")
        accepted = await carrying.store.outbox.accept([run, run, barred])
        assert [one.published for one in accepted] == [True, False, False]
        assert [message.run_id for message in await carrying.received()] == [run.run_id]

    @pytest.mark.parametrize("provider", ["", "elsewhere"])
    async def test_what_another_provider_carries_waits_for_the_relay(self, carrying: Carrying, provider: str) -> None:
        run = new(provider=provider)
        [accepted] = await carrying.store.outbox.accept([run])
        assert not accepted.published
        await carrying.nothing_more()
        assert (await carrying.store.outbox.take(["redis", "own"], 10, LEASE)).entries == []
        taken_up = await carrying.store.outbox.take([provider], 10, LEASE)
        assert [due.message.run_id for due in taken_up.entries] == [run.run_id]
        assert taken_up.published == 0

    async def test_what_is_due_later_is_published_by_whoever_looks_then(self, carrying: Carrying, clock: Clock) -> None:
        [accepted] = await carrying.store.outbox.accept([ours(due=T0 + LEASE)])
        assert not accepted.published
        clock.move(LEASE - MILLI)
        assert (await carrying.store.outbox.take(PROVIDERS, 10, LEASE)).published == 0
        clock.move(MILLI)
        found = await carrying.store.outbox.take(PROVIDERS, 10, LEASE)
        assert (found.entries, found.published, found.next_in) == ([], 1, None)
        await carrying.received()

    async def test_fires_are_published_as_the_cursor_advances(self, carrying: Carrying) -> None:
        store = carrying.store
        await store.cursors.declare([Declared(job="backup", fingerprint="f", next_after_now=T0)], 1)
        [cursor] = (await store.cursors.due(10)).cursors
        missed = fire(-1, provider=PROVIDER, verdict=Verdict.MISSED, reason=Reason.SUPERSEDED)
        due = fire(0, provider=PROVIDER)
        assert await store.cursors.advance([Advance(cursor=cursor, to=T0, next_fire=None, runs=[missed, due])]) == [
            True
        ]
        assert [message.run_id for message in await carrying.received()] == [due.run_id]


class TestHandingOutAgain:
    ENDINGS = (
        pytest.param({"retry_after": NONE}, id="retry"),
        pytest.param({"reason": Reason.DRAINING}, id="hand-back"),
        pytest.param({"died": True, "retry_after": NONE}, id="death"),
    )

    @pytest.mark.parametrize("ending", ENDINGS)
    async def test_attempts_two_and_three_are_published_by_the_settling(
        self, carrying: Carrying, ending: dict[str, Any]
    ) -> None:
        held = await begun(carrying)
        for attempt in (2, 3):
            assert await settle(carrying.store, held, None, **ending)
            [again] = await carrying.received()
            assert again == held.message.model_copy(update={"generation": attempt})
            assert (await state(carrying.store, again.run_id)).state is State.QUEUED
            held = await claim(carrying.store, again)
            assert (held.answer, held.attempts) == (Answer.RUN, attempt)
        assert await settle(carrying.store, held)
        assert await next_in(carrying.store) is None

    async def test_a_retry_that_rests_is_published_when_it_is_due(self, carrying: Carrying, clock: Clock) -> None:
        held = await begun(carrying)
        await settle(carrying.store, held, None, retry_after=LEASE)
        await carrying.nothing_more()
        clock.move(LEASE)
        assert (await carrying.store.outbox.take(PROVIDERS, 10, LEASE)).published == 1
        assert [message.generation for message in await carrying.received()] == [2]

    async def test_a_swept_run_comes_to_another_as_a_suspect_until_ten_died(
        self, carrying: Carrying, clock: Clock
    ) -> None:
        held = await begun(carrying)
        for lapses in range(1, 10):
            clock.move(LEASE)
            [lapsed] = await carrying.store.claims.sweep(10)
            assert lapsed.verdict is None
            [again] = await carrying.received()
            held = await claim(carrying.store, again)
            assert (held.answer, held.alone, held.attempts) == (Answer.RUN, True, lapses + 1)
        clock.move(LEASE)
        [lapsed] = await carrying.store.claims.sweep(10)
        assert lapsed.verdict is Verdict.FAILED
        await carrying.nothing_more()

    async def test_the_third_process_that_dies_is_the_last(self, carrying: Carrying) -> None:
        held = await begun(carrying)
        for death in range(3):
            assert held.alone is (death > 0)
            await settle(carrying.store, held, None, died=True, retry_after=NONE)
            if death < 2:
                held = await claim(carrying.store, (await carrying.received())[0])
        await carrying.nothing_more()
        row = await state(carrying.store, held.message.run_id)
        assert (row.verdict, row.reason, row.note) == (Verdict.FAILED, Reason.KILLED_ITS_PROCESS, "3")

    async def test_what_waited_is_published_by_whoever_makes_room(self, carrying: Carrying) -> None:
        held = await begun(carrying, overlap=Overlap.QUEUE)
        await carrying.store.outbox.accept([ours()])
        [second] = await carrying.received()
        assert (await claim(carrying.store, second, overlap=Overlap.QUEUE)).answer is Answer.LATER
        await carrying.nothing_more()
        await settle(carrying.store, held)
        [again] = await carrying.received()
        assert (again.run_id, again.generation) == (second.run_id, 2)
        assert (await claim(carrying.store, second, overlap=Overlap.QUEUE)).answer is Answer.DUPLICATE
        assert (await claim(carrying.store, again, overlap=Overlap.QUEUE)).answer is Answer.RUN

    async def test_what_was_paused_is_published_by_the_resume(self, carrying: Carrying) -> None:
        await carrying.store.pauses.pause()
        assert (await begun(carrying)).answer is Answer.LATER
        assert await carrying.store.pauses.resume() == 1
        [again] = await carrying.received()
        assert (await claim(carrying.store, again)).answer is Answer.RUN

    async def test_workers_may_not_know_a_job_for_ten_minutes(self, carrying: Carrying, clock: Clock) -> None:
        answer, begin = await begun(carrying, known=False), clock.at
        while answer.answer is Answer.LATER:
            clock.move(timedelta(seconds=5))
            assert (await carrying.store.outbox.take(PROVIDERS, 10, LEASE)).published == 1
            [again] = await carrying.received()
            answer = await claim(carrying.store, again, known=False)
        assert (answer.reason, clock.at - begin) == ("failed: unknown job", timedelta(minutes=10))
        await carrying.nothing_more()

    async def test_what_others_published_goes_by_the_relay_when_it_is_retried(self, carrying: Carrying) -> None:
        """The store does not know which provider carried the message, so routing chooses one."""
        held = await claim(carrying.store, Message(job="backup", context={"a": 1}))
        await settle(carrying.store, held, None, retry_after=NONE)
        await carrying.nothing_more()
        [again] = await taken(carrying.store)
        assert (again.generation, again.context) == (2, {"a": 1})

    async def test_what_is_cancelled_at_the_broker_is_a_duplicate_there(self, carrying: Carrying) -> None:
        run = ours()
        await carrying.store.outbox.accept([run])
        assert await carrying.store.claims.cancel(run.run_id) is Cancelled.CANCELLED
        [message] = await carrying.received()
        assert (await claim(carrying.store, message)).answer is Answer.DUPLICATE


class TestOwn:
    """The store carries the messages of a job that only one program declares, on whatever server the provider is."""

    @pytest.fixture(params=["", PROVIDER])
    async def own(
        self, request: pytest.FixtureRequest, valkey_url: str, namespace: str, clock: Clock
    ) -> AsyncIterator[Carrying]:
        store = steered_store(valkey_url, namespace, StoreSettings(), clock, request.param)
        queues = [own_queue("elsewhere"), own_queue("backup")]
        consumer = RedisConsumer(valkey_url, namespace, LIMIT_BYTES, "program", queues=queues)
        yield Carrying(store, consumer)
        await consumer.close()
        await store.close()

    async def test_it_is_published_in_the_step_that_accepts_it_and_by_each_retry(self, own: Carrying) -> None:
        run = new(provider=OWN)
        [accepted] = await own.store.outbox.accept([run], LEASE)
        assert accepted.published
        assert await own.received() == [run.message]
        held = await claim(own.store, run.message)
        await settle(own.store, held, None, retry_after=NONE)
        assert [message.generation for message in await own.received()] == [2]

    async def test_whoever_looks_when_it_is_due_publishes_it_and_no_relay_gets_it(
        self, own: Carrying, clock: Clock
    ) -> None:
        await own.store.outbox.accept([new(provider=OWN, due=T0 + LEASE)])
        clock.move(LEASE)
        found = await own.store.outbox.take(PROVIDERS, 10, LEASE)
        assert (found.entries, found.published) == ([], 1)
        await own.received()

    async def test_its_program_publishes_it_and_leaves_the_rest_as_it_is(self, own: Carrying, clock: Clock) -> None:
        other = new(provider="elsewhere", due=T0 + LEASE)
        await own.store.outbox.accept([other, new(provider=OWN, due=T0 + LEASE)])
        clock.move(LEASE - MILLI)
        assert await own.store.outbox.publish_own(10) == 0
        clock.move(MILLI + LEASE)
        assert await own.store.outbox.publish_own(10) == 1
        await own.received()
        assert (await own.store.ledger.figures()).overdue == LEASE
        left = await own.store.outbox.take(["elsewhere"], 10, LEASE)
        assert [due.message.run_id for due in left.entries] == [other.run_id]

    async def test_no_worker_sees_it(self, own: Carrying, valkey_url: str, namespace: str) -> None:
        worker = RedisConsumer(valkey_url, namespace, LIMIT_BYTES, "worker")
        await own.store.outbox.accept([new(provider=OWN)])
        assert await worker.receive(10, AT_ONCE) == []
        await worker.close()
        await own.received()

    async def test_another_program_sees_only_its_own_jobs(self, own: Carrying, valkey_url: str, namespace: str) -> None:
        other = RedisConsumer(valkey_url, namespace, LIMIT_BYTES, "other", queues=[own_queue("report")])
        await own.store.outbox.accept([new(provider=OWN)])
        assert await other.receive(10, AT_ONCE) == []
        other.listen(own_queue("backup"))
        assert len(await other.receive(10, AT_ONCE)) == 1
        await other.close()
