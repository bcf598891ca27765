"""The queue worker inside a program: runs the jobs that only this program declares, or all with an embedded store."""

import asyncio
from contextlib import AsyncExitStack
from typing import Self

from horae.duties.consumer import Consumer
from horae.duties.duty import Duty, Progresses, keep_doing
from horae.duties.workplace import Workplace
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.project.registry import Registry
from horae.queues.closing import close_all
from horae.queues.redis import RedisConsumer
from horae.redis.keys import OWN, own_queue

LAST_STEP_SECONDS = 3.0
"""Seconds to wait for a claim that is in progress."""


def is_own(job: Job) -> bool:
    """Whether this program, and no file of the project, declares the job. No other process knows such a job."""
    return job.tier is Tier.ONEIRIC and job.source is None


class ProgramWorker:
    """Use it as a context manager. It starts to receive when the registry has a job that only this program declares,
    and receives only such jobs. `everything`: it receives all jobs, from the start. Without `receives` it does nothing.
    """

    def __init__(self, place: Workplace, registry: Registry, *, receives: bool, everything: bool) -> None:
        self.receives = receives
        self._place, self._registry, self._everything = place, registry, everything and receives
        self._own: set[str] = set()
        self._consumer: RedisConsumer | None = None
        self._progresses = Progresses(place.metrics)
        self._stopping, self._ended = asyncio.Event(), asyncio.Event()
        self._consumers: list[Consumer] = []
        self._takers: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()
        self._moves = False

    async def __aenter__(self) -> Self:
        if self._everything:
            for provider, source in self._place.open_sources().items():
                self._stack.push_async_callback(close_all, [source])
                self._take(self._place.consumer(provider, source, self._registry))
        for job in self._registry:
            self.include(job)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def include(self, job: Job) -> None:
        """Start to receive the job's messages in this program, if only this program declares the job."""
        if not self.receives or not is_own(job) or job.name in self._own:
            return
        queue = own_queue(job.name)
        if self._consumer is None:
            self._consumer = self._open(queue)
            self._stack.push_async_callback(close_all, [self._consumer])
            self._take(self._place.consumer(OWN, self._consumer, self._registry))
        else:
            self._consumer.listen(queue)
        self._own.add(job.name)

    def _open(self, queue: str) -> RedisConsumer:
        settings = self._place.settings
        assert settings.store.url
        url, limit = settings.store.url.get_secret_value(), settings.queue.message_limit_bytes
        return RedisConsumer(url, settings.namespace, limit, self._place.name, settings.store, [queue])

    def _take(self, duty: Consumer) -> None:
        if not self._moves:
            self._moves = True
            for mover in self._place.movers(own_only=not self._everything):
                self._stack.push_async_callback(_ended, self._begin(mover, self._ended))
        self._consumers.append(duty)
        self._takers.append(self._begin(duty, self._stopping))

    def _begin(self, duty: Duty, until: asyncio.Event) -> "asyncio.Task[None]":
        return asyncio.create_task(keep_doing(duty, self._progresses, until), name=duty.name)

    async def stop_taking(self) -> None:
        """Stop receiving, so that this program does not take the runs again that it returns to the queue."""
        self._stopping.set()
        for consumer in self._consumers:
            consumer.interrupt()
        if self._takers:
            await asyncio.wait(self._takers, timeout=LAST_STEP_SECONDS)
        for task in self._takers:
            await _ended(task)


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
