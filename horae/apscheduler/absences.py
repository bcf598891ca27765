"""Finds the fires of internal jobs that nobody saw: no sidecar was alive, or it hung. They are `missed: no sidecar`."""

import logging
from collections import deque
from datetime import datetime, timedelta

from horae.apscheduler.fires import KEEP_EACH
from horae.jobs.job import Job
from horae.jobs.policies import Scope, Tier
from horae.project.registry import Registry
from horae.runs import Cause, Run, State, fire_id
from horae.store.base import Store

log = logging.getLogger(__name__)
POLL_SECONDS = 30.0
PATIENCE = timedelta(seconds=60)
"""A fire without a row may still be on its way for so long: a sidecar restarts, a store comes back."""
FIRST_ROWS = 100
"""The newest rows of a job, in which the first look finds where it fired last."""
ROWS = 1000
"""Fires of one job that are written at once, the newest; of a longer absence the older ones are not."""
REASON = "no sidecar"


class Absences:
    """Whatever sidecar looks, it writes the same rows under the same ids."""

    name = "absences"

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._jobs = [job for job in registry.by_tier(Tier.APSCHEDULER) if job.schedule]
        self._looked: dict[str, datetime] = {}
        """Up to when each job's fires are accounted for."""

    async def step(self) -> float:
        until = await self._store.now() - PATIENCE
        for job in self._jobs:
            since = self._looked.get(job.name)
            following = job.next_fire(since) if since else None
            if since and (following is None or following > until):
                continue
            rows = await self._store.ledger.runs(job=job.name, since=since, limit=ROWS if since else FIRST_ROWS)
            seen = {run.scheduled_for for run in rows if run.scheduled_for}
            missed = unseen(job, seen, since or min(seen, default=until), until)
            if missed:
                await self._write(job, missed)
            self._looked[job.name] = until
        return POLL_SECONDS

    async def _write(self, job: Job, missed: list[datetime]) -> None:
        each = job.scope is Scope.EACH
        runs = [self._run(job, at) for at in (missed[-KEEP_EACH:] if each else missed)]
        await self._store.ledger.record(runs, keep=KEEP_EACH if each else None)
        extra = {"action": "fires_missed", "job": job.name, "fires": len(missed)}
        log.warning("%d fires of %s were missed: %s", len(missed), job.name, REASON, extra=extra)

    def _run(self, job: Job, at: datetime) -> Run:
        return Run(
            run_id=fire_id(self._store.namespace, job.name, at),
            job=job.name,
            tier=job.tier,
            cause=Cause.SCHEDULE,
            state=State.MISSED,
            scheduled_for=at,
            reason=REASON,
        )


def unseen(job: Job, seen: set[datetime], since: datetime, until: datetime) -> list[datetime]:
    """The fires after `since` up to `until` that nobody saw, the newest ROWS, oldest first."""
    found: deque[datetime] = deque(maxlen=ROWS)
    at = job.next_fire(since)
    while at is not None and at <= until:
        if at not in seen:
            found.append(at)
        at = job.next_fire(at)
    return list(found)
