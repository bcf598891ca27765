"""The resources of every process that runs jobs: store, queues, active runs, and the duties around them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from horae.duties.consumer import Consumer
from horae.duties.duty import Duty
from horae.duties.early_relay import EarlyRelay
from horae.duties.own_messages import OwnMessages
from horae.duties.reconciler import Reconciler
from horae.duties.relay import Relay
from horae.duties.sweeper import Sweeper
from horae.duties.unserved import Unserved
from horae.execution.capture import capturing
from horae.execution.guardian import Guard
from horae.execution.work import Work
from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.queues.base import Consumer as Source
from horae.queues.closing import close_all
from horae.queues.opened import Queues, open_queues
from horae.queues.ready import ReadyList
from horae.redis.keys import READY
from horae.settings import Settings
from horae.store import Store, connect


@dataclass(frozen=True, kw_only=True, slots=True)
class Workplace:
    name: str
    """The name is unique among all processes. Consumers and claims carry it."""
    settings: Settings
    store: Store
    queues: Queues
    work: Work
    metrics: Metrics
    ready: ReadyList | None
    """Messages that a full worker received. None if no provider leaves messages with one worker."""

    def consumer(self, provider: str, source: Source, registry: Registry) -> Consumer:
        """The duty that receives from this source, claims messages, and begins the runs of jobs in the registry."""
        ready = self.ready if provider in self.queues.held else None
        signing = self.queues.signing
        return Consumer(provider, source, self.store, registry, self.work, self.name, self.work.lease, ready, signing)

    def open_sources(self) -> dict[str, Source]:
        """A consumer for each provider that is polled, and for the ready list if there is one. Close them after use."""
        return self.sources(self.queues.open_consumers(self.name, self.metrics.reopened))

    def sources(self, opened: Mapping[str, Source]) -> dict[str, Source]:
        """These sources by name, and the ready list if there is one."""
        return {**opened, **({READY: self.ready.open_consumer(self.name)} if self.ready else {})}

    def movers(self, *, own_only: bool = False) -> list[Duty]:
        """The duties that continue until the last run here is settled: relays, reconcilers and sweeper.

        `own_only`: publish only messages of jobs that only one program declares.
        """
        sweeper = Sweeper(self.store, self.metrics, self.work.lease)
        if own_only:
            return [OwnMessages(self.store), sweeper]
        router = self.queues.router
        after = timedelta(seconds=self.settings.queue.republish_after_seconds)
        relays = [Relay(self.store, router, self.metrics, name) for name in router.names]
        reconcilers = [Reconciler(self.store, router, name, after) for name in router.names]
        return [*relays, *reconcilers, Unserved(self.store, router, after), sweeper]

    def early_relays(self) -> list[Duty]:
        """The duties of the sidecar that give messages to brokers before they are due."""
        router = self.queues.router
        ahead = {name: router.ahead(name) for name in router.names}
        return [EarlyRelay(self.store, router, name, span) for name, span in ahead.items() if span]


@asynccontextmanager
async def open_workplace(
    settings: Settings,
    name: str,
    slots: int,
    metrics: Metrics,
    guard: Guard | None = None,
    left_out: Sequence[str] = (),
) -> AsyncIterator[Workplace]:
    """Open everything, and hand back active runs at the end. Connects at the first use. `guard`: the guardian that
    keeps the leases; without one, a thread of this process does. `left_out`: job files that must not be imported.
    Raises InvalidSettings or NotConfigured for unusable queue settings.
    """
    queues = open_queues(settings)
    ready = ReadyList(settings) if queues.held and settings.store.url else None
    lease = timedelta(seconds=settings.worker.lease_seconds)
    try:
        async with connect(settings) as store:
            with capturing():
                async with Work(settings, store, metrics, slots, lease, guard, left_out) as work:
                    yield Workplace(
                        name=name,
                        settings=settings,
                        store=store,
                        queues=queues,
                        work=work,
                        metrics=metrics,
                        ready=ready,
                    )
    finally:
        await close_all([queues.router, *([ready] if ready else [])])
