"""nats-py on JetStream: a work-queue stream, published with the run's id, pulled and acknowledged in batches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy, StorageType

from benchmarks.apps import raw_runs
from benchmarks.apps.raw_runs import BATCH, Runs, batches, id_of

STREAM, SUBJECT, GROUP = "raw", "raw.jobs", "workers"


class Enqueuer:
    def __init__(self, stream: JetStreamContext) -> None:
        self._stream, self._runs = stream, Runs()

    async def one(self, job: str) -> None:
        [body] = self._runs.accept(job, 1)
        await self._stream.publish(SUBJECT, body, headers=_headers(body))

    async def many(self, job: str, count: int) -> None:
        for some in batches(count):
            bodies = self._runs.accept(job, some)
            await asyncio.gather(
                *[await self._stream.publish_async(SUBJECT, one, headers=_headers(one)) for one in bodies]
            )


def _headers(body: bytes) -> dict[str, str]:
    return {"Nats-Msg-Id": id_of(body).decode()}


@asynccontextmanager
async def _stream() -> AsyncIterator[JetStreamContext]:
    async with await nats.connect(raw_runs.broker()) as client:
        stream = client.jetstream()
        await stream.add_stream(
            name=STREAM, subjects=[SUBJECT], retention=RetentionPolicy.WORK_QUEUE, storage=StorageType.FILE
        )
        yield stream


@asynccontextmanager
async def opened() -> AsyncIterator[Enqueuer]:
    async with _stream() as stream:
        yield Enqueuer(stream)


async def work() -> None:
    async with _stream() as stream:
        runs, pulled = Runs(), await stream.pull_subscribe(SUBJECT, durable=GROUP, stream=STREAM)
        while True:
            try:
                messages = await pulled.fetch(BATCH, timeout=1)
            except TimeoutError:
                continue
            runs.run([one.data for one in messages])
            for one in messages:
                await one.ack()


if __name__ == "__main__":
    raw_runs.main(opened, work)
