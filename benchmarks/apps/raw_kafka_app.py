"""aiokafka: a topic of twelve partitions, an idempotent producer, one commit of the offsets for each batch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.apps import raw_runs
from benchmarks.apps.raw_runs import BATCH, Runs, batches

TOPIC, GROUP = "raw", "raw-workers"
PARTITIONS = 12
"""As many as Horae's topics have."""


class Enqueuer:
    def __init__(self, producer: Any) -> None:
        self._producer, self._runs = producer, Runs()

    async def one(self, job: str) -> None:
        [body] = self._runs.accept(job, 1)
        await self._producer.send_and_wait(TOPIC, body)

    async def many(self, job: str, count: int) -> None:
        for some in batches(count):
            bodies = self._runs.accept(job, some)
            await asyncio.gather(*[await self._producer.send(TOPIC, one) for one in bodies])


async def _declare() -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=raw_runs.broker())
    await admin.start()
    try:
        if TOPIC not in await admin.list_topics():
            await admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])
    finally:
        await admin.close()


@asynccontextmanager
async def opened() -> AsyncIterator[Enqueuer]:
    await _declare()
    producer = AIOKafkaProducer(bootstrap_servers=raw_runs.broker(), enable_idempotence=True, acks="all")
    async with producer:
        yield Enqueuer(producer)


async def work() -> None:
    await _declare()
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=raw_runs.broker(),
        group_id=GROUP,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    runs = Runs()
    async with consumer:
        while True:
            found = await consumer.getmany(timeout_ms=1000, max_records=BATCH)
            if bodies := [record.value for records in found.values() for record in records]:
                runs.run(bodies)
                await consumer.commit()


if __name__ == "__main__":
    raw_runs.main(opened, work)
