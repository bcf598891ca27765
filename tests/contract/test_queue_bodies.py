"""Large messages and invalid messages."""

import pytest

from horae.errors import MessageTooLarge
from horae.messages import Message
from tests.contract.brokers import LIMIT_BYTES, MOMENT, SOON, Broker, messages, receive_all


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
        attempts = [largest.model_copy(update={"generation": attempt}) for attempt in (2, 10, 1_000_000)]
        await broker.publisher.publish(attempts)
        found = await receive_all(broker.consumer("w1"), 3)
        assert [one.wrong for one in found] == ["", "", ""]
        received = [one.message for one in found if one.message]
        assert sorted(received, key=lambda one: one.generation) == attempts, "in any order"

    async def test_one_that_is_refused_takes_no_other_with_it(self, broker: Broker) -> None:
        with pytest.raises(MessageTooLarge):
            await broker.publisher.publish([*messages(1), self.of_size(LIMIT_BYTES + 1)])
        assert await broker.consumer("w1").receive(5, MOMENT) == [], "none was published: the caller tells them apart"

    async def test_many_in_one_call(self, broker: Broker) -> None:
        sent = [self.of_size(20_000) for _ in range(200)]
        await broker.publisher.publish(sent)
        found = await receive_all(broker.consumer("w1"), 200)
        assert {one.message.run_id for one in found if one.message} == {one.run_id for one in sent}
        await broker.publisher.publish([])


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
