"""Celery's application, tasks and enqueuer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from celery import Celery

from benchmarks.apps import verbs

app = Celery("bench", broker=verbs.url())
app.conf.update(
    task_ignore_result=True,
    # 4 by default; short tasks want it high, says its optimisation guide.
    worker_prefetch_multiplier=64,
    worker_disable_rate_limits=True,
    broker_connection_retry_on_startup=True,
)


def _noop() -> None: ...


TASKS = {"noop": app.task(_noop, name="noop"), "stamp": app.task(verbs.stamp, name="stamp")}


class Enqueuer:
    async def one(self, job: str) -> None:
        TASKS[job].delay()

    async def many(self, job: str, count: int) -> None:
        # It has no batch: a group publishes one by one too, over one producer as here.
        with app.producer_or_acquire() as producer:
            for _ in range(count):
                TASKS[job].apply_async(producer=producer)


@asynccontextmanager
async def opened() -> AsyncIterator[Enqueuer]:
    yield Enqueuer()


if __name__ == "__main__":
    verbs.main(opened)
