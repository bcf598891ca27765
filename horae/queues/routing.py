"""Which provider carries a message: Oneiric's resolver chooses and explains, its lifecycle opens the publisher.

One Oneiric key a provider (`queue.redis`), because a key has one live instance, and a routing-only key `queue` to
choose a default by selection and capability.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from horae.errors import QueueUnavailable, UnknownName
from horae.messages import Message
from horae.queues.base import Backlog, Capabilities, Publisher, SupportsBacklog

DOMAIN = "adapter"
KEY = "queue"


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """A queue backend as it is configured here."""

    name: str
    capabilities: Capabilities
    open_publisher: Callable[[], Awaitable[Publisher]]


def _quiet_oneiric() -> None:
    """Send Oneiric's structlog to stdlib logging; unconfigured it prints DEBUG to stdout."""
    import structlog

    if not structlog.is_configured():
        structlog.configure(
            processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
        )


async def _never() -> None:
    raise RuntimeError("the key 'queue' only routes; activate 'queue.<provider>'")


class Router:
    """Chooses a provider for a message and publishes there. Close it: Oneiric's lifecycle has no shutdown."""

    def __init__(self, providers: Sequence[Provider], default: str) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._default = self.known(default)
        self._open: dict[str, Publisher] = {}
        self._resolver, self._lifecycle = self._register()

    def _register(self) -> tuple[Any, Any]:
        _quiet_oneiric()
        from oneiric.core.lifecycle import LifecycleManager
        from oneiric.core.resolution import Candidate, CandidateSource, Resolver, ResolverSettings

        resolver = Resolver(ResolverSettings(selections={DOMAIN: {KEY: self._default}}))
        for provider in self._providers.values():
            for key, factory in ((KEY, _never), (f"{KEY}.{provider.name}", provider.open_publisher)):
                resolver.register(
                    Candidate(
                        domain=DOMAIN,
                        key=key,
                        provider=provider.name,
                        factory=factory,
                        source=CandidateSource.MANUAL,
                        metadata={"capabilities": list(provider.capabilities.names())},
                    )
                )
        return resolver, LifecycleManager(resolver)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._providers)

    def known(self, provider: str) -> str:
        """The same name; raises UnknownName for a provider that is not configured here."""
        if provider not in self._providers:
            raise UnknownName("queue provider", provider, self._providers)
        return provider

    def choose(self, provider: str | None = None, needs: Sequence[str] = ()) -> str:
        """The provider asked for, or the default; raises UnknownName when none fits."""
        if provider:
            return self.known(provider)
        chosen = self._resolver.resolve(DOMAIN, KEY, capabilities=needs or None)
        if chosen is None:
            raise UnknownName("queue provider that can", ", ".join(needs), self._providers)
        return str(chosen.provider)

    def explain(self) -> Mapping[str, Any]:
        """Oneiric's ranking of the providers, with scores and reasons."""
        ranking: dict[str, Any] = self._resolver.explain(DOMAIN, KEY).as_dict()
        return ranking

    async def open(self) -> None:
        """Activate every provider, in series: Oneiric's `activate` has no lock."""
        for name in self._providers:
            await self._publisher(name)

    async def _publisher(self, name: str) -> Publisher:
        if name not in self._open:
            from oneiric.core.lifecycle import LifecycleError

            try:
                self._open[name] = await self._lifecycle.activate(DOMAIN, f"{KEY}.{name}")
            except LifecycleError as error:
                raise QueueUnavailable(f"provider {name} cannot be opened: {error.__cause__ or error}") from error
        return self._open[name]

    async def publish(self, provider: str, messages: Sequence[Message]) -> None:
        """Durable at the broker when it returns; raises QueueUnavailable."""
        await (await self._publisher(provider)).publish(messages)

    async def check(self) -> None:
        """Raises QueueUnavailable unless every provider answers."""
        for name in self._providers:
            await (await self._publisher(name)).check()

    async def backlog(self, provider: str) -> Backlog | None:
        """What a provider's broker holds; None when that broker cannot say. Raises QueueUnavailable."""
        publisher = await self._publisher(provider)
        return await publisher.backlog() if isinstance(publisher, SupportsBacklog) else None

    async def close(self) -> None:
        for publisher in self._open.values():
            await publisher.close()
        self._open.clear()
