"""The connection to Redis or Valkey: scripts, clock, errors in our words, and whether it is safe to trust."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from horae.errors import StoreError, StoreUnavailable, UnsafeStore
from horae.keys import key_prefix
from horae.settings import StoreSettings

SCHEMA = 1
FOLDER = Path(__file__).parent
TIMEOUT_SECONDS = 5.0
AWAY = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, OSError)


def without_password(url: str) -> str:
    """The URL as it may be shown or logged."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Errors of the client as errors of ours."""
    try:
        yield
    except (AuthenticationError, NoPermissionError) as error:
        raise StoreUnavailable(f"the store at {without_password(url)} refuses these credentials: {error}") from error
    except AWAY as error:
        raise StoreUnavailable(f"the store at {without_password(url)} does not answer: {error}") from error
    except RedisError as error:
        raise StoreError(f"the store at {without_password(url)}: {error}") from error


def scripts() -> dict[str, str]:
    """Each noun's Lua, with the shared beginning."""
    prelude = (FOLDER / "prelude.lua").read_text()
    return {path.stem: prelude + path.read_text() for path in FOLDER.glob("*.lua") if path.stem != "prelude"}


class Connection:
    """One client for the event loop and one for threads, with the scripts. Close it."""

    def __init__(self, url: str, namespace: str, settings: StoreSettings, carried: str) -> None:
        self.url, self.namespace = url, namespace
        self._allow_without_append_only, self._safe = settings.allow_without_append_only, False
        self.prefix = key_prefix(namespace)
        # What every script is told after its function and arguments; prelude.lua reads them.
        self._configured = (
            str(int(settings.keep_runs_days * 86_400_000)),
            str(settings.keep_runs_per_job),
            str(int(settings.late_after_seconds * 1000)),
            carried,
        )
        options: dict[str, Any] = {
            "decode_responses": True,
            "socket_timeout": TIMEOUT_SECONDS,
            "socket_connect_timeout": TIMEOUT_SECONDS,
            # Once more over a fresh connection: a pooled one may be left from before a restart of the server.
            "retry": Retry(NoBackoff(), 1),
        }
        self.client: Any = redis.asyncio.Redis.from_url(url, **options)
        self._blocking: Any = redis.Redis.from_url(url, **options)
        self._scripts = {name: self.client.register_script(text) for name, text in scripts().items()}
        self._blocking_scripts = {name: self._blocking.register_script(text) for name, text in scripts().items()}

    def key(self, name: str) -> str:
        return self.prefix + name

    async def call(self, noun: str, function: str, *, durable: bool = False, **arguments: Any) -> Any:
        """Run one Lua function atomically; raises StoreUnavailable or StoreError.

        `durable`: return once a replica has it too, where there are replicas.
        """
        if not self._safe:
            await self.ensure_safe()
        with translated(self.url):
            return await self._scripts[noun](keys=[self.prefix], args=self._arguments(function, arguments))

    def call_blocking(self, noun: str, function: str, **arguments: Any) -> Any:
        """The same, from a thread."""
        with translated(self.url):
            return self._blocking_scripts[noun](keys=[self.prefix], args=self._arguments(function, arguments))

    def _arguments(self, function: str, arguments: dict[str, Any]) -> tuple[str, ...]:
        return (function, json.dumps(arguments), *self._configured)

    async def now(self) -> datetime:
        with translated(self.url):
            seconds, micros = await self.client.time()
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)

    async def ensure_safe(self) -> None:
        """Once, before the first write: refuse a store that could lose what it accepts, or that a newer Horae wrote.

        Raises UnsafeStore, or StoreUnavailable, and then asks again the next time.
        """
        if self._safe:
            return
        with translated(self.url):
            try:
                config = await self.client.config_get("maxmemory-policy", "maxmemory", "appendonly")
            except ResponseError:
                config = {}  # a managed store that hides its configuration; its operator answers for it
            schema = await self.client.get(self.key("schema"))
            if schema is None:
                await self.client.set(self.key("schema"), SCHEMA, nx=True)
        check_safety(config, self._allow_without_append_only)
        if schema is not None and int(schema) > SCHEMA:
            raise UnsafeStore(
                f"the store holds schema {schema} and this Horae knows {SCHEMA}; upgrade it, or use another namespace"
            )
        self._safe = True

    async def close(self) -> None:
        await self.client.aclose()
        await asyncio.to_thread(self._blocking.close)


def check_safety(config: dict[str, str], allow_without_append_only: bool) -> None:
    """Raises UnsafeStore with the way out."""
    policy = config.get("maxmemory-policy", "noeviction")
    if policy != "noeviction" and config.get("maxmemory", "0") != "0":
        raise UnsafeStore(
            f"the store evicts keys (maxmemory-policy {policy}), so it could drop accepted runs; "
            "set maxmemory-policy noeviction"
        )
    if config.get("appendonly", "yes") != "yes" and not allow_without_append_only:
        raise UnsafeStore(
            "the store does not write an append-only file, so it forgets its last minutes when it dies; "
            "set appendonly yes, or accept that with store.allow_without_append_only = true"
        )


def batches[T](items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of at most `size`: a Lua call blocks everybody else."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
