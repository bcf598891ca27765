"""What every process that runs jobs has: store, queues, the runs that go on here, and the duties around them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from horae.duties.consumer import Consumer
from horae.duties.duty import Duty
from horae.duties.own_messages import OwnMessages
from horae.duties.reconciler import Reconciler
from horae.duties.relay import Relay
from horae.duties.strays import Strays
from horae.duties.sweeper import Sweeper
from horae.execution.capture import capturing
from horae.execution.guardian import Guard
from horae.execution.work import Work
from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.queues.base import Consumer as Source
from horae.queues.opened import Queues, open_queues
from horae.settings import Settings
from horae.store import Store, connect


@dataclass(frozen=True, kw_only=True, slots=True)
class Workplace:
    name: str
    """Unique among all processes; consumers and claims bear it."""
    settings: Settings
    store: Store
    queues: Queues
    work: Work
    metrics: Metrics

    def consumer(self, provider: str, source: Source, registry: Registry) -> Consumer:
        """The duty that receives from that source, claims, and begins what the registry knows."""
        return Consumer(provider, source, self.store, registry, self.work, self.name, self.work.lease)

    def movers(self, *, own_only: bool = False) -> list[Duty]:
        """The duties that must go on until the last run here is settled: relays, reconcilers and sweeper.

        `own_only`: publish nothing but messages of jobs that one program alone declares.
        """
        sweeper = Sweeper(self.store, self.metrics, self.work.lease)
        if own_only:
            return [OwnMessages(self.store), sweeper]
        router = self.queues.router
        after = timedelta(seconds=self.settings.queue.republish_after_seconds)
        relays = [Relay(self.store, router, self.metrics, name) for name in router.names]
        reconcilers = [Reconciler(self.store, router, name, after) for name in router.names]
        return [*relays, *reconcilers, Strays(self.store, router, after), sweeper]


@asynccontextmanager
async def open_workplace(
    settings: Settings,
    name: str,
    slots: int,
    metrics: Metrics,
    guard: Guard | None = None,
    left_out: Sequence[str] = (),
) -> AsyncIterator[Workplace]:
    """Open everything; leaving it hands back what still runs. Connects when first used.

    `guard`: who keeps the leases; without one a thread of this process does. `left_out`: job files that
    are not to be imported.

    Raises InvalidSettings or NotConfigured for queue settings that cannot be used.
    """
    queues = open_queues(settings)
    lease = timedelta(seconds=settings.worker.lease_seconds)
    try:
        async with connect(settings) as store:
            with capturing():
                async with Work(settings, store, metrics, slots, lease, guard, left_out) as work:
                    yield Workplace(
                        name=name, settings=settings, store=store, queues=queues, work=work, metrics=metrics
                    )
    finally:
        await queues.router.close()
