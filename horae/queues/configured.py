"""Providers with their settings: which ones are configured here, and what to set for one that is not."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from horae.errors import InvalidSettings, NotConfigured, unknown
from horae.queues.base import Consumer, Provider, Publisher
from horae.queues.providers import names, provider
from horae.settings import FILE, Settings, read_table


@dataclass(frozen=True, kw_only=True, slots=True)
class Configured:
    """A provider, and what it reads."""

    provider: Provider[Any, Any]
    settings: Settings = field(repr=False)
    table: BaseModel = field(repr=False)

    @property
    def name(self) -> str:
        return self.provider.name

    @property
    def missing(self) -> str:
        """The setting to give before it can be used; empty when there is nothing to do."""
        return self.provider.missing(self.settings, self.table)

    def open_publisher(self) -> Publisher:
        """Raises InvalidSettings where the client library is not installed."""
        with self._library():
            publisher: Publisher = self.provider.open_publisher(self.settings, self.table)
        return publisher

    def open_consumer(self, worker: str) -> Consumer | None:
        """None for a provider that nobody polls. Raises InvalidSettings where the client library is not installed."""
        if self.provider.open_consumer is None:
            return None
        with self._library():
            consumer: Consumer = self.provider.open_consumer(self.settings, self.table, worker)
        return consumer

    @contextmanager
    def _library(self) -> Iterator[None]:
        try:
            yield
        except ModuleNotFoundError as error:
            raise InvalidSettings(
                f"queue provider {self.name} is configured, and its client library is not installed ({error}): "
                f"install horae[{self.provider.extra}], or drop [queue.{self.name}]"
            ) from error


def with_settings(found: Provider[Any, Any], settings: Settings) -> Configured:
    """The provider with its table; raises InvalidSettings for a table that its model refuses."""
    table = read_table(settings, found.settings, found.name)
    return Configured(provider=found, settings=settings, table=table)


def configured(settings: Settings) -> list[Configured]:
    """Every provider that can be used here; raises InvalidSettings for a wrong table, or one that no provider reads."""
    for table in settings.queue.tables:
        if table not in names():
            where = settings.origin("queue", table) or FILE
            raise InvalidSettings(f"[queue.{table}]: {unknown('queue provider', table, names())} ({where})")
    every = [with_settings(provider(name), settings) for name in names()]
    return [one for one in every if not one.missing]


def not_configured(settings: Settings, name: str, usable: Iterable[str]) -> NotConfigured:
    """Why a provider that is not among the `usable` cannot be used; raises UnknownName for one that does not exist."""
    return NotConfigured(name, with_settings(provider(name), settings).missing, usable)
