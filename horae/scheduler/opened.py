"""The resources of an open scheduler: its workplace, the worker inside this program, and the internal tasks."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from horae.apscheduler.fires import InternalFires
from horae.duties.workplace import Workplace, open_workplace
from horae.errors import StoreError
from horae.jobs.policies import Tier
from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.runs import Run, State, new_run_id
from horae.scheduler.stores import with_store
from horae.scheduler.worker import ProgramWorker, is_own
from horae.settings import Settings
from horae.store.values import Only

if TYPE_CHECKING:
    from horae.apscheduler.scheduler import InternalScheduler

log = logging.getLogger(__name__)
SLOTS = 16
OPEN = Only(
    states=frozenset({State.PENDING, State.QUEUED, State.RUNNING, State.RETRYING}), tiers=frozenset({Tier.ONEIRIC})
)
LOOK_SECONDS = 2.0
"""For the last look at the ledger, when a program leaves."""
TOLD = 10
"""The most open runs that the log names when a program exits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenScheduler:
    """The resources of an open scheduler."""

    place: Workplace
    registry: Registry
    internal: "InternalScheduler"
    worker: ProgramWorker
    embedded: bool
    """Whether the store is an embedded one. Only programs like this one use it."""

    async def drain(self) -> None:
        """Accept no more work, wait for the runs of this program, return the rest, and log the runs that stay open."""
        await self.worker.stop_taking()
        await self.place.work.drain(self.place.settings.sidecar.grace_seconds)
        try:
            runs = await asyncio.wait_for(self._open_runs(), LOOK_SECONDS)
        except (StoreError, TimeoutError) as error:
            why = str(error) or f"no answer within {LOOK_SECONDS:g} s"
            log.warning("the store does not answer, so the runs that are still open are unknown: %s", why)
            return
        if runs:
            named = ", ".join(f"{run.run_id} ({run.job}, {run.state.value})" for run in runs[:TOLD])
            more = " and more" if len(runs) > TOLD else ""
            who = "this program, or `horae up`," if self.embedded else "this program"
            text = "these runs are still open: %s%s; they stay in the store, and %s continues them when it starts"
            extra = {"action": "runs_open", "runs": [run.run_id for run in runs[:TOLD]]}
            log.warning(text, named, more, who, extra=extra)

    async def _open_runs(self) -> Sequence[Run]:
        """The open runs of jobs that only this program runs, newest first. At most one more than the log names."""
        ledger = self.place.store.ledger
        if not self.worker.receives:
            return []
        if self.embedded:
            return await ledger.runs(only=OPEN, limit=TOLD + 1)
        own = [job.name for job in self.registry if is_own(job)]
        return [run for name in own for run in await ledger.runs(job=name, only=OPEN, limit=TOLD + 1)]


async def opened(settings: Settings, registry: Registry, stack: AsyncExitStack, *, receives: bool) -> OpenScheduler:
    """Open a scheduler. Raises StartError, StoreUnavailable or UnsafeStore if the embedded store cannot be used."""
    from horae.apscheduler.scheduler import InternalScheduler

    found, embedded = await with_store(settings, stack)
    name = f"scheduler:{new_run_id()[-12:]}"
    place = await stack.enter_async_context(open_workplace(found, name, SLOTS, Metrics()))
    if embedded:
        await place.store.check()
    worker = ProgramWorker(place, registry, receives=receives, everything=embedded)
    await stack.enter_async_context(worker)
    internal = await stack.enter_async_context(InternalScheduler(InternalFires(place.store, place.work, name).fire))
    return OpenScheduler(place=place, registry=registry, internal=internal, worker=worker, embedded=embedded)
