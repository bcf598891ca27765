"""The providers that are configured here, opened: publishing through the router, receiving from each that is polled."""

from dataclasses import dataclass

from horae.queues.base import Consumer
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
    providers = configured(settings)
    return Queues(router=Router(settings, providers), providers=tuple(providers))
