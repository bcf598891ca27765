"""The raw client: what redis-py with hiredis can do at most when each job leaves a record and nothing is promised.

No claim, no lease, no retry, no schedule, no log: the limit that any queue on this client and server lies under.
"""

import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis
from redis.exceptions import ResponseError

from benchmarks.apps import verbs

STREAM, GROUP = "raw", "workers"
BATCH = 500
JOBS = {b"noop": lambda: None, b"stamp": verbs.stamp}


class Enqueuer:
    def __init__(self, client: "redis.Redis") -> None:
        self._client = client

    async def one(self, job: str) -> None:
        self._accept(job, 1)

    async def many(self, job: str, count: int) -> None:
        for start in range(0, count, BATCH):
            self._accept(job, min(BATCH, count - start))

    def _accept(self, job: str, count: int) -> None:
        pipe = self._client.pipeline(transaction=False)
        for _ in range(count):
            run = uuid.uuid4().hex
            pipe.hset(f"run:{run}", mapping={"job": job, "state": "queued"})
            pipe.xadd(STREAM, {"job": job, "run": run})
        pipe.execute()


@asynccontextmanager
async def opened() -> AsyncIterator[Enqueuer]:
    with redis.Redis.from_url(verbs.url()) as client:
        yield Enqueuer(client)


def work() -> None:
    """For ever: read a batch, run it, record and acknowledge it in one round trip."""
    client: Any = redis.Redis.from_url(verbs.url(), protocol=2)
    try:
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
    me = str(os.getpid())
    while True:
        for _, entries in client.xreadgroup(GROUP, me, {STREAM: ">"}, count=BATCH, block=1000) or ():
            pipe = client.pipeline(transaction=False)
            for _, fields in entries:
                JOBS[fields[b"job"]]()
                pipe.hset(b"run:" + fields[b"run"], mapping={"state": "ran", "worker": me, "attempts": 1})
            ids = [id for id, _ in entries]
            pipe.xack(STREAM, GROUP, *ids)
            pipe.xdel(STREAM, *ids)
            pipe.execute()


if __name__ == "__main__":
    if sys.argv[1:] == ["work"]:
        work()
    else:
        verbs.main(opened)
