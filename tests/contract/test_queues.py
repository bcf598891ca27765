"""What every provider does, on memory and on real servers. A further provider adds a fixture."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

import pytest

from horae.errors import MessageTooLarge
from horae.keys import FIELD, stream_of
from horae.messages import Lane, Message
from horae.queues.base import Consumer, Delivery, Publisher

LIMIT_BYTES = 64 * 1024
AT_ONCE = timedelta(0)
SOON = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True)
class Broker:
    """One provider with a namespace of its own."""

    publisher: Publisher
    consumer: Callable[[str], Consumer]
    put: Callable[[bytes], Awaitable[None]]
    """Publish raw bytes, as another program would."""


@pytest.fixture(params=["memory", "redis"])
async def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Broker]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield _memory(stack)
        else:
            from horae.queues import redis

            monkeypatch.setattr(redis, "ABANDONED", timedelta(milliseconds=200))
            yield _redis(request.getfixturevalue("valkey_url"), stack)


def _memory(stack: AsyncExitStack) -> Broker:
    from horae.queues.memory import MemoryBroker, MemoryConsumer, MemoryPublisher

    server = MemoryBroker(LIMIT_BYTES)

    async def put(body: bytes) -> None:
        server.put(Lane.NORMAL, body)

    def consumer(name: str) -> Consumer:
        opened = MemoryConsumer(server)
        stack.push_async_callback(opened.close)
        return opened

    return Broker(publisher=MemoryPublisher(server), consumer=consumer, put=put)


def _redis(url: str, stack: AsyncExitStack) -> Broker:
    from horae.queues import redis

    namespace = f"t{uuid.uuid4().hex[:12]}"
    publisher = redis.RedisPublisher(url, namespace, LIMIT_BYTES)
    stack.push_async_callback(publisher.close)

    async def put(body: bytes) -> None:
        client = redis.client_of(url, 5)
        await client.xadd(stream_of(namespace, Lane.NORMAL), {FIELD: body})
        await client.aclose()

    def consumer(name: str) -> Consumer:
        opened = redis.RedisConsumer(url, namespace, LIMIT_BYTES, name)
        stack.push_async_callback(opened.close)
        return opened

    return Broker(publisher=publisher, consumer=consumer, put=put)


def messages(count: int, lane: Lane = Lane.NORMAL) -> list[Message]:
    return [Message(job="backup", lane=lane, context={"n": n}) for n in range(count)]


async def receive_all(consumer: Consumer, count: int) -> list[Delivery]:
    found: list[Delivery] = []
    while len(found) < count:
        got = await consumer.receive(count - len(found), SOON)
        assert got, f"{len(found)} of {count} came"
        found += got
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
