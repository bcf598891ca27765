"""When a consumer that gets nothing is opened again."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from horae.errors import QueueUnavailable
from horae.messages import Message
from horae.queues import reopening
from horae.queues.base import Consumer, Delivery
from horae.queues.reopening import CONFIRM_SECONDS, MOST_PATIENCE_SECONDS, PATIENCE_SECONDS, Reopening

SECOND = timedelta(seconds=1)


class Broker:
    """A clock, a backlog, and consumers that get `coming` or nothing."""

    def __init__(self) -> None:
        self.now, self.opened, self.closed, self.reopened = 0.0, 0, 0, 0
        self.backlog: int | None = 5
        self.coming: list[Delivery] = []
        self.down = self.fails = False

    def open(self) -> Consumer:
        self.opened += 1
        return Deaf(self)

    async def behind(self, consumer: Consumer) -> int | None:
        if self.down:
            raise QueueUnavailable("no answer")
        return self.backlog

    def told(self) -> None:
        self.reopened += 1


class Deaf:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        self.broker.now += wait.total_seconds()
        if self.broker.fails:
            raise QueueUnavailable("the queue does not answer")
        coming, self.broker.coming = self.broker.coming, []
        return coming

    async def ack(self, deliveries: Sequence[Delivery]) -> None: ...

    async def close(self) -> None:
        self.broker.closed += 1


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr(reopening, "monotonic", lambda: made.now)
    return made


async def receive_for(consumer: Reopening, seconds: float, broker: Broker) -> None:
    end = broker.now + seconds
    while broker.now < end:
        try:
            await consumer.receive(1, SECOND)
        except QueueUnavailable:
            broker.now += 1.0


def consumer_of(broker: Broker) -> Reopening:
    return Reopening("nats", broker.open, broker.behind, broker.told)


LONGEST = PATIENCE_SECONDS * 1.2 + CONFIRM_SECONDS + 4


@pytest.mark.parametrize("fails", [False, True])
async def test_one_that_gets_nothing_of_a_backlog_is_opened_again(broker: Broker, fails: bool) -> None:
    broker.fails = fails
    consumer = consumer_of(broker)
    await receive_for(consumer, PATIENCE_SECONDS * 0.8 + CONFIRM_SECONDS - 2, broker)
    assert broker.opened == 1
    await receive_for(consumer, LONGEST - broker.now, broker)
    assert (broker.opened, broker.closed, broker.reopened) == (2, 1, 1)
    assert "5 messages" in consumer.trouble


@pytest.mark.parametrize("backlog", [0, None])
async def test_an_idle_one_is_left_alone(broker: Broker, backlog: int | None) -> None:
    broker.backlog = backlog
    consumer = consumer_of(broker)
    await receive_for(consumer, 2000, broker)
    assert (broker.opened, consumer.trouble) == (1, "")


async def test_while_the_broker_is_down_it_is_left_alone(broker: Broker) -> None:
    broker.down = broker.fails = True
    await receive_for(consumer_of(broker), 2000, broker)
    assert broker.opened == 1


async def test_a_message_in_time_shows_that_it_works(broker: Broker) -> None:
    consumer = consumer_of(broker)
    for _ in range(20):
        await receive_for(consumer, PATIENCE_SECONDS * 0.7, broker)
        message = Message(job="backup")
        broker.coming = [Delivery(body=b"", message=message, receipt=None)]
        await consumer.receive(1, SECOND)
    assert broker.opened == 1


async def test_looks_without_a_wait_do_not_count(broker: Broker) -> None:
    consumer = consumer_of(broker)
    for _ in range(1000):
        broker.now += 1.0
        await consumer.receive(1, timedelta(0))
    assert broker.opened == 1


async def test_it_is_opened_again_less_and_less_often_up_to_five_minutes(broker: Broker) -> None:
    consumer = consumer_of(broker)
    gaps: list[float] = []
    before = 0.0
    while len(gaps) < 7:
        count = broker.opened
        await consumer.receive(1, SECOND)
        if broker.opened > count:
            gaps.append(broker.now - before)
            before = broker.now
    for gap, doubled in zip(gaps, (30, 60, 120, 240, 300, 300, 300), strict=True):
        assert doubled * 0.8 + CONFIRM_SECONDS - 1 <= gap <= doubled * 1.2 + CONFIRM_SECONDS + 2
    assert MOST_PATIENCE_SECONDS == 300
    broker.coming = [Delivery(body=b"", message=Message(job="backup"), receipt=None)]
    await consumer.receive(1, SECOND)
    assert consumer.trouble == ""
