"""Finds the fires of internal jobs that no sidecar handled, because none was alive or it hung. They get the verdict
`missed: no sidecar`.
"""

import logging
from datetime import datetime, timedelta

from horae.apscheduler.due import newest_due
from horae.apscheduler.fires import KEEP_EACH
from horae.jobs.job import Job
from horae.jobs.policies import Scope, Tier
from horae.project.registry import Registry
from horae.reasons import Reason
from horae.runs import Cause, Run, State, fire_id
from horae.store.base import Store
from horae.store.cursors import Watched

log = logging.getLogger(__name__)
POLL_SECONDS = 30.0
PATIENCE = timedelta(seconds=60)
"""A fire without a row may still get one within this time, for example after a restart of a sidecar or of the store."""
ROWS = 1000
"""The most fires of one job that are written at once. After a longer absence only the newest are written."""


class Absences:
    """Every sidecar writes the same rows with the same ids. `revision` orders definitions. Fires of a job count from
    the first sight of its definition, so a new job or an edited schedule has no missed fires before that.
    """

    name = "absences"

    def __init__(self, store: Store, registry: Registry, revision: int) -> None:
        self._store, self._revision = store, revision
        self._jobs = {job.name: job for job in registry.by_tier(Tier.APSCHEDULER) if job.schedule}
        self._watched = [Watched(job=job.name, fingerprint=job.fingerprint) for job in self._jobs.values()]
        self._seen = False

    async def step(self) -> float:
        since = await self._store.cursors.watch(self._watched, self._revision)
        if not self._seen:
            # Let the jobs fire first. A fire that was missed before this start is history, and not the present state of
            # the job.
            self._seen = True
            return PATIENCE.total_seconds()
        until = await self._store.now() - PATIENCE
        accounted = []
        for one in self._watched:
            if one.job in since and await self._look(self._jobs[one.job], since[one.job], until):
                accounted.append(one)
        if accounted:
            await self._store.cursors.account(accounted, until)
        return POLL_SECONDS

    async def _look(self, job: Job, since: datetime, until: datetime) -> bool:
        """False if no fire was due."""
        due = newest_due(job, since, until, ROWS)
        if not due:
            return False
        rows = await self._store.ledger.runs(job=job.name, since=due[0], limit=ROWS)
        seen = {run.scheduled_for for run in rows}
        missed = [at for at in due if at not in seen]
        if missed:
            await self._write(job, missed)
        return True

    async def _write(self, job: Job, missed: list[datetime]) -> None:
        each = job.scope is Scope.EACH
        runs = [self._run(job, at) for at in (missed[-KEEP_EACH:] if each else missed)]
        await self._store.ledger.record(runs, keep=KEEP_EACH if each else None)
        extra = {"action": "fires_missed", "job": job.name, "fires": len(missed)}
        log.warning("%d fires of %s were missed: %s", len(missed), job.name, Reason.NO_SIDECAR.value, extra=extra)

    def _run(self, job: Job, at: datetime) -> Run:
        return Run(
            run_id=fire_id(self._store.namespace, job.name, at),
            job=job.name,
            tier=job.tier,
            cause=Cause.SCHEDULE,
            state=State.MISSED,
            scheduled_for=at,
            reason=Reason.NO_SIDECAR,
        )
