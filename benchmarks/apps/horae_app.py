"""Horae's enqueuer: its front door, in the project around the working folder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.apps import verbs
from horae.scheduler.scheduler import Scheduler
from horae.settings import load


class Enqueuer:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def one(self, job: str) -> None:
        await self._scheduler.enqueue_workflow(job)

    async def many(self, job: str, count: int) -> None:
        # The one place that knows how a batch is enqueued.
        await self._scheduler.enqueue_many(job, [{}] * count)


@asynccontextmanager
async def opened() -> AsyncIterator[Enqueuer]:
    async with Scheduler(load()).lifecycle() as scheduler:
        yield Enqueuer(scheduler)


if __name__ == "__main__":
    verbs.main(opened)
