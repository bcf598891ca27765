"""Copies to the store which flows are paused in Prefect, because they can also be paused in Prefect's UI."""

from horae.jobs.policies import Tier
from horae.prefect.api import PrefectApi
from horae.project.registry import Registry
from horae.store.base import Store

POLL_SECONDS = 15.0


class FlowPauses:
    """Prefect pauses flows. `horae jobs` reads the pauses from the store."""

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
        # While all jobs are paused, do not pause flows by name. Otherwise resuming all would leave them paused.
        if None not in marked:
            for job in paused - marked:
                await self._store.pauses.pause(job)
        for job in (known - paused) & marked:
            await self._store.pauses.resume(job)
        return POLL_SECONDS
