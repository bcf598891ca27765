"""SAQ's jobs, worker settings and enqueuer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from saq import Queue

from benchmarks.apps import verbs


async def noop(ctx: dict[str, Any]) -> None: ...


async def stamp(ctx: dict[str, Any]) -> None:
    verbs.stamp()


queue = Queue.from_url(verbs.url())
# Of 1, 5, 10 (its default), 20 and 100 at once, 20 was the fastest.
settings = {"queue": queue, "functions": [noop, stamp], "concurrency": 20}


class Enqueuer:
    async def one(self, job: str) -> None:
        await queue.enqueue(job)

    async def many(self, job: str, count: int) -> None:
        # It has no batch; the queue itself lets 20 go at a time.
        await verbs.at_once(count, lambda: queue.enqueue(job))


@asynccontextmanager
async def opened() -> AsyncIterator[Enqueuer]:
    await queue.connect()
    try:
        yield Enqueuer()
    finally:
        await queue.disconnect()


if __name__ == "__main__":
    verbs.main(opened)
