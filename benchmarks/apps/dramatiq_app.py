"""Dramatiq's broker, actors and enqueuer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.apps import verbs

dramatiq.set_broker(RedisBroker(url=verbs.url()))


def _noop() -> None: ...


ACTORS = {
    "noop": dramatiq.actor(_noop, actor_name="noop"),
    "stamp": dramatiq.actor(verbs.stamp, actor_name="stamp"),
}


class Enqueuer:
    async def one(self, job: str) -> None:
        ACTORS[job].send()

    async def many(self, job: str, count: int) -> None:
        # It has no batch: a group sends one by one too.
        for _ in range(count):
            ACTORS[job].send()


@asynccontextmanager
async def opened() -> AsyncIterator[Enqueuer]:
    yield Enqueuer()


if __name__ == "__main__":
    verbs.main(opened)
