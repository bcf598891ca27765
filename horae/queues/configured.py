"""Providers with their settings: which ones are configured, and which setting a provider lacks."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from horae.errors import InvalidSettings, NotConfigured, unknown
from horae.queues.base import Consumer, EmbeddedServer, Provider, Publisher
from horae.queues.providers import names, provider
from horae.settings import FILE, Settings, read_table


@dataclass(frozen=True, kw_only=True, slots=True)
class Configured:
    """A provider with the settings that it reads."""

    provider: Provider[Any, Any]
    settings: Settings = field(repr=False)
    table: BaseModel = field(repr=False)

    @property
    def name(self) -> str:
        return self.provider.name

    @property
    def missing(self) -> str:
        """The setting that the user must give before the provider can be used; empty if it is configured."""
        return self.provider.missing(self.settings, self.table)

    def open_publisher(self) -> Publisher:
        """Raises InvalidSettings if the client library is not installed."""
        with self._library():
            publisher: Publisher = self.provider.open_publisher(self.settings, self.table)
        return publisher

    def open_consumer(self, worker: str) -> Consumer | None:
        """None for a provider whose broker calls the receiver. Raises InvalidSettings without the client library."""
        if self.provider.open_consumer is None:
            return None
        with self._library():
            consumer: Consumer = self.provider.open_consumer(self.settings, self.table, worker)
        return consumer

    def open_receiver(self) -> Consumer | None:
        """None for a provider whose broker calls nobody. Raises InvalidSettings without the client library."""
        if self.provider.open_receiver is None:
            return None
        with self._library():
            receiver: Consumer = self.provider.open_receiver(self.settings, self.table)
        return receiver

    def embedded(self) -> EmbeddedServer | None:
        """The server that the settings ask `horae up` to start; None if they ask for none. Raises StartError."""
        return self.provider.embedded(self.settings, self.table) if self.provider.embedded else None

    @contextmanager
    def _library(self) -> Iterator[None]:
        try:
            yield
        except ModuleNotFoundError as error:
            raise InvalidSettings(
                f"queue provider {self.name} is configured, but its client library is not installed ({error}): "
                f"install horae[{self.provider.extra}], or remove [queue.{self.name}]"
            ) from error


def with_settings(found: Provider[Any, Any], settings: Settings) -> Configured:
    """The provider with its table. Raises InvalidSettings if the table is not valid."""
    table = read_table(settings, found.settings, found.name)
    return Configured(provider=found, settings=settings, table=table)


def configured(settings: Settings) -> list[Configured]:
    """Every configured provider. Raises InvalidSettings for a table that is not valid or belongs to no provider."""
    for table in settings.queue.tables:
        if table not in names():
            where = settings.origin("queue", table) or FILE
            raise InvalidSettings(f"[queue.{table}]: {unknown('queue provider', table, names())} ({where})")
    every = [with_settings(provider(name), settings) for name in names()]
    return [one for one in every if not one.missing]


def has_receivers(settings: Settings) -> bool:
    """Whether a configured provider calls a receiver. Raises InvalidSettings like `configured`."""
    return any(one.provider.open_receiver for one in configured(settings))


def not_configured(settings: Settings, name: str, usable: Iterable[str]) -> NotConfigured:
    """The error for a provider that is not among the `usable`. Raises UnknownName if no such provider exists."""
    return NotConfigured(name, with_settings(provider(name), settings).missing, usable)
