"""taskiq's broker, jobs and enqueuer: Redis streams of taskiq-redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from taskiq_redis import RedisStreamBroker

from benchmarks.apps import verbs

broker = RedisStreamBroker(url=verbs.url())


async def _noop() -> None: ...


async def _stamp() -> None:
    verbs.stamp()


TASKS = {
    "noop": broker.register_task(_noop, task_name="noop"),
    "stamp": broker.register_task(_stamp, task_name="stamp"),
}


class Enqueuer:
    async def one(self, job: str) -> None:
        await TASKS[job].kiq()

    async def many(self, job: str, count: int) -> None:
        # It has no batch.
        await verbs.at_once(count, TASKS[job].kiq)


@asynccontextmanager
async def opened() -> AsyncIterator[Enqueuer]:
    await broker.startup()
    try:
        yield Enqueuer()
    finally:
        await broker.shutdown()


if __name__ == "__main__":
    verbs.main(opened)
