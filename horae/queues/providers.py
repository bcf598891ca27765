"""The providers that are configured here, from the settings. A further one is its own file and a line in this one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from horae.errors import InvalidSettings
from horae.queues.base import Consumer, Publisher
from horae.queues.routing import Provider, Router
from horae.settings import Settings

SPECIFIED = ("redis", "nats", "kafka", "rabbitmq", "cloudtasks")


@dataclass(frozen=True, kw_only=True, slots=True)
class Queues:
    """Publishing through the router, receiving from every provider."""

    router: Router
    open_consumers: Callable[[str], Awaitable[dict[str, Consumer]]]
    """By the worker's name: a consumer for each provider that can be polled."""


def open_queues(settings: Settings) -> Queues:
    """What the settings configure; `memory` under every name when there is no store. Connects when first used."""
    if settings.store.url is None:
        return _memory(settings)
    return _configured(settings)


def _memory(settings: Settings) -> Queues:
    from horae.queues import memory

    broker = memory.MemoryBroker(settings.queue.message_limit_bytes)

    async def publisher() -> Publisher:
        return memory.MemoryPublisher(broker)

    async def consumers(name: str) -> dict[str, Consumer]:
        return {"memory": memory.MemoryConsumer(broker)}

    providers = [
        Provider(name=name, capabilities=memory.CAPABILITIES, open_publisher=publisher)
        for name in ("memory", *SPECIFIED)
    ]
    return Queues(router=Router(providers, default="memory"), open_consumers=consumers)


def _configured(settings: Settings) -> Queues:
    from horae.queues import redis

    assert settings.store.url
    own = settings.queue.redis_url
    # Another server is never sent the store's password.
    access = settings.queue.redis if own not in (None, settings.store.url) else settings.store
    address = (own or settings.store.url).get_secret_value()
    namespace, limit = settings.namespace, settings.queue.message_limit_bytes

    async def publisher() -> Publisher:
        return redis.RedisPublisher(address, namespace, limit, access)

    async def consumers(name: str) -> dict[str, Consumer]:
        return {"redis": redis.RedisConsumer(address, namespace, limit, name, access)}

    providers = [Provider(name="redis", capabilities=redis.CAPABILITIES, open_publisher=publisher)]
    names = [provider.name for provider in providers]
    if settings.queue.provider not in names:
        raise InvalidSettings(f"queue.provider is {settings.queue.provider!r}; configured here: {', '.join(names)}")
    return Queues(router=Router(providers, default=settings.queue.provider), open_consumers=consumers)
