"""The configured providers, opened: a router to publish, a consumer for each provider that is polled, and receivers."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from pydantic import SecretStr

from horae.errors import InvalidSettings, UnknownName
from horae.jobs.job import Job
from horae.local.ports import LOOPBACK
from horae.queues.base import Consumer
from horae.queues.configured import Configured, configured
from horae.queues.reopening import Reopening
from horae.queues.routing import Router
from horae.settings import Settings
from horae.signing import Signing


@dataclass(frozen=True, kw_only=True, slots=True)
class Queues:
    router: Router
    """Close it after use."""
    providers: tuple[Configured, ...]
    signing: Signing | None
    """None: messages are neither signed nor verified."""

    @property
    def held(self) -> frozenset[str]:
        """The providers that leave messages with one worker."""
        return frozenset(one.name for one in self.providers if one.provider.capabilities.held)

    def open_consumers(
        self, worker: str, reopened: Callable[[str], object] = lambda provider: None
    ) -> dict[str, Consumer]:
        """A consumer for each provider that is polled, by the provider's name. Close them after use. `reopened` is
        called with the name of a provider whose consumer got nothing and was opened again.
        """
        polled = [one for one in self.providers if one.provider.open_consumer]
        return {one.name: self._open_consumer(one, worker, reopened) for one in polled}

    def _open_consumer(self, one: Configured, worker: str, reopened: Callable[[str], object]) -> Consumer:
        def opened() -> Consumer:
            consumer = one.open_consumer(worker)
            assert consumer
            return consumer

        async def behind(consumer: Consumer) -> int | None:
            if own_backlog := one.provider.own_backlog:
                return await own_backlog(consumer)
            backlog = await self.router.backlog(one.name)
            return backlog.messages if backlog else None

        return Reopening(one.name, opened, behind, partial(reopened, one.name))

    def open_receivers(self) -> dict[str, Consumer]:
        """The endpoint of each provider whose broker calls, by the provider's name. Close them after use."""
        opened = {one.name: one.open_receiver() for one in self.providers}
        return {name: receiver for name, receiver in opened.items() if receiver is not None}


def open_queues(settings: Settings) -> Queues:
    """Open the configured providers. They connect at the first use.

    Raises InvalidSettings for a table that is not valid, or signing keys that are not usable; NotConfigured or
    UnknownName if `queue.provider` is not configured or does not exist.
    """
    providers = configured(settings)
    signing = signing_of(settings)
    return Queues(router=Router(settings, providers, signing), providers=tuple(providers), signing=signing)


def router_of(settings: Settings) -> Router:
    """A router for questions that need no broker. Without a store, `redis` is the server that `horae up` would start.
    Raises like `open_queues`.
    """
    if settings.store.url is None:
        own = SecretStr(f"redis://{LOOPBACK}:{settings.store.port}/0")
        settings = settings.model_copy(update={"store": settings.store.model_copy(update={"url": own})})
    return open_queues(settings).router


def provider_of(settings: Settings, job: Job) -> str:
    """The provider of the job's runs, if neither a call nor a move record names one. Routes only a job with `needs`,
    because that takes a while. It is the default if the settings cannot be used.
    """
    if job.needs and not job.provider:
        with suppress(InvalidSettings, UnknownName):
            return router_of(settings).of(job)
    return job.provider or settings.queue.provider


def signing_of(settings: Settings) -> Signing | None:
    """None if signing is off. Raises InvalidSettings if the file has no usable keys."""
    path = settings.queue.signing_keys_file
    return Signing(settings.project / path) if path else None
