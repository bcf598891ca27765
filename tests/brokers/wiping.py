"""Takes from a broker all that it holds of a namespace, as somebody does who deletes a queue."""

from collections.abc import Callable, Coroutine
from typing import Any

import aio_pika
import grpc.aio
import nats
import redis.asyncio
from aiokafka.admin import AIOKafkaAdminClient
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

from horae.messages import Priority
from horae.queues.cloudtasks.publisher import CloudTasksPublisher
from horae.queues.cloudtasks.settings import CloudTasksSettings
from horae.redis.keys import stream_of
from horae.settings import Settings
from tests.waiting import wait_until


async def wipe_redis(settings: Settings) -> None:
    url = settings.queue.redis_url or settings.store.url
    assert url
    client = redis.asyncio.Redis.from_url(url.get_secret_value())
    await client.delete(*(stream_of(settings.namespace, priority) for priority in Priority))
    await client.aclose()


async def wipe_nats(settings: Settings) -> None:
    client = await nats.connect(settings.queue.tables["nats"]["url"])
    await client.jetstream().delete_stream(f"{settings.namespace}-queue")
    await client.close()


async def wipe_rabbitmq(settings: Settings) -> None:
    async with await aio_pika.connect(settings.queue.tables["rabbitmq"]["url"]) as connection:
        channel = await connection.channel()
        for priority in Priority:
            await channel.queue_delete(f"{settings.namespace}.queue.{priority.value}")


async def wipe_kafka(settings: Settings) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.queue.tables["kafka"]["bootstrap_servers"])
    await admin.start()
    topics = [f"{settings.namespace}.queue.{priority.value}" for priority in Priority]
    await admin.delete_topics(topics)

    async def gone() -> bool:
        return not set(topics) & set(await admin.list_topics())

    await wait_until(gone, "the topics to be deleted", 30)
    await admin.close()


async def wipe_cloudtasks(settings: Settings) -> None:
    table = CloudTasksSettings(**settings.queue.tables["cloudtasks"])
    publisher = CloudTasksPublisher(table, settings.namespace, 1000)
    client: Any = tasks_v2.CloudTasksAsyncClient(
        transport=CloudTasksGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(table.endpoint))
    )
    for queue in publisher.queues.values():
        await client.purge_queue(name=queue)
    await client.transport.close()


WIPE: dict[str, Callable[[Settings], Coroutine[Any, Any, None]]] = {
    "redis": wipe_redis,
    "nats": wipe_nats,
    "rabbitmq": wipe_rabbitmq,
    "kafka": wipe_kafka,
    "cloudtasks": wipe_cloudtasks,
}
