"""arq's jobs, worker settings and enqueuer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from arq import ArqRedis, create_pool
from arq.connections import RedisSettings

from benchmarks.apps import verbs

QUIET = {"version": 1}
"""For --custom-log-dict: no line for each job."""


async def noop(ctx: dict[str, Any]) -> None: ...


async def stamp(ctx: dict[str, Any]) -> None:
    verbs.stamp()


class WorkerSettings:
    functions = (noop, stamp)
    redis_settings = RedisSettings.from_dsn(verbs.url())
    # 10 by default; more than 100 gained nothing, because jobs are started one after the other.
    max_jobs = 100
    # Half a second by default, which bounds both the pick-up and, with max_jobs, the rate.
    poll_delay = 0.005
    keep_result = 0
    log_results = False


class Enqueuer:
    def __init__(self, pool: ArqRedis) -> None:
        self._pool = pool

    async def one(self, job: str) -> None:
        await self._pool.enqueue_job(job)

    async def many(self, job: str, count: int) -> None:
        # It has no batch.
        await verbs.at_once(count, lambda: self._pool.enqueue_job(job))


@asynccontextmanager
async def opened() -> AsyncIterator[Enqueuer]:
    pool = await create_pool(WorkerSettings.redis_settings)
    try:
        yield Enqueuer(pool)
    finally:
        await pool.aclose()


if __name__ == "__main__":
    verbs.main(opened)
