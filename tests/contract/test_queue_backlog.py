"""What a provider says of the messages that its broker holds, where it can."""

from datetime import timedelta

import pytest

from horae.messages import Priority
from horae.queues.base import SupportsBacklog
from tests.contract.brokers import Broker, messages, receive_all
from tests.waiting import wait_until


async def test_the_backlog_is_what_no_worker_has_acknowledged(broker: Broker) -> None:
    publisher = broker.publisher
    if not isinstance(publisher, SupportsBacklog):
        pytest.skip("this broker cannot say")
    assert await publisher.backlog() == type(await publisher.backlog())(messages=0)
    await publisher.publish(messages(2, Priority.HIGH))
    await publisher.publish(messages(1, Priority.LOW))
    consumer = broker.consumer("w1")
    received = await receive_all(consumer, 3)

    async def aged() -> bool:
        return (await publisher.backlog()).oldest >= timedelta(milliseconds=20)

    await wait_until(aged, "the backlog to age")
    assert (await publisher.backlog()).messages == 3, "received is not acknowledged"
    await consumer.ack(received[:1])
    assert (await publisher.backlog()).messages == 2
    await consumer.ack(received[1:])
    emptied = await publisher.backlog()
    assert (emptied.messages, emptied.oldest) == (0, timedelta(0))
