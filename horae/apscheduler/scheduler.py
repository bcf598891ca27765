"""APScheduler fires the internal jobs, by our schedules: its own cron numbers weekdays from Monday."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any

from apscheduler.events import EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from horae.apscheduler.due import newest_due
from horae.apscheduler.steady_clock import SteadyClock
from horae.errors import InvalidJob
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp

log = logging.getLogger(__name__)
type Fire = Callable[[Job, Sequence[datetime]], Awaitable[None]]
MOST = 1_000
"""Fires of a job with catch_up="all" that are run after a gap, the newest."""
MANY = 1_000_000
"""Overlap is decided by the job's own policy, not by APScheduler's count of instances."""


class JobTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires when the job says. APScheduler reads the host's clock, which may be `ahead` of the one that jobs go by."""

    def __init__(self, job: Job, ahead: timedelta) -> None:
        self.job, self.ahead = job, ahead

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        due = now - self.ahead
        if previous_fire_time is None:
            fire = self.job.next_fire(due)
        else:
            fire = following(self.job, previous_fire_time - self.ahead, due)
        return fire + self.ahead if fire else None

    def __str__(self) -> str:
        return str(self.job.schedule)


class FireExecutor(BaseExecutor):  # type: ignore[misc]
    """Hands the fires to `fire` as tasks, with the instants that they were due."""

    def __init__(self, fire: Fire) -> None:
        super().__init__()
        self._fire = fire
        self._tasks: set[asyncio.Task[None]] = set()

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        task = asyncio.get_running_loop().create_task(self._run(job, run_times))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Any, run_times: list[datetime]) -> None:
        due = [at.astimezone(UTC) - job.trigger.ahead for at in run_times]
        try:
            await self._fire(job.args[0], due)
        except Exception:
            log.exception("cannot fire %s", job.id, extra={"action": "fire_failed", "job": job.id})
        events = [JobExecutionEvent(EVENT_JOB_EXECUTED, job.id, "default", at) for at in run_times]
        self._run_job_success(job.id, events)

    def shutdown(self, wait: bool = True) -> None:
        for task in self._tasks:
            task.cancel()


class _Scheduler(AsyncIOScheduler):  # type: ignore[misc]
    """Looks at the host's clock before anything fires by it."""

    def __init__(self, look: Callable[[], object], **options: Any) -> None:
        super().__init__(**options)
        self._look = look

    def wakeup(self) -> None:
        self._look()
        super().wakeup()


class InternalScheduler(AbstractAsyncContextManager["InternalScheduler"]):
    """Runs while the context is open. `clock` is what the jobs go by."""

    def __init__(self, fire: Fire, clock: SteadyClock | None = None) -> None:
        self.clock = clock or SteadyClock()
        self._scheduler = _Scheduler(
            self.follow,
            timezone=UTC,
            executors={"default": FireExecutor(fire)},
            job_defaults={"max_instances": MANY, "misfire_grace_time": None, "coalesce": False},
        )

    async def __aenter__(self) -> "InternalScheduler":
        self._scheduler.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scheduler.shutdown(wait=False)

    def add(self, job: Job) -> None:
        """Fire it from now on; raises InvalidJob if one of that name is there. A job without a schedule never fires."""
        if job.schedule is None:
            return
        try:
            trigger = JobTrigger(job, self.clock.ahead)
            self._scheduler.add_job(_never_called, trigger=trigger, args=(job,), id=job.name, name=job.name)
        except ConflictingIdError as error:
            raise InvalidJob(f"an internal job {job.name!r} is already scheduled; give this one another id") from error

    def follow(self) -> timedelta | None:
        """Look at the host's clock; returns by how much it stepped, None if it did not. No fire is lost or early."""
        stepped = self.clock.notice()
        if stepped:
            self._reschedule()
        return stepped

    def adopt(self, instant: datetime) -> None:
        """Let the jobs go on from that instant."""
        self.clock.adopt(instant)
        self._reschedule()

    def _reschedule(self) -> None:
        """What fell due meanwhile fires by its policy; after a step back the coming fires are sooner than planned."""
        for entry in self._scheduler.get_jobs():
            trigger: JobTrigger = entry.trigger
            planned = entry.next_run_time.astimezone(UTC) - trigger.ahead
            coming = trigger.job.next_fire(self.clock.now())
            trigger.ahead = self.clock.ahead
            entry.modify(next_run_time=min(planned, coming or planned) + trigger.ahead)


def following(job: Job, after: datetime, until: datetime) -> datetime | None:
    """The fire after an instant. Of those that fell due up to `until` only the newest that count: one, or of a job that
    catches up on all, MOST. A year's step of the clock must not make a million instants."""
    first = job.next_fire(after)
    if first is None or first > until:
        return first
    return newest_due(job, after, until, MOST if job.catch_up is CatchUp.ALL else 1)[0]


def _never_called(job: Job) -> None:
    raise AssertionError("FireExecutor runs the job")
