"""The providers that are configured here, opened: publishing through the router, receiving from each that is polled."""

from dataclasses import dataclass

from pydantic import BaseModel

from horae.queues.base import Consumer, Provider, Publisher
from horae.queues.configured import Configured, configured
from horae.queues.routing import Router
from horae.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Queues:
    router: Router
    """Close it after use."""
    providers: tuple[Configured, ...]

    def open_consumers(self, worker: str) -> dict[str, Consumer]:
        """A consumer for each provider that is polled, by the provider's name. Close them after use."""
        opened = {one.name: one.open_consumer(worker) for one in self.providers}
        return {name: consumer for name, consumer in opened.items() if consumer is not None}


def open_queues(settings: Settings) -> Queues:
    """What the settings configure. Connects when first used.

    Raises InvalidSettings for a wrong table, NotConfigured or UnknownName for a `queue.provider` that cannot be used.
    """
    if settings.store.url is None:
        return _memory(settings)
    providers = configured(settings)
    return Queues(router=Router(settings, providers), providers=tuple(providers))


class _Nothing(BaseModel):
    pass


def _memory(settings: Settings) -> Queues:
    from horae.queues import memory

    broker = memory.MemoryBroker(settings.queue.message_limit_bytes)

    def publisher(settings: Settings, table: BaseModel) -> Publisher:
        return memory.MemoryPublisher(broker)

    def consumer(settings: Settings, table: BaseModel, worker: str) -> Consumer:
        return memory.MemoryConsumer(broker)

    def named(name: str) -> Configured:
        provider = Provider(
            name=name,
            title="This process's memory",
            use_when="Scripts and tests: one process, nothing kept",
            settings=_Nothing,
            capabilities=memory.CAPABILITIES,
            missing=lambda settings, table: "",
            open_publisher=publisher,
            open_consumer=consumer if name == "memory" else None,
        )
        return Configured(provider=provider, settings=settings, table=_Nothing())

    here = settings.model_copy(update={"queue": settings.queue.model_copy(update={"provider": "memory"})})
    providers = tuple(named(name) for name in ("memory", "redis", "nats", "kafka", "rabbitmq", "cloudtasks"))
    return Queues(router=Router(here, providers), providers=providers)
