"""Keeps the store's word on which flows are paused to Prefect's: they may be paused in its UI too."""

from horae.jobs.policies import Tier
from horae.prefect.api import PrefectApi
from horae.project.registry import Registry
from horae.store.base import Store

POLL_SECONDS = 15.0


class FlowPauses:
    """Prefect pauses flows; the store is where `horae jobs` reads that they are."""

    name = "flow pauses"

    def __init__(self, store: Store, registry: Registry, prefect: PrefectApi) -> None:
        self._store, self._prefect = store, prefect
        self._flows = {job.deployment: job.name for job in registry.by_tier(Tier.PREFECT) if job.deployment}

    async def step(self) -> float:
        paused, known = set[str](), set[str]()
        for deployment, job in self._flows.items():
            if found := await self._prefect.deployment_by_name(deployment):
                known.add(job)
                if found.paused:
                    paused.add(job)
        marked = await self._store.pauses.paused()
        # While everything is paused, no flow is so by name, or resuming everything would leave it out.
        if None not in marked:
            for job in paused - marked:
                await self._store.pauses.pause(job)
        for job in (known - paused) & marked:
            await self._store.pauses.resume(job)
        return POLL_SECONDS
