"""What the relay publishes, on the store's server and on another, and that no message holds up others."""

from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from horae.duties.relay import Relay
from horae.jobs.policies import Tier
from horae.metrics.process import Metrics
from horae.queues.base import Delivery
from horae.queues.opened import open_queues
from horae.runs import Cause, State
from horae.settings import QueueSettings, Settings
from horae.store import connect
from horae.store.values import NewRun
from tests.model import ModelStore
from tests.waiting import wait_until

MILLI = timedelta(milliseconds=1)


def new(run_id: str, blob: str = "", **fields: Any) -> NewRun:
    return NewRun(run_id=run_id, job="backup", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, context={"blob": blob}, **fields)


async def test_what_falls_due_comes_to_a_worker(carried_both_ways: Settings) -> None:
    queues = open_queues(carried_both_ways)
    [consumer] = queues.open_consumers("w1").values()
    async with connect(carried_both_ways) as store:
        due = await store.now() + 5 * MILLI
        await store.outbox.accept([new("r1", due=due, provider="redis"), new("r2", due=due)])
        relay, received = Relay(store, queues.router, Metrics(), "redis"), list[Delivery]()

        async def both() -> bool:
            await relay.step()
            received.extend(await consumer.receive(10, timedelta(0)))
            return len(received) == 2

        await wait_until(both, "both messages")
        assert {delivery.message.run_id for delivery in received if delivery.message} == {"r1", "r2"}
        assert [run.state for run in await store.ledger.runs()] == [State.QUEUED, State.QUEUED]
    await consumer.close()
    await queues.router.close()


async def test_a_message_that_has_become_too_large_holds_up_no_other(valkey_url: str, namespace: str) -> None:
    store = ModelStore(namespace)
    queue = QueueSettings(message_limit_bytes=1024, redis_url=SecretStr(valkey_url))
    queues = open_queues(Settings(namespace=namespace, queue=queue))
    await store.outbox.accept([new("small-1"), new("large", "x" * 2000), new("small-2")])
    await Relay(store, queues.router, Metrics(), "redis").step()
    [consumer] = queues.open_consumers("w1").values()
    received = await consumer.receive(10, timedelta(0))
    assert {delivery.message.run_id for delivery in received if delivery.message} == {"small-1", "small-2"}
    large = await store.ledger.run("large")
    assert large
    assert large.state is State.PENDING, "it waits; nothing accepted is lost"
    await consumer.close()
    await queues.router.close()
