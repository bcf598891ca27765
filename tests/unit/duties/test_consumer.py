"""The duty that receives: late claims, messages that cannot be claimed, and slots that several providers share."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from horae.duties import consumer as room
from horae.duties.consumer import AT_ONCE, LATE_SHARE, MOST_CLAIMS, Consumer
from horae.duties.duty import Progresses, keep_doing
from horae.errors import StoreError
from horae.execution.watch import Watch
from horae.execution.work import Work
from horae.jobs.job import Job
from horae.jobs.policies import Overlap, Tier
from horae.messages import Message
from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.queues.base import Delivery
from horae.runs import State, new_run_id
from horae.settings import Settings
from horae.store import Store
from horae.store.values import Claim, Settlement, Wanted
from tests.contract.stores import Clock, new, state
from tests.model import ModelStore
from tests.waiting import wait_until

LEASE = timedelta(seconds=6)


class Source:
    """A source that has these messages."""

    def __init__(self, *messages: Message) -> None:
        self._waiting = [Delivery(body=one.encode(65536), message=one, receipt=one.run_id) for one in messages]
        self._delivered: list[Delivery] = []
        self.acknowledged = 0
        self.most = 0
        """The most messages that were asked for."""

    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        assert limit >= 1
        self.most = max(self.most, limit)
        if not self._waiting:
            await asyncio.sleep(0.001)
        found, self._waiting = self._waiting[:limit], self._waiting[limit:]
        self._delivered += found
        return found

    def deliver_again(self) -> None:
        self._waiting, self._delivered = self._delivered, []

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        self.acknowledged += len(deliveries)

    async def close(self) -> None: ...


def registry_of(function: Callable[..., Any]) -> Registry:
    registry = Registry()
    registry.add(Job(name="count", tier=Tier.ONEIRIC, function=function, overlap=Overlap.ALLOW))
    return registry


@asynccontextmanager
async def taking(work: Work, store: Store, source: Source, function: Callable[..., Any]) -> AsyncIterator[None]:
    """A consumer takes from the source inside the block."""
    ended = asyncio.Event()
    consumer = Consumer("redis", source, store, registry_of(function), work, "w1", LEASE)
    task = asyncio.create_task(keep_doing(consumer, Progresses(Metrics()), ended))
    yield
    ended.set()
    await task


def messages(count: int, **context: Any) -> list[Message]:
    return [Message(job="count", run_id=new_run_id(), context=context) for _ in range(count)]


@pytest.mark.parametrize("late", [False, True])
async def test_a_claim_that_is_answered_late_is_left_to_another_worker(
    monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    times: list[int] = []

    async def count() -> None:
        times.append(1)

    registry, store = registry_of(count), ModelStore()
    [message] = messages(1)
    took = LEASE.total_seconds() * LATE_SHARE + (0.1 if late else -0.1)
    instants = iter((100.0, 100.0 + took))
    monkeypatch.setattr(room, "monotonic", lambda: next(instants))
    source = Source(message)
    async with Work(Settings(), store, Metrics(), 1, LEASE) as work:
        await Consumer("redis", source, store, registry, work, "w1", LEASE).step()
        await wait_until(lambda: source.acknowledged == 1, "the acknowledgement")
        if late:
            assert work.slots.free == 1
        else:
            await wait_until(lambda: work.slots.free == 1, "the run to end")
        run = await state(store, message.run_id)
        assert (times, run.state) == (([], State.RUNNING) if late else ([1], State.RAN))


def test_a_run_that_begins_has_a_tenth_of_its_lease_left_at_its_first_renewal() -> None:
    lease = LEASE.total_seconds()
    first_renewal = Watch(lambda claims, lease: [], LEASE).wait(lease)
    assert lease * LATE_SHARE + first_renewal < lease * 0.9


@pytest.mark.parametrize("waiting", [1, 150])
async def test_the_source_is_asked_for_more_while_the_claimed_runs_begin(waiting: int) -> None:
    happened: list[str] = []

    class Told(Source):
        async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
            happened.append("asked")
            return await super().receive(limit, wait)

    async def count() -> None:
        happened.append("began")

    source, store = Told(*messages(waiting)), ModelStore()
    settle = store.claims.settle

    async def told(settlements: Sequence[Settlement]) -> list[bool]:
        happened.append("settled")
        return await settle(settlements)

    store.claims.settle = told  # type: ignore[method-assign]
    async with Work(Settings(), store, Metrics(), 500, LEASE) as work, taking(work, store, source, count):
        await wait_until(lambda: happened.count("began") == waiting, "the runs")
        await wait_until(lambda: "settled" in happened, "a settlement")
    first = min(waiting, AT_ONCE)
    assert happened[: first + 3] == ["asked", *["began"] * first, "asked", "settled"]


class Silent(Source):
    """A source that has no message, and waits for one until it is cancelled."""

    waits = 0

    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        self.waits += 1
        await asyncio.Event().wait()
        raise AssertionError("nothing sets the event")


async def test_a_waiting_consumer_is_interrupted_for_good_and_its_task_goes_on() -> None:
    async def count() -> None: ...

    source, store = Silent(), ModelStore()
    async with Work(Settings(), store, Metrics(), 4, LEASE) as work:
        consumer = Consumer("redis", source, store, registry_of(count), work, "w1", LEASE)
        step = asyncio.create_task(consumer.step())
        await wait_until(lambda: source.waits == 1, "the consumer to wait")
        consumer.interrupt()
        consumer.interrupt()
        assert await step == 0.0
        assert await consumer.step() == 0.0
        assert work.slots.free == 4


async def test_a_timeout_of_the_source_is_not_taken_for_an_interruption() -> None:
    async def count() -> None: ...

    class Late(Source):
        async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
            raise TimeoutError("the client's own")

    store = ModelStore()
    async with Work(Settings(), store, Metrics(), 4, LEASE) as work:
        with pytest.raises(TimeoutError, match="own"):
            await Consumer("redis", Late(), store, registry_of(count), work, "w1", LEASE).step()


async def test_five_full_providers_share_four_slots_and_none_starves() -> None:
    active = most = 0
    began: list[int] = []

    async def count(provider: int) -> None:
        nonlocal active, most
        active, most = active + 1, max(most, active + 1)
        began.append(provider)
        await asyncio.sleep(0.001)
        active -= 1

    store, ended = ModelStore(), asyncio.Event()
    full = [Source(*messages(30 if number < 4 else 3, provider=number)) for number in range(5)]
    async with Work(Settings(), store, Metrics(), 4, LEASE) as work:
        consumers = [Consumer(f"p{n}", one, store, registry_of(count), work, "w1", LEASE) for n, one in enumerate(full)]
        progresses = Progresses(Metrics())
        tasks = [asyncio.create_task(keep_doing(one, progresses, ended)) for one in consumers]
        await wait_until(lambda: len(began) == 123, "all runs")
        ended.set()
        await asyncio.gather(*tasks)
    assert most == 4
    assert max(place for place, provider in enumerate(began) if provider == 4) < 60, "the others had 30 each"
    assert all(one.most <= 4 for one in full)


class Calling(Source):
    """A source whose broker waits for an answer to each message."""

    refused = 0

    async def refuse(self, deliveries: Sequence[Delivery]) -> None:
        self.refused += len(deliveries)


@pytest.mark.parametrize("kind", [Source, Calling])
async def test_a_message_before_its_run_is_due_is_not_acknowledged_and_comes_again(kind: type[Source]) -> None:
    ran: list[int] = []

    async def count() -> None:
        ran.append(1)

    clock = Clock()
    store = ModelStore(clock=clock)
    later, now = (new("count", due=clock() + delay) for delay in (LEASE, timedelta(0)))
    await store.outbox.accept([later, now])
    source = kind(later.message, now.message)
    async with Work(Settings(), store, Metrics(), 4, LEASE) as work:
        consumer = Consumer("redis", source, store, registry_of(count), work, "w1", LEASE)
        await consumer.step()
        await wait_until(lambda: source.acknowledged == 1, "the acknowledgement of the other")
        await wait_until(lambda: len(ran) == 1, "the other run")
        if isinstance(source, Calling):
            await wait_until(lambda: source.refused == 1, "the refusal")
        assert (await state(store, later.run_id)).state is State.PENDING
        clock.move(LEASE)
        source.deliver_again()
        await consumer.step()
        await wait_until(lambda: len(ran) == 2, "the run")
        await wait_until(lambda: source.acknowledged == 3, "the acknowledgement")


class Refuses(ModelStore):
    """A store that answers, but cannot claim these runs."""

    def __init__(self, *run_ids: str) -> None:
        super().__init__()
        claim = self.claims.claim

        async def refuse(wanted: Sequence[Wanted], worker: str, lease: timedelta) -> list[Claim]:
            for want in wanted:
                if want.message.run_id in run_ids:
                    raise StoreError("the store answers something else")
            return await claim(wanted, worker, lease)

        self.claims.claim = refuse  # type: ignore[method-assign]


async def test_a_message_that_cannot_be_claimed_becomes_a_dead_letter_and_the_others_run() -> None:
    ran: list[int] = []

    async def count() -> None:
        ran.append(1)

    three = messages(3)
    store, source = Refuses(three[1].run_id), Source(*three)
    async with Work(Settings(), store, Metrics(), 4, LEASE) as work:
        await Consumer("redis", source, store, registry_of(count), work, "w1", LEASE).step()
        await wait_until(lambda: source.acknowledged == 3, "the acknowledgement")
        await wait_until(lambda: len(ran) == 2, "the other runs")
    [letter] = await store.dead_letters.newest()
    assert "it cannot be claimed: the store answers something else" in letter.note


async def test_a_message_alone_that_cannot_be_claimed_is_delivered_again_before_it_becomes_a_dead_letter() -> None:
    async def count() -> None: ...

    [message] = messages(1)
    store, source = Refuses(message.run_id), Source(message)
    async with Work(Settings(), store, Metrics(), 4, LEASE) as work:
        consumer = Consumer("redis", source, store, registry_of(count), work, "w1", LEASE)
        for _ in range(MOST_CLAIMS - 1):
            with pytest.raises(StoreError, match=f"run {message.run_id} cannot be claimed"):
                await consumer.step()
            assert await store.dead_letters.newest() == []
            source.deliver_again()
        await consumer.step()
        await wait_until(lambda: source.acknowledged == 1, "the acknowledgement")
    assert len(await store.dead_letters.newest()) == 1
    assert work.slots.free == 4


async def test_while_no_run_can_be_claimed_no_message_is_buried() -> None:
    async def count() -> None: ...

    three = messages(3)
    store, source = Refuses(*(one.run_id for one in three)), Source(*three)
    async with Work(Settings(), store, Metrics(), 4, LEASE) as work:
        with pytest.raises(StoreError, match="3 runs cannot be claimed"):
            await Consumer("redis", source, store, registry_of(count), work, "w1", LEASE).step()
    assert (source.acknowledged, await store.dead_letters.newest()) == (0, [])
