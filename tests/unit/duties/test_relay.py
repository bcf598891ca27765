"""What the relay publishes, and what it does not let one message do to the others."""

from datetime import timedelta

from horae.duties.relay import Relay
from horae.jobs.policies import Tier
from horae.metrics.process import Metrics
from horae.queues.opened import open_queues
from horae.runs import Cause, State
from horae.settings import QueueSettings, Settings
from horae.store.memory import MemoryStore
from horae.store.values import NewRun


def new(id: str, blob: str = "") -> NewRun:
    return NewRun(run_id=id, job="backup", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, context={"blob": blob})


async def test_a_message_that_has_become_too_large_holds_up_no_other() -> None:
    store = MemoryStore()
    queues = open_queues(Settings(queue=QueueSettings(message_limit_bytes=1024)))
    await store.outbox.accept([new("small-1"), new("large", "x" * 2000), new("small-2")])
    await Relay(store, queues.router, Metrics()).step()
    [consumer] = queues.open_consumers("w1").values()
    received = await consumer.receive(10, timedelta(0))
    assert {delivery.message.run_id for delivery in received if delivery.message} == {"small-1", "small-2"}
    large = await store.ledger.run("large")
    assert large
    assert large.state is State.PENDING, "it waits; nothing accepted is lost"
