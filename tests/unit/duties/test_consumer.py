"""A claim whose answer comes so late that its lease may be gone is not begun."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from horae.duties import consumer as room
from horae.duties.consumer import LATE_SHARE, Consumer
from horae.execution.work import Work
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.messages import Message
from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.queues.base import Delivery
from horae.runs import State, new_run_id
from horae.settings import Settings
from tests.contract.stores import state
from tests.model import ModelStore
from tests.waiting import wait_until

LEASE = timedelta(seconds=6)


class OneMessage:
    """A source that has one message."""

    def __init__(self, message: Message) -> None:
        self._waiting = [Delivery(body=message.encode(65536), message=message, receipt=None)]
        self.acknowledged = 0

    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        found, self._waiting = self._waiting, []
        return found

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        self.acknowledged += len(deliveries)

    async def close(self) -> None: ...


@pytest.mark.parametrize("late", [False, True])
async def test_a_claim_that_is_answered_late_is_left_to_another_worker(
    monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    times: list[int] = []

    async def count() -> None:
        times.append(1)

    registry, store = Registry(), ModelStore()
    registry.add(Job(name="count", tier=Tier.ONEIRIC, function=count))
    message = Message(job="count", run_id=new_run_id())
    took = LEASE.total_seconds() * LATE_SHARE + (0.1 if late else -0.1)
    instants = iter((100.0, 100.0 + took))
    monkeypatch.setattr(room, "monotonic", lambda: next(instants))
    source = OneMessage(message)
    async with Work(Settings(), store, Metrics(), 1, LEASE) as work:
        await Consumer("redis", source, store, registry, work, "w1", LEASE).step()
        await wait_until(lambda: source.acknowledged == 1, "the acknowledgement")
        if late:
            assert work.free == 1
        else:
            await wait_until(lambda: work.free == 1, "the run to end")
        run = await state(store, message.run_id)
        assert (times, run.state) == (([], State.RUNNING) if late else ([1], State.RAN))
