"""The contract of every provider, on real servers. brokers.py says how to add a provider."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from horae.messages import Message, Priority
from horae.queues.base import Consumer, Delivery, Ordering
from horae.runs import Verdict
from horae.signing import Signing
from horae.store.values import Answer
from tests.contract.brokers import (
    ABANDONED,
    AT_ONCE,
    MOMENT,
    SOON,
    Broker,
    messages,
    receive_all,
)
from tests.contract.stores import claim, settle
from tests.model import ModelStore
from tests.waiting import wait_until


async def test_what_is_published_is_received_whole(broker: Broker) -> None:
    sent = Message(
        job="backup", context={"text": "é\x00\n{}", "empty": [], "deep": {"a": [1, None]}}, metadata={"m": 1}
    )
    await broker.publisher.publish([sent])
    [delivery] = await broker.consumer("w1").receive(5, SOON)
    assert delivery.message == sent


async def test_a_signature_arrives_with_its_message(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("k" * 32)
    signing = Signing(tmp_path / "keys")
    [signed] = signing.sign([Message(job="backup", context={"text": "é\x00\n{}", "n": [1.5, 10**20, None]})])
    await broker.publisher.publish([signed])
    [delivery] = await broker.consumer("w1").receive(5, SOON)
    assert delivery.message
    assert signing.fault(delivery.message) == ""


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
    taken = {delivery.message.run_id for delivery in await receive_all(dead, 3) if delivery.message}
    await dead.close()
    other = broker.consumer("alive")
    again: set[str] = set()
    while again != taken:
        again |= {one.message.run_id for one in await other.receive(5, timedelta(milliseconds=50)) if one.message}


async def test_what_a_living_worker_could_not_claim_comes_again(broker: Broker) -> None:
    """The store was away: the worker received the message, and neither claims nor acknowledges it."""
    await broker.publisher.publish(messages(1))
    consumer = broker.consumer("w1")
    [first] = await receive_all(consumer, 1)

    async def again() -> list[Delivery]:
        return await consumer.receive(5, MOMENT)

    [second] = await wait_until(again, "the message to come again", 20)
    assert second.message == first.message
    await consumer.ack([second])


async def test_two_workers_share_what_there_is(broker: Broker) -> None:
    if broker.capabilities.ordering is Ordering.PARTITION:
        pytest.skip(f"{broker.configured.name} shares partitions out, not single messages")
    await broker.publisher.publish(messages(4))
    one, two = broker.consumer("w1"), broker.consumer("w2")
    got = [*await receive_all(one, 2), *await receive_all(two, 2)]
    assert len({delivery.message.run_id for delivery in got if delivery.message}) == 4


async def test_a_worker_that_joins_shares_partitions_and_is_handed_nothing_that_another_holds(broker: Broker) -> None:
    if broker.capabilities.ordering is not Ordering.PARTITION:
        pytest.skip(f"{broker.configured.name} has no partitions")
    await broker.publisher.publish(messages(60))
    one, two = broker.consumer("w1"), broker.consumer("w2")
    ours = await one.receive(10, SOON)
    assert ours
    theirs: list[Delivery] = []

    async def all_came() -> bool:
        theirs.extend(await two.receive(60, MOMENT))
        ours.extend(await one.receive(60, MOMENT))
        return len(ours) + len(theirs) >= 60

    await wait_until(all_came, "60 deliveries")
    assert theirs, "the one that joined has its share"
    assert len({one.message.run_id for one in [*ours, *theirs] if one.message}) == len(ours) + len(theirs) == 60
    await one.ack(ours)
    await two.ack(theirs)
    await one.close()
    await two.close()
    assert await broker.consumer("w3").receive(5, MOMENT) == []


async def test_priorities_are_weighted_and_none_starves(broker: Broker) -> None:
    if not broker.capabilities.priorities:
        pytest.skip(f"{broker.configured.name} does not keep priorities apart")
    if broker.calls:
        pytest.skip(f"{broker.configured.name} calls when it likes; test_receiver.py has the order of waiting calls")
    for priority in reversed(Priority):
        await broker.publisher.publish(messages(24, priority))
    consumer = broker.consumer("w1")
    priorities = []
    for _ in range(24):
        [delivery] = await consumer.receive(1, AT_ONCE)
        assert delivery.message
        priorities.append(delivery.message.priority)
        await consumer.ack([delivery])
    assert [priorities.count(priority) for priority in (Priority.HIGH, Priority.NORMAL, Priority.LOW)] == [16, 6, 2]


async def test_within_a_priority_the_order_is_kept_where_the_provider_promises_it(broker: Broker) -> None:
    if broker.capabilities.ordering is not Ordering.PRIORITY:
        pytest.skip(f"{broker.configured.name} keeps order: {broker.capabilities.ordering.value}")
    sent = messages(50)
    await broker.publisher.publish(sent)
    found = await receive_all(broker.consumer("w1"), 50)
    assert [one.message for one in found] == sent


async def test_the_backlog_is_what_no_worker_has_acknowledged(broker: Broker) -> None:
    backlog = broker.configured.provider.backlog
    if backlog is None:
        pytest.skip(f"{broker.configured.name} cannot say what it holds")

    async def held(count: int) -> bool:
        return (await backlog(broker.publisher)).messages == count

    await wait_until(lambda: held(0), "a backlog of 0")
    await broker.publisher.publish([*messages(2, Priority.HIGH), *messages(1, Priority.LOW)])
    consumer = broker.consumer("w1")
    received = await receive_all(consumer, 3)
    assert await held(3), "received is not acknowledged"
    await consumer.ack(received[:1])
    await wait_until(lambda: held(2), "a backlog of 2")
    await consumer.ack(received[1:])
    await wait_until(lambda: held(0), "a backlog of 0 again")
    assert (await backlog(broker.publisher)).oldest == timedelta(0)


class TestDeath:
    """If a worker dies between receiving, claiming and acknowledging, the run is begun once."""

    async def again(self, broker: Broker) -> tuple[Consumer, Delivery]:
        """What a dead worker left comes to another."""
        alive = broker.consumer("alive")

        async def redelivered() -> list[Delivery]:
            return await alive.receive(5, MOMENT)

        [delivery] = await wait_until(redelivered, "the message to come again")
        return alive, delivery

    async def test_before_the_claim_another_claims_it(self, broker: Broker) -> None:
        store = ModelStore()
        await broker.publisher.publish(messages(1))
        dead = broker.consumer("dead")
        await receive_all(dead, 1)
        await dead.close()
        alive, delivery = await self.again(broker)
        assert delivery.message
        assert (await claim(store, delivery.message, "alive")).answer is Answer.RUN
        await alive.ack([delivery])

    async def test_after_the_claim_the_copy_is_a_duplicate(self, broker: Broker) -> None:
        store = ModelStore()
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
        consumer, store = broker.consumer("w1"), ModelStore()
        found = await receive_all(consumer, 3)
        answers = [(await claim(store, one.message)).answer for one in found if one.message]
        assert answers == [Answer.RUN, Answer.DUPLICATE, Answer.DUPLICATE]
        await consumer.ack(found)

    async def test_each_handing_out_is_its_own(self, broker: Broker) -> None:
        [message] = messages(1)
        again = message.model_copy(update={"generation": 2})
        await broker.publisher.publish([message, again])
        found = await receive_all(broker.consumer("w1"), 2)
        assert sorted(one.message.generation for one in found if one.message) == [1, 2]


class TestAcknowledging:
    async def test_many_at_once(self, broker: Broker) -> None:
        if broker.calls:
            pytest.skip(f"{broker.configured.name} calls again if an answer is lost, and the claim discards that copy")
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

    async def test_in_any_order_and_over_all_priorities(self, broker: Broker) -> None:
        for priority in Priority:
            await broker.publisher.publish(messages(3, priority))
        consumer = broker.consumer("w1")
        found = await receive_all(consumer, 9)
        await consumer.ack(found[::-2])
        await consumer.close()
        left = {one.message.run_id for one in found[-2::-2] if one.message}
        other = broker.consumer("w2")
        again: set[str] = set()

        async def all_came() -> bool:
            again.update(one.message.run_id for one in await other.receive(9, MOMENT) if one.message)
            return left <= again

        await wait_until(all_came, "what was not acknowledged")
        if broker.capabilities.ordering is not Ordering.PARTITION:
            assert again == left
        # A broker with partitions keeps one offset for each. It sends again what was acknowledged after a gap.


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
