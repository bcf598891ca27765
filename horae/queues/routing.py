"""Choose the provider of a message: Oneiric's resolver chooses and explains, its lifecycle opens the publisher.

Each provider has its own Oneiric key (`queue.redis`), because a key has one live instance. The key `queue` is only for
routing: it chooses the default by selection and capability.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from horae.errors import HoraeError, QueueUnavailable, UnknownName
from horae.jobs.job import Job
from horae.jobs.policies import Need
from horae.messages import Message
from horae.queues.base import Backlog, Publisher, Scheduling
from horae.queues.closing import close_all
from horae.queues.configured import Configured, not_configured
from horae.settings import Settings
from horae.signing import Signing

DOMAIN = "adapter"
KEY = "queue"


def _quiet_oneiric() -> None:
    """Send Oneiric's structlog output to stdlib logging. Without configuration structlog prints DEBUG to stdout."""
    import structlog

    if not structlog.is_configured():
        structlog.configure(
            processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
        )


async def _never() -> None:
    raise RuntimeError("the key 'queue' only routes messages; activate 'queue.<provider>'")


class Router:
    """Chooses a provider for a message and publishes there. Close it after use: Oneiric's lifecycle has no shutdown.

    Raises NotConfigured or UnknownName if the default provider is not configured or does not exist.
    """

    def __init__(self, settings: Settings, providers: Sequence[Configured], signing: Signing | None = None) -> None:
        """`signing`: signs each message. None: messages are not signed."""
        self._settings = settings
        self._providers = {one.name: one for one in providers}
        self._default = self.known(settings.queue.provider)
        self._open: dict[str, Publisher] = {}
        self._signing = signing
        self._chosen: dict[frozenset[Need], str] = {}
        self._resolver, self._lifecycle = self._register()

    def _register(self) -> tuple[Any, Any]:
        _quiet_oneiric()
        from oneiric.core.lifecycle import LifecycleManager
        from oneiric.core.resolution import Candidate, CandidateSource, Resolver, ResolverSettings

        resolver = Resolver(ResolverSettings(selections={DOMAIN: {KEY: self._default}}))
        limit = self._settings.queue.message_limit_bytes
        for name, one in self._providers.items():
            for key, factory in ((KEY, _never), (f"{KEY}.{name}", self._factory(name))):
                resolver.register(
                    Candidate(
                        domain=DOMAIN,
                        key=key,
                        provider=name,
                        factory=factory,
                        source=CandidateSource.MANUAL,
                        metadata={"capabilities": sorted(one.provider.capabilities.offered(limit))},
                    )
                )
        return resolver, LifecycleManager(resolver)

    def _factory(self, name: str) -> Any:
        async def opened() -> Publisher:
            return self._providers[name].open_publisher()

        return opened

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._providers)

    def known(self, provider: str) -> str:
        """Return the name. Raises NotConfigured, which names the missing setting, or UnknownName."""
        if provider not in self._providers:
            raise not_configured(self._settings, provider, self._providers)
        return provider

    def choose(self, needs: frozenset[Need] = frozenset()) -> str:
        """The default if it offers all `needs`, else the first in Oneiric's ranking of those that do. If none does, the
        default, because an error would stop the fires of all jobs; `horae check` reports it.
        """
        if needs not in self._chosen:
            found = self._resolver.resolve(DOMAIN, KEY, capabilities=needs)
            self._chosen[needs] = str(found.provider) if found else self._default
        return self._chosen[needs]

    def of(self, job: Job) -> str:
        """The provider of the job's runs, if neither a call nor a move record names one. It may not be configured."""
        return job.provider or self.choose(job.needs)

    def lacking(self, provider: str, needs: frozenset[Need]) -> str:
        """Those of the needs that a configured provider does not offer, in words; empty if it offers all."""
        limit = self._settings.queue.message_limit_bytes
        return self._providers[provider].provider.capabilities.lacking(needs, limit)

    def refusal(self, provider: str) -> str:
        """Why the provider cannot be used here, with the missing setting; empty if it can."""
        try:
            self.known(provider)
        except UnknownName as error:
            return error.message
        return ""

    def explain(self, needs: frozenset[Need] = frozenset()) -> Mapping[str, Any]:
        """Oneiric's ranking of the providers that offer all `needs`, with scores and reasons."""
        ranking: dict[str, Any] = self._resolver.explain(DOMAIN, KEY, capabilities=needs).as_dict()
        return ranking

    async def _publisher(self, name: str) -> Publisher:
        if name not in self._open:
            from oneiric.core.lifecycle import LifecycleError

            try:
                self._open[name] = await self._lifecycle.activate(DOMAIN, f"{KEY}.{name}")
            except LifecycleError as error:
                if isinstance(error.__cause__, HoraeError):
                    raise error.__cause__ from error
                raise QueueUnavailable(f"cannot open provider {name}: {error.__cause__ or error}") from error
        return self._open[name]

    async def publish(self, provider: str, messages: Sequence[Message]) -> None:
        """Publish, signed if signing is on; the messages are durable at the broker on return. Raises
        QueueUnavailable.
        """
        await (await self._publisher(provider)).publish(self._signed(messages))

    def ahead(self, provider: str) -> timedelta | None:
        """How long before a run is due its message may be given to the provider; None: not before it is due."""
        return self._providers[provider].provider.capabilities.schedules_ahead

    async def schedule(self, provider: str, messages: Sequence[tuple[Message, datetime]]) -> None:
        """Publish to a provider that `ahead` allows, which delivers each message at its instant. Signs and raises like
        `publish`.
        """
        publisher = await self._publisher(provider)
        assert isinstance(publisher, Scheduling), provider
        signed = self._signed([message for message, _ in messages])
        await publisher.schedule([(one, at) for one, (_, at) in zip(signed, messages, strict=True)])

    def _signed(self, messages: Sequence[Message]) -> Sequence[Message]:
        return self._signing.sign(messages) if self._signing else messages

    async def check(self) -> None:
        """Raises QueueUnavailable if a provider does not answer."""
        for name in self._providers:
            await (await self._publisher(name)).check()

    async def backlog(self, provider: str) -> Backlog | None:
        """The backlog of a provider; None if its broker cannot tell it. Raises QueueUnavailable."""
        counting = self._providers[self.known(provider)].provider.backlog
        return await counting(await self._publisher(provider)) if counting else None

    async def close(self) -> None:
        opened = list(self._open.values())
        self._open.clear()
        await close_all(opened)
