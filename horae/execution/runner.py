"""Runs one claimed run: time limit, isolation, cancellation, verdict."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from horae.clock import isoformat
from horae.errors import Abandoned, RunFailed, StoreError, TimedOut
from horae.execution.calling import outcome_of, result_of
from horae.execution.capture import Output, to_output
from horae.execution.children import Children
from horae.execution.failures import settlement_of
from horae.execution.lines import LINE_LIMIT, sound
from horae.execution.results import name_of, words_of
from horae.execution.run_logs import RunLogs
from horae.execution.threads import begin
from horae.jobs.context import RunContext, running
from horae.jobs.job import Job
from horae.jobs.policies import Isolation, Tier
from horae.project.loading import job_settings
from horae.reasons import Reason
from horae.runs import Verdict
from horae.settings import Settings
from horae.store.base import Claims
from horae.store.values import Claim, Settlement, Stop

log = logging.getLogger(__name__)
HEED_SECONDS = 5.0
"""How long an async job may continue after its time limit cancelled it. Then the process must restart."""


@dataclass(slots=True, eq=False)
class Active:
    """A run that is active in this process."""

    claim: Claim
    job: Job
    body: "asyncio.Task[Any] | None" = None
    """The task of the job itself, apart from the task that settles. A job may cancel its task and raise anything
    in it.
    """
    stop: Stop | None = None
    timed_out: bool = False
    ended: bool = False
    """The job has ended; only the settlement is left."""
    progress: str = ""
    """The last progress that it reported."""
    reporting: bool = False
    """A report of the progress to the store is scheduled."""

    def cancel(self, why: Stop) -> None:
        """Ask the run to end. The first reason counts."""
        if self.stop is None and not self.ended:
            self.stop = why
            if self.body:
                self.body.cancel()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The data that is the same for every run of a job in this process."""

    is_async: bool
    has_child: bool
    """A child process can run the job: a file of the project declares it, and it is durable."""
    limit_seconds: float | None
    settings: Any


class Runner:
    """Runs claims of one process. `abandoned` counts runs that could not be stopped: the process must be restarted."""

    def __init__(self, settings: Settings, claims: Claims, logs: RunLogs, children: Children) -> None:
        self._settings, self._claims, self._logs, self._children = settings, claims, logs, children
        self._plans: dict[str, Plan] = {}
        self.abandoned = 0

    async def run(self, active: Active) -> Settlement | None:
        """Run it to its end, or until `active.cancel` ends it. None if its lease is lost, because then another process
        settles it.
        """
        job, claim = active.job, active.claim
        try:
            result = None if active.stop else await self._limited(active)
        except Exception as error:
            if active.stop and not active.timed_out:
                return self.stopped(active)
            self._say(job, claim, f"failed: {_told(error)}")
            return settlement_of(job, claim, error)
        if active.stop:
            return self.stopped(active)
        return Settlement(claim=claim, verdict=Verdict.RAN, result=result, progress=active.progress)

    def stopped(self, active: Active) -> Settlement | None:
        """The end of a run that was stopped."""
        assert active.stop
        self._say(active.job, active.claim, f"stopped: {active.stop.value}")
        if active.stop is Stop.LEASE_LOST:
            return None
        verdict = Verdict.CANCELLED if active.stop in (Stop.OVERLAP, Stop.REQUESTED) else None
        if active.job.tier is Tier.APSCHEDULER and active.stop is Stop.DRAINING:
            verdict = Verdict.CANCELLED  # an internal run may be lost with its sidecar
        return Settlement(claim=active.claim, verdict=verdict, reason=Reason(active.stop.value))

    async def _limited(self, active: Active) -> Any:
        """The result. After its time limit the job is cancelled, and this waits for its end. Raises RunFailed for an
        exception of the job, TimedOut, ChildDied, or NotBegun.
        """
        plan = self._plans.get(active.job.name) or self._plan(active.job)
        # It begins at once, and what needs no waiting ends without another round of the event loop.
        loop, name = asyncio.get_running_loop(), f"run of {active.job.name}"
        body = active.body = asyncio.Task(self._body(active, plan), loop=loop, name=name, eager_start=True)
        try:
            if not body.done():
                await asyncio.wait([body], timeout=plan.limit_seconds)
            if not body.done():
                active.timed_out = active.stop is None
                body.cancel()
                await asyncio.wait([body], timeout=HEED_SECONDS)
            if not body.done():
                self._unheeded(active)
                await asyncio.wait([body])
        except asyncio.CancelledError:
            body.cancel()
            raise
        if active.timed_out:
            # A value or an exception after a cancellation that the job caught is not a complete result.
            raise _over_limit(active.job, body)
        if body.cancelled() and not active.stop:
            raise RunFailed(asyncio.CancelledError.__name__, "the job cancelled the task that it runs in", "")
        return None if body.cancelled() else body.result()

    async def _body(self, active: Active, plan: Plan) -> Any:
        try:
            return await self._call(active, plan)
        finally:
            active.ended = True

    def _unheeded(self, active: Active) -> None:
        """The job ignored its cancellation. When this process has ended, another process runs it in a child that can be
        killed.
        """
        self.abandoned += 1
        self._say(
            active.job,
            active.claim,
            f"ignored its cancellation and continues, over its time limit of {active.job.time_limit}",
        )

    def _plan(self, job: Job) -> Plan:
        plan = Plan(
            is_async=job.is_async,
            has_child=job.tier is Tier.ONEIRIC and job.source is not None,
            limit_seconds=job.time_limit.total_seconds() if job.time_limit else None,
            settings=job_settings(self._settings, job),
        )
        self._plans[job.name] = plan
        return plan

    async def _call(self, active: Active, plan: Plan) -> Any:
        job, claim = active.job, active.claim
        assert job.function, f"{job.name} has no function"
        with self._logs.open(claim.message.run_id) as log:
            progress = self._progress(active, log)
            if plan.has_child and (claim.alone or (not plan.is_async and job.isolation is Isolation.CHILD)):
                # Run a suspect in a child, whatever it is. If it kills its process again, no other run is affected.
                return await self._children.run(self._request(job, claim), log, progress)
            with running(self._context(job, claim, plan, progress)), to_output(log):
                call = partial(job.function, **claim.message.context)
                if not plan.is_async:
                    call = partial(_given, await self._in_thread(job, call))
                return await outcome_of(call)

    async def _in_thread(self, job: Job, call: Callable[[], Any]) -> Any:
        """A thread cannot be stopped. After the limit it is left alone, and the process must restart."""
        thread = begin(partial(result_of, call))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            if not thread.done():
                self.abandoned += 1
                thread.add_done_callback(_ignore_outcome)
                raise Abandoned(
                    f"over its time limit of {job.time_limit}, in a thread that cannot be stopped and continues"
                ) from None
            raise

    def _request(self, job: Job, claim: Claim) -> dict[str, Any]:
        scheduled = claim.message.scheduled_for
        run = {
            "run_id": claim.message.run_id,
            "attempt": claim.attempts,
            "token": claim.token,
            "scheduled_for": isoformat(scheduled) if scheduled else None,
        }
        assert job.source, f"{job.name} has no file"
        return {"job": job.name, "file": job.source.file, "run": run, "context": claim.message.context}

    def _context(self, job: Job, claim: Claim, plan: Plan, progress: Callable[[str], None]) -> RunContext:
        return RunContext(
            job=job.name,
            run_id=claim.message.run_id,
            project=self._settings.project,
            attempt=claim.attempts,
            token=claim.token,
            scheduled_for=claim.message.scheduled_for,
            settings=plan.settings,
            report=progress,
        )

    def _progress(self, active: Active, log: Output) -> Callable[[str], None]:
        loop, claim = asyncio.get_running_loop(), active.claim

        def report(text: str) -> None:
            active.progress = sound(str(text)[:LINE_LIMIT])
            log.log("PROGRESS", active.progress)
            # without a token, the ledger gets the progress at the end of the run
            if claim.token and not active.reporting:
                active.reporting = True
                loop.call_soon_threadsafe(lambda: _background.add(asyncio.ensure_future(self._report(active))))

        return report

    async def _report(self, active: Active) -> None:
        """While the store is written to, keep only the last of several reports."""
        active.reporting = False
        try:
            await self._claims.report(active.claim, active.progress[:500])
        except StoreError as error:
            extra = {"action": "progress_lost", "run_id": active.claim.message.run_id}
            log.debug("cannot store the progress of a run: %s", error, extra=extra)
        finally:
            _background.discard(asyncio.current_task())

    def _say(self, job: Job, claim: Claim, text: str) -> None:
        log.warning(
            "%s %s",
            job.name,
            text,
            extra={
                "action": "run_ended_badly",
                "job": job.name,
                "run_id": claim.message.run_id,
                "attempt": claim.attempts,
            },
        )


_background: set[Any] = set()


def _over_limit(job: Job, body: "asyncio.Task[Any]") -> TimedOut:
    raised = None if body.cancelled() else body.exception()
    if isinstance(raised, TimedOut):
        return raised
    error = TimedOut(f"over its time limit of {job.time_limit}")
    error.__cause__ = raised
    return error


def _told(error: Exception) -> str:
    return words_of(error) if isinstance(error, RunFailed) else f"{name_of(error)}: {words_of(error)}"


def _given(value: Any) -> Any:
    return value


def _ignore_outcome(task: "asyncio.Future[Any]") -> None:
    if not task.cancelled():
        task.exception()
