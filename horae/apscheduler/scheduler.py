"""APScheduler fires the internal jobs, by our schedules: its own cron numbers weekdays from Monday."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from apscheduler.events import EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from horae.errors import InvalidJob
from horae.jobs.job import Job

log = logging.getLogger(__name__)
type Fire = Callable[[Job, Sequence[datetime]], Awaitable[None]]
MANY = 1_000_000
"""Overlap is decided by the job's own policy, not by APScheduler's count of instances."""


class JobTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires when the job says."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self.job.next_fire(previous_fire_time or now)

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
        due = [at.astimezone(UTC) for at in run_times]
        try:
            await self._fire(job.args[0], due)
        except Exception:
            log.exception("firing %s failed", job.id, extra={"action": "fire_failed", "job": job.id})
        events = [JobExecutionEvent(EVENT_JOB_EXECUTED, job.id, "default", at) for at in run_times]
        self._run_job_success(job.id, events)

    def shutdown(self, wait: bool = True) -> None:
        for task in self._tasks:
            task.cancel()


class InternalScheduler(AbstractAsyncContextManager["InternalScheduler"]):
    """Runs while the context is open."""

    def __init__(self, fire: Fire) -> None:
        self._scheduler = AsyncIOScheduler(
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
            self._scheduler.add_job(_never_called, trigger=JobTrigger(job), args=(job,), id=job.name, name=job.name)
        except ConflictingIdError as error:
            raise InvalidJob(f"an internal job {job.name!r} is scheduled already; give another id") from error


def _never_called(job: Job) -> None:
    raise AssertionError("FireExecutor runs the job")
