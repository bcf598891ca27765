"""What happens when an internal job falls due: which sidecar runs it, what overlaps, and what the ledger keeps."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from horae.apscheduler.paused_jobs import PausedJobs
from horae.clock import now
from horae.errors import StoreError, StoreUnavailable
from horae.execution.work import Work
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Overlap, Scope
from horae.messages import Message
from horae.reasons import Reason
from horae.runs import Cause, Run, State, Verdict, fire_id
from horae.store.base import Store
from horae.store.values import Answer, Claim, NewRun, Settlement

log = logging.getLogger(__name__)
KEEP_EACH = 20
"""Runs of a `scope="each"` job that stay in the ledger."""
STORE_WAIT_SECONDS = 1.0
UNRECORDED = 1000
"""Rows that wait here while the store is away, the newest."""


class InternalFires:
    """`sidecar` names this process among the others. `results` has the last result of each job run here.

    `on_result` gets every result of a run that went well. `now` is the clock that the jobs go by.
    """

    def __init__(
        self,
        store: Store,
        work: Work,
        sidecar: str,
        on_result: Callable[[Any], None] = lambda result: None,
        now: Callable[[], datetime] = now,
    ) -> None:
        self._store, self._work, self._sidecar, self._on_result, self._now = store, work, sidecar, on_result, now
        self._paused = PausedJobs(store.pauses)
        self.results: dict[str, Any] = {}
        self._here: Counter[str] = Counter()
        """How many runs of each `scope="each"` job go on here: a run that was asked for may be beside a fire's."""
        self._unrecorded: deque[Run] = deque(maxlen=UNRECORDED)
        self.last_fired: dict[str, datetime] = {}

    async def fire(self, job: Job, due: Sequence[datetime]) -> None:
        """The fires of a job that came due together, oldest first: one, or more after this process was suspended."""
        self.last_fired[job.name] = due[-1]
        *older, newest = due
        for at in older:
            if job.catch_up is CatchUp.ALL and self._now() - at <= job.catch_up_window:
                await self._run(job, at)
        if self._now() - newest <= job.catch_up_window:
            await self._run(job, newest)

    async def run_once(self, job: Job, run_id: str) -> None:
        """Run it now under that id, because somebody asked, beside a fire that may be on; nothing if it was before."""
        try:
            if await self._store.ledger.run(run_id):
                return
        except StoreError:
            pass  # a job that needs no store runs without one
        if job.scope is Scope.ONE:
            await self._claimed(job, self._new(job, run_id, Cause.MANUAL, None))
        else:
            await self._each(job, run_id, Cause.MANUAL, None)

    async def _run(self, job: Job, at: datetime) -> None:
        namespace = self._store.namespace
        if job.scope is Scope.ONE:
            await self._claimed(job, self._new(job, fire_id(namespace, job.name, at), Cause.SCHEDULE, at))
        else:
            await self._each(job, fire_id(f"{namespace}/{self._sidecar}", job.name, at), Cause.SCHEDULE, at)

    def _new(self, job: Job, run_id: str, cause: Cause, at: datetime | None) -> NewRun:
        return NewRun(run_id=run_id, job=job.name, tier=job.tier, cause=cause, scheduled_for=at)

    async def _claimed(self, job: Job, new: NewRun) -> None:
        """One sidecar runs it. While the store is away the fire waits, until the next one takes its place."""
        claim = None
        overlap = job.overlap if new.cause is Cause.SCHEDULE else Overlap.ALLOW
        while claim is None:
            try:
                claim = await self._store.claims.begin(new, overlap, self._sidecar, self._work.lease)
            except StoreUnavailable:
                await asyncio.sleep(STORE_WAIT_SECONDS)
                following = job.next_fire(new.scheduled_for) if new.scheduled_for else None
                if following and following <= self._now():
                    extra = {"action": "fire_dropped", "job": job.name}
                    log.warning(
                        "dropped a fire of %s in favour of a newer fire: the store does not answer",
                        job.name,
                        extra=extra,
                    )
                    return
        if claim.answer is Answer.RUN:
            settlement = await self._work.begin(job, claim)
            self._keep(job, settlement)

    async def _each(self, job: Job, run_id: str, cause: Cause, at: datetime | None) -> None:
        """Every sidecar runs it, with or without the store."""
        if cause is Cause.SCHEDULE and await self._paused.holds(job.name):
            await self._skip(job, run_id, cause, at, Reason.PAUSED)
            return
        if cause is Cause.SCHEDULE and self._here[job.name] and job.overlap is not Overlap.ALLOW:
            await self._skip(job, run_id, cause, at, Reason.OVERLAP)
            return
        began = self._now()
        self._here[job.name] += 1
        try:
            settlement = await self._work.begin(job, _unclaimed(job, run_id, at))
        finally:
            self._here[job.name] -= 1
        if settlement:
            self._keep(job, settlement)
            await self._record(job, run_id, cause, at, began, settlement)

    def _keep(self, job: Job, settlement: Settlement | None) -> None:
        if settlement and settlement.verdict is Verdict.RAN:
            self.results[job.name] = settlement.result
            self._on_result(settlement.result)

    async def _skip(self, job: Job, run_id: str, cause: Cause, at: datetime | None, why: Reason) -> None:
        skipped = Settlement(claim=_unclaimed(job, run_id, at), verdict=Verdict.SKIPPED, reason=why)
        await self._record(job, run_id, cause, at, self._now(), skipped)

    async def _record(
        self, job: Job, run_id: str, cause: Cause, at: datetime | None, began: datetime, settlement: Settlement
    ) -> None:
        verdict = settlement.verdict or Verdict.CANCELLED
        skipped = verdict is Verdict.SKIPPED
        row = Run(
            run_id=run_id,
            job=job.name,
            tier=job.tier,
            cause=cause,
            state=State(verdict.value),
            scheduled_for=at,
            reason=settlement.reason,
            note=settlement.note,
            attempts=0 if skipped else 1,
            started_at=None if skipped else began,
            ended_at=self._now(),
            worker=self._sidecar,
            progress=settlement.progress,
            result=settlement.result,
            failure=settlement.failure,
        )
        self._unrecorded.append(row)
        try:
            await self._write_rows()
        except StoreError as error:
            log.debug("cannot record a run of %s yet: %s", job.name, error, extra={"action": "run_not_recorded"})

    async def _write_rows(self) -> None:
        """Those of `scope="each"`, with those that found the store away."""
        rows = list(self._unrecorded)
        for name in {row.job for row in rows}:
            await self._store.ledger.record([row for row in rows if row.job == name], keep=KEEP_EACH)
        for row in rows:
            with suppress(ValueError):  # the store was away for so long that a newer row took its place
                self._unrecorded.remove(row)


def _unclaimed(job: Job, run_id: str, at: datetime | None) -> Claim:
    """No store stands behind it: no token, no lease."""
    message = Message(job=job.name, run_id=run_id, scheduled_for=at)
    return Claim(message=message, answer=Answer.RUN, attempts=1)
