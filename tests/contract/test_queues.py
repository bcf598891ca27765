"""What every provider does, on memory and on real servers; see brokers.py for how a further one joins."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from horae.errors import MessageTooLarge, QueueUnavailable
from horae.messages import Lane, Message
from horae.queues import redis as redis_queue
from horae.queues.base import Consumer, Delivery
from horae.runs import Verdict
from horae.store.memory import MemoryStore
from horae.store.values import Answer
from tests.contract.brokers import LIMIT_BYTES, PASSWORD, PROVIDERS, QUOTED, SERVERS, Broker, Server
from tests.contract.stores import claim, settle
from tests.waiting import wait_until

AT_ONCE = timedelta(0)
SOON = timedelta(seconds=10)
MOMENT = timedelta(milliseconds=50)
ABANDONED = timedelta(milliseconds=200)


@pytest.fixture(params=PROVIDERS)
async def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Broker]:
    monkeypatch.setattr(redis_queue, "ABANDONED", ABANDONED)
    async with PROVIDERS[request.param](request) as opened:
        yield opened


@pytest.fixture(params=SERVERS)
async def server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    monkeypatch.setattr(redis_queue, "ABANDONED", ABANDONED)
    async with SERVERS[request.param](tmp_path) as opened:
        yield opened


def messages(count: int, lane: Lane = Lane.NORMAL) -> list[Message]:
    return [Message(job="backup", lane=lane, context={"n": n}) for n in range(count)]


async def receive_all(consumer: Consumer, count: int) -> list[Delivery]:
    """In several receives: what a dead worker left is only looked for when one begins."""
    found: list[Delivery] = []

    async def all_came() -> bool:
        found.extend(await consumer.receive(count - len(found), MOMENT))
        return len(found) == count

    await wait_until(all_came, f"{count} deliveries")
    return found


async def test_what_is_published_is_received_whole(broker: Broker) -> None:
    sent = Message(
        job="backup", context={"text": "é\x00\n{}", "empty": [], "deep": {"a": [1, None]}}, metadata={"m": 1}
    )
    await broker.publisher.publish([sent])
    [delivery] = await broker.consumer("w1").receive(5, SOON)
    assert delivery.message == sent


async def test_receives_no_more_than_asked_for(broker: Broker) -> None:
    await broker.publisher.publish(messages(5))
    consumer = broker.consumer("w1")
    assert len(await consumer.receive(2, AT_ONCE)) <= 2
    assert len(await receive_all(consumer, 3)) == 3


async def test_an_empty_queue_gives_nothing_after_the_wait(broker: Broker) -> None:
    assert await broker.consumer("w1").receive(5, timedelta(milliseconds=20)) == []


async def test_what_is_acknowledged_never_comes_again(broker: Broker) -> None:
    await broker.publisher.publish(messages(3))
    first = broker.consumer("w1")
    await first.ack(await receive_all(first, 3))
    await first.close()
    assert await broker.consumer("w2").receive(5, timedelta(milliseconds=300)) == []


async def test_what_a_dead_worker_took_comes_to_another(broker: Broker) -> None:
    await broker.publisher.publish(messages(3))
    dead = broker.consumer("dead")
    taken = {delivery.message.run for delivery in await receive_all(dead, 3) if delivery.message}
    await dead.close()
    other = broker.consumer("alive")
    again: set[str] = set()
    while again != taken:
        again |= {one.message.run for one in await other.receive(5, timedelta(milliseconds=50)) if one.message}


async def test_two_workers_share_what_there_is(broker: Broker) -> None:
    await broker.publisher.publish(messages(4))
    one, two = broker.consumer("w1"), broker.consumer("w2")
    got = [*await one.receive(2, SOON), *await two.receive(2, SOON)]
    assert len({delivery.message.run for delivery in got if delivery.message}) == 4


async def test_lanes_are_weighted_and_none_starves(broker: Broker) -> None:
    for lane in reversed(Lane):
        await broker.publisher.publish(messages(24, lane))
    consumer = broker.consumer("w1")
    lanes = []
    for _ in range(24):
        [delivery] = await consumer.receive(1, AT_ONCE)
        assert delivery.message
        lanes.append(delivery.message.lane)
        await consumer.ack([delivery])
    assert [lanes.count(lane) for lane in (Lane.HIGH, Lane.NORMAL, Lane.LOW)] == [16, 6, 2]


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"{", b"[]", b'{"job": "NOT KEBAB"}', b'{"job": "a", "extra": 1}'])
async def test_a_hostile_body_comes_with_what_is_wrong(broker: Broker, body: bytes) -> None:
    await broker.put(body)
    consumer = broker.consumer("w1")
    [delivery] = await consumer.receive(5, SOON)
    assert delivery.message is None
    assert delivery.wrong
    assert delivery.body == body
    await consumer.ack([delivery])


async def test_a_message_over_the_limit_is_refused_when_published_and_named_when_received(broker: Broker) -> None:
    large = Message(job="backup", context={"blob": "x" * LIMIT_BYTES})
    with pytest.raises(MessageTooLarge, match="the limit is 65536"):
        await broker.publisher.publish([large])
    await broker.put(large.encode(2 * LIMIT_BYTES))
    [delivery] = await broker.consumer("w1").receive(5, SOON)
    assert delivery.message is None
    assert "65536" in delivery.wrong


class TestDeath:
    """A worker that dies between receiving, claiming and acknowledging: the run is begun once."""

    async def again(self, broker: Broker) -> tuple[Consumer, Delivery]:
        """What a dead worker left comes to another."""
        alive = broker.consumer("alive")

        async def redelivered() -> list[Delivery]:
            return await alive.receive(5, MOMENT)

        [delivery] = await wait_until(redelivered, "the message to come again")
        return alive, delivery

    async def test_before_the_claim_another_claims_it(self, broker: Broker) -> None:
        store = MemoryStore()
        await broker.publisher.publish(messages(1))
        dead = broker.consumer("dead")
        await receive_all(dead, 1)
        await dead.close()
        alive, delivery = await self.again(broker)
        assert delivery.message
        assert (await claim(store, delivery.message, "alive")).answer is Answer.RUN
        await alive.ack([delivery])

    async def test_after_the_claim_the_copy_is_a_duplicate(self, broker: Broker) -> None:
        store = MemoryStore()
        await broker.publisher.publish(messages(1))
        dead = broker.consumer("dead")
        [first] = await receive_all(dead, 1)
        assert first.message
        held = await claim(store, first.message, "dead")
        await dead.close()
        alive, delivery = await self.again(broker)
        assert delivery.message == first.message
        assert (await claim(store, delivery.message, "alive")).answer is Answer.DUPLICATE
        await alive.ack([delivery])
        assert await settle(store, held)
        assert (await store.ledger.runs())[0].verdict is Verdict.RAN

    async def test_what_was_taken_over_may_still_be_acknowledged_by_the_first(self, broker: Broker) -> None:
        await broker.publisher.publish(messages(1))
        slow = broker.consumer("slow")
        deliveries = await receive_all(slow, 1)
        other = broker.consumer("other")
        await other.receive(5, ABANDONED * 2)
        await slow.ack(deliveries)
        await slow.close()
        await other.close()
        assert await broker.consumer("third").receive(5, ABANDONED * 2) == []


class TestCopies:
    async def test_two_copies_are_two_deliveries_and_one_run(self, broker: Broker) -> None:
        [message] = messages(1)
        await broker.publisher.publish([message, message])
        await broker.publisher.publish([message])
        consumer, store = broker.consumer("w1"), MemoryStore()
        found = await receive_all(consumer, 3)
        answers = [(await claim(store, one.message)).answer for one in found if one.message]
        assert answers == [Answer.RUN, Answer.DUPLICATE, Answer.DUPLICATE]
        await consumer.ack(found)

    async def test_each_handing_out_is_its_own(self, broker: Broker) -> None:
        [message] = messages(1)
        again = message.model_copy(update={"attempt": 2})
        await broker.publisher.publish([message, again])
        found = await receive_all(broker.consumer("w1"), 2)
        assert sorted(one.message.attempt for one in found if one.message) == [1, 2]


class TestAcknowledging:
    async def test_many_at_once(self, broker: Broker) -> None:
        await broker.publisher.publish(messages(2_000))
        consumer = broker.consumer("w1")
        await consumer.ack(await receive_all(consumer, 2_000))
        await consumer.close()
        assert await broker.consumer("w2").receive(5, ABANDONED * 2) == []

    async def test_twice_is_once_and_none_is_nothing(self, broker: Broker) -> None:
        await broker.publisher.publish(messages(2))
        consumer = broker.consumer("w1")
        first, second = await receive_all(consumer, 2)
        await consumer.ack([])
        await consumer.ack([first])
        await consumer.ack([first, first])
        await consumer.close()
        again = await receive_all(broker.consumer("w2"), 1)
        assert [one.message for one in again] == [second.message]

    async def test_in_any_order_and_over_all_lanes(self, broker: Broker) -> None:
        for lane in Lane:
            await broker.publisher.publish(messages(3, lane))
        consumer = broker.consumer("w1")
        found = await receive_all(consumer, 9)
        await consumer.ack(found[::-2])
        await consumer.close()
        left = {one.message.run for one in found[-2::-2] if one.message}
        assert {one.message.run for one in await receive_all(broker.consumer("w2"), 4) if one.message} == left


class TestSizes:
    def of_size(self, size: int) -> Message:
        """A message whose JSON has exactly that many bytes."""
        empty = Message(job="backup", context={"blob": ""})
        room = size - len(empty.encode(LIMIT_BYTES))
        return empty.model_copy(update={"context": {"blob": "x" * room}})

    async def test_up_to_the_limit_it_comes_whole_and_a_byte_more_is_refused(self, broker: Broker) -> None:
        await broker.publisher.publish([self.of_size(LIMIT_BYTES)])
        [delivery] = await broker.consumer("w1").receive(1, SOON)
        assert delivery.message
        assert len(delivery.message.context["blob"]) > LIMIT_BYTES - 200
        with pytest.raises(MessageTooLarge):
            await broker.publisher.publish([self.of_size(LIMIT_BYTES + 1)])

    async def test_what_was_accepted_once_is_not_too_large_for_its_retries(self, broker: Broker) -> None:
        largest = self.of_size(LIMIT_BYTES)
        attempts = [largest.model_copy(update={"attempt": attempt}) for attempt in (2, 10, 1_000_000)]
        await broker.publisher.publish(attempts)
        found = await receive_all(broker.consumer("w1"), 3)
        assert [one.wrong for one in found] == ["", "", ""]
        assert [one.message for one in found] == attempts

    async def test_one_that_is_refused_takes_no_other_with_it(self, broker: Broker) -> None:
        with pytest.raises(MessageTooLarge):
            await broker.publisher.publish([*messages(1), self.of_size(LIMIT_BYTES + 1)])
        assert await broker.consumer("w1").receive(5, MOMENT) == [], "none was published: the caller tells them apart"

    async def test_many_in_one_call(self, broker: Broker) -> None:
        sent = [self.of_size(20_000) for _ in range(200)]
        await broker.publisher.publish(sent)
        found = await receive_all(broker.consumer("w1"), 200)
        assert {one.message.run for one in found if one.message} == {one.run for one in sent}
        await broker.publisher.publish([])


class TestShutdown:
    async def test_a_receive_that_waits_can_be_cancelled_and_loses_nothing(self, broker: Broker) -> None:
        consumer = broker.consumer("w1")
        waiting = asyncio.create_task(consumer.receive(5, timedelta(seconds=60)))
        done, _ = await asyncio.wait([waiting], timeout=MOMENT.total_seconds())
        assert not done, "nothing is there to receive"
        sending = asyncio.create_task(broker.publisher.publish(messages(3)))
        waiting.cancel()
        [outcome] = await asyncio.gather(waiting, return_exceptions=True)
        await sending
        got = [] if isinstance(outcome, BaseException) else outcome
        await consumer.ack(got)
        await asyncio.wait_for(consumer.close(), 5)
        assert len(await receive_all(broker.consumer("w2"), 3 - len(got))) == 3 - len(got)

    async def test_it_receives_again_after_a_cancelled_receive(self, broker: Broker) -> None:
        consumer = broker.consumer("w1")
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(consumer.receive(5, timedelta(seconds=60)), MOMENT.total_seconds())
        await broker.publisher.publish(messages(2))
        await consumer.ack(await receive_all(consumer, 2))

    async def test_closing_twice_is_closing(self, broker: Broker) -> None:
        consumer = broker.consumer("w1")
        await consumer.receive(1, AT_ONCE)
        await consumer.close()
        await consumer.close()

    async def test_no_free_slot_receives_nothing(self, broker: Broker) -> None:
        await broker.publisher.publish(messages(2))
        consumer = broker.consumer("w1")
        assert await consumer.receive(0, AT_ONCE) == []
        assert len(await receive_all(consumer, 2)) == 2


class TestServers:
    """Of providers that have one: killed and started again, and one that refuses."""

    async def test_what_was_published_is_there_after_a_restart(self, server: Server) -> None:
        sent = messages(20)
        await server.broker.publisher.publish(sent)
        server.kill()
        server.start()
        found = await receive_all(server.broker.consumer("w1"), 20)
        assert {one.message.run for one in found if one.message} == {one.run for one in sent}

    async def test_what_was_received_and_not_acknowledged_comes_again(self, server: Server) -> None:
        await server.broker.publisher.publish(messages(4))
        first = server.broker.consumer("w1")
        found = await receive_all(first, 4)
        await first.ack(found[:2])
        server.kill()
        server.start()
        other = server.broker.consumer("w2")
        left: set[str] = set()

        async def all_left() -> bool:
            left.update(one.message.run for one in await other.receive(5, MOMENT) if one.message)
            return len(left) >= 2

        await wait_until(all_left, "the two that were not acknowledged")
        assert left == {one.message.run for one in found[2:] if one.message}

    async def test_publisher_and_consumer_say_that_it_is_away_and_go_on_by_themselves(self, server: Server) -> None:
        publisher, consumer = server.broker.publisher, server.broker.consumer("w1")
        await publisher.publish(messages(1))
        await consumer.ack(await receive_all(consumer, 1))
        server.kill()
        with pytest.raises(QueueUnavailable):
            await publisher.check()
        with pytest.raises(QueueUnavailable):
            await publisher.publish(messages(1))
        with pytest.raises(QueueUnavailable):
            await consumer.receive(1, MOMENT)
        server.start()
        await publisher.check()
        await publisher.publish(messages(2))
        await consumer.ack(await receive_all(consumer, 2))

    async def test_a_receive_that_waits_hears_that_it_is_gone(self, server: Server) -> None:
        waiting = asyncio.create_task(server.broker.consumer("w1").receive(1, timedelta(seconds=60)))
        await asyncio.wait([waiting], timeout=MOMENT.total_seconds())
        server.kill()
        with pytest.raises(QueueUnavailable):
            await asyncio.wait_for(waiting, 10)
        server.start()

    async def test_acknowledging_while_it_is_away_says_so(self, server: Server) -> None:
        await server.broker.publisher.publish(messages(1))
        consumer = server.broker.consumer("w1")
        found = await receive_all(consumer, 1)
        server.kill()
        with pytest.raises(QueueUnavailable):
            await consumer.ack(found)
        server.start()

    async def test_refused_credentials_are_told_without_them(self, server: Server) -> None:
        publisher, consumer = server.refused.publisher, server.refused.consumer("w1")
        steps: list[Callable[[], Awaitable[object]]] = [
            publisher.check,
            lambda: publisher.publish(messages(1)),
            lambda: consumer.receive(1, MOMENT),
        ]
        for step in steps:
            with pytest.raises(QueueUnavailable, match="refuses these credentials") as told:
                await step()
            assert PASSWORD not in str(told.value)
            assert QUOTED not in str(told.value)


@pytest.mark.parametrize(
    "body",
    [
        b'{"job": "a", "context": ' + b"[" * 30_000,
        b'{"job": "a", "context": {"n": 1' + b"0" * 5_000 + b"}}",
        b'{"job": "a", "context": {"n": "\\ud800"}}',
        b'{"job": "a", "attempt": 0}',
        b'{"job": "a", "attempt": 100000000000000000000000}',
        b'{"job": "a", "scheduled_for": "2026-01-01T00:00:00"}',
        b'{"job": "a", "scheduled_for": 99999999999999999999}',
        b'{"job": "a", "lane": "urgent"}',
        b'{"job": "a", "run": "../../etc"}',
        b'{"job": "a", "context": []}',
        b'{"job": "a", "a\xe2\x80\xa8b": 1}',
        b"\xef\xbb\xbf{}",
        b"null",
    ],
)
async def test_what_can_be_no_run_is_a_delivery_that_says_why(broker: Broker, body: bytes) -> None:
    await broker.put(body)
    consumer = broker.consumer("w1")
    [delivery] = await consumer.receive(5, SOON)
    assert (delivery.message, delivery.body) == (None, body)
    assert delivery.wrong
    await consumer.ack([delivery])
