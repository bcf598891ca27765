"""A real client that is connected and gets nothing is replaced. (The consumer of RabbitMQ has no subscription that can
end in silence: each of its receives asks the broker.)
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from horae.errors import QueueUnavailable
from horae.messages import Message
from horae.queues import reopening
from horae.queues.closing import close_all
from horae.queues.opened import Queues, open_queues
from horae.queues.reopening import Reopening
from horae.settings import QueueSettings, Settings
from tests.contract.brokers import KINDS

SECOND = timedelta(seconds=1)


async def deafen_nats(consumer: Any) -> None:
    """The client forgets its subscriptions: what the server sends is dropped, and the connection lives."""
    (await consumer._link.client())._subs.clear()


async def deafen_kafka(consumer: Any) -> None:
    """The task that fetches ends: the member stays in its group and owns its partitions."""
    consumer._client._fetcher._fetch_task.cancel()


DEAFEN = {"nats": deafen_nats, "kafka": deafen_kafka}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.requires(name)) for name in DEAFEN])
async def queues(request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[Queues]:
    name: str = request.param
    queue = QueueSettings.model_validate({"provider": name, **KINDS[name].shared(request)})
    opened = open_queues(Settings(namespace=namespace, queue=queue))
    yield opened
    await close_all([opened.router])


async def received(consumer: Reopening) -> Message:
    while True:
        try:
            found = await consumer.receive(1, SECOND)
        except QueueUnavailable:
            continue
        if found and found[0].message:
            await consumer.ack(found)
            return found[0].message


async def test_it_is_opened_again_and_gets_what_waits(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reopening, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(reopening, "CONFIRM_SECONDS", 0.5)
    told: list[str] = []
    [name] = [name for name in queues.router.names if name in DEAFEN]
    consumer = queues.open_consumers("w1", told.append)[name]
    assert isinstance(consumer, Reopening)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(consumer.close)
        first, second = Message(job="backup"), Message(job="backup")
        async with asyncio.timeout(60):
            await queues.router.publish(name, [first])
            assert (await received(consumer)).run_id == first.run_id
            await DEAFEN[name](consumer._source)
            await queues.router.publish(name, [second])
            assert await consumer._behind(consumer._source) == 1
            assert (await received(consumer)).run_id == second.run_id
        # On a busy machine Kafka's consumer may notice first that it does not get what it fetches.
        assert told == [name] or name == "kafka"
        assert consumer.trouble == ""
