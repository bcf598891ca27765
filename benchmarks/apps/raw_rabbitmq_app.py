"""aio-pika: a quorum queue, persistent messages with confirms, consumed with a prefetch and acknowledged in batches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from benchmarks.apps import raw_runs
from benchmarks.apps.raw_runs import BATCH, Runs, batches

QUEUE = "raw"


class Enqueuer:
    def __init__(self, channel: AbstractChannel) -> None:
        self._channel, self._runs = channel, Runs()

    async def one(self, job: str) -> None:
        [body] = self._runs.accept(job, 1)
        await self._publish(body)

    async def many(self, job: str, count: int) -> None:
        for some in batches(count):
            await asyncio.gather(*map(self._publish, self._runs.accept(job, some)))

    async def _publish(self, body: bytes) -> None:
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await self._channel.default_exchange.publish(message, QUEUE, mandatory=True)


@asynccontextmanager
async def _queue() -> AsyncIterator[tuple[AbstractChannel, AbstractQueue]]:
    async with await aio_pika.connect(raw_runs.broker()) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        yield channel, await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})


@asynccontextmanager
async def opened() -> AsyncIterator[Enqueuer]:
    async with _queue() as (channel, _):
        yield Enqueuer(channel)


async def work() -> None:
    arrived: list[AbstractIncomingMessage] = []
    news = asyncio.Event()

    async def hear(message: AbstractIncomingMessage) -> None:
        arrived.append(message)
        news.set()

    async with _queue() as (channel, queue):
        runs = Runs()
        await channel.set_qos(prefetch_count=BATCH)
        await queue.consume(hear)
        while True:
            await news.wait()
            news.clear()
            messages, arrived[:] = arrived[:], []
            runs.run([one.body for one in messages])
            await messages[-1].ack(multiple=True)


if __name__ == "__main__":
    raw_runs.main(opened, work)
