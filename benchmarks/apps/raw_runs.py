"""The runs of a raw client on a broker: one hash each in the store, as `raw_app` keeps them, and their messages."""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import redis

from benchmarks.apps import verbs

BATCH = 500
RAN = "raw:ran"
"""The key that counts finished runs. The bench reads it."""
JOBS = {b"noop": lambda: None, b"stamp": verbs.stamp}


def broker() -> str:
    """The address of the broker."""
    return os.environ["BENCH_BROKER"]


class Runs:
    """Blocks on purpose: nothing is faster than redis-py (sync) with hiredis, and each process does one thing."""

    def __init__(self) -> None:
        self._client: Any = redis.Redis.from_url(verbs.url(), protocol=2)
        self._me = str(os.getpid())

    def accept(self, job: str, count: int) -> list[bytes]:
        """Write the records of new runs; returns their messages."""
        bodies = [f"{job} {uuid.uuid4().hex}".encode() for _ in range(count)]
        pipe = self._client.pipeline(transaction=False)
        for body in bodies:
            pipe.hset(b"run:" + id_of(body), mapping={"job": job, "state": "queued"})
        pipe.execute()
        return bodies

    def run(self, bodies: Sequence[bytes]) -> None:
        """Run the jobs of these messages, and write their records in one round trip."""
        pipe = self._client.pipeline(transaction=False)
        for body in bodies:
            JOBS[body.partition(b" ")[0]]()
            pipe.hset(b"run:" + id_of(body), mapping={"state": "ran", "worker": self._me, "attempts": 1})
        pipe.incrby(RAN, len(bodies))
        pipe.execute()


def id_of(body: bytes) -> bytes:
    return body.partition(b" ")[2]


def batches(count: int) -> list[int]:
    """`count` in parts of BATCH."""
    return [min(BATCH, count - start) for start in range(0, count, BATCH)]


def main(opened: verbs.Opened, work: Callable[[], Awaitable[None]]) -> None:
    """`work` runs until SIGTERM, which lets it say goodbye to the broker. Other words are verbs."""
    if sys.argv[1:] != ["work"]:
        verbs.main(opened)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        asyncio.run(_awaited(work))


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()
