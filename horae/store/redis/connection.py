"""The connection to Redis or Valkey: Lua scripts, clock, translated errors, and the checks that the server is safe."""

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)

from horae.clock import monotonic
from horae.errors import StoreError, StoreUnavailable, StoreUncertain, UnsafeStore
from horae.redis.address import shown
from horae.redis.clients import configurations, open_blocking_client, open_client, replicas
from horae.redis.keys import OWN, SCHEMA, key_prefix
from horae.redis.sending import Sending
from horae.settings import StoreSettings
from horae.store import limits
from horae.store.redis.scripts import scripts
from horae.store.rows import MILLI

log = logging.getLogger(__name__)
LOWEST_VERSION = (7, 0)
"""The lowest version of Redis. Every version of Valkey is new enough."""
SAFE_SECONDS = 30.0
"""How long the result of the safety check holds. The configuration of a running server may change."""
ENDS = frozenset({"settle", "report", "append_log", "record", "published", "placed", "set_aside", "put_back"})
"""Functions that record what has already happened. Only these are allowed on a store that became unsafe."""
READS = frozenset({"page"})
"""Functions that write nothing and need no safe store."""
LIMITS = (
    limits.DEATHS,
    limits.LAPSES,
    limits.UNKNOWN_JOB,
    limits.UNKNOWN_JOB_WAIT,
    limits.GRACE,
    limits.FRESH,
    limits.NOTICES,
    limits.OPERATION,
    limits.STEP,
    limits.LOOKS,
)
"""Passed to the scripts as numbers and milliseconds, in the order in which prelude.lua reads them."""
TIMEOUT_SECONDS = 5.0
REPLICA_WAIT_MILLIS = 1000
"""How long a durable write waits for a slow replica."""
LOOK_SECONDS = 10.0
"""The interval of the check that there are still replicas. Each durable write checks for a first replica."""
AWAY = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, OSError)
CLIENT_ERRORS = (RedisError, OSError)
"""All that redis-py raises."""
REFUSES_FOR_NOW = ("MISCONF", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN")
"""Error prefixes of a server that cannot write at present, for example because its disk is full."""


type Packed = tuple[str | bytes, ...]
REPEATABLE = frozenset(
    (
        *("due", "in_force", "watch", "account", "declare", "forget", "figures", "by_provider", "waiting", "page"),
        *("renew", "report", "published", "placed", "upcoming", "publish_own", "sort", "pause", "move"),
        *("prune", "prune_letters"),
    )
)
"""Functions that have the same effect and answer if they are sent again. All other calls carry an operation id."""
RESEND_WAITS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.5, 2.0)
"""Seconds to wait before each further send of an operation whose connection broke."""


def translation(error: Exception, url: str) -> StoreError:
    """An error of redis-py as one of ours."""
    where = f"the store at {shown(url)}"
    if isinstance(error, AuthenticationError | NoPermissionError):
        return StoreUnavailable(f"{where} refuses these credentials: {error}")
    if isinstance(error, AWAY):
        return StoreUnavailable(f"{where} does not answer: {error}")
    if isinstance(error, OutOfMemoryError):
        return StoreUnavailable(f"{where} is full; raise its maxmemory: {error}")
    if str(error).startswith(REFUSES_FOR_NOW):
        return StoreUnavailable(f"{where} does not accept writes now: {error}")
    return StoreError(f"{where}: {error}")


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise the errors of redis-py as StoreUnavailable or StoreError."""
    try:
        yield
    except CLIENT_ERRORS as error:
        raise translation(error, url) from error


class Connection:
    """One client for the event loop and one for threads, both with the scripts. Close it after use."""

    def __init__(self, url: str, namespace: str, settings: StoreSettings, carried: str) -> None:
        self.url, self.namespace = url, namespace
        self._allow_without_append_only, self._safe = settings.allow_without_append_only, False
        self._safe_until = 0.0
        self._replicated, self._looks_again_at = False, 0.0
        self._name, self._operations = f"{uuid4().hex}:", count()
        self.prefix = key_prefix(namespace)
        # Every script gets these after its function and arguments; prelude.lua reads them in this order. The numbers
        # are one argument, because each argument costs time in client and server.
        numbers = (
            int(settings.keep_runs_days * 86_400_000),
            settings.keep_runs_per_job,
            int(settings.late_after_seconds * 1000),
            *(limit if isinstance(limit, int) else limit // MILLI for limit in LIMITS),
        )
        self._configured = (carried, OWN, json.dumps(numbers))
        self.client = open_client(
            url, settings, self.prefix, timeout_seconds=TIMEOUT_SECONDS, decode=True, moved=self._doubt
        )
        self._blocking = open_blocking_client(url, settings, self.prefix, timeout_seconds=TIMEOUT_SECONDS, decode=True)
        self._scripts = {name: self.client.register_script(text) for name, text in scripts().items()}
        self._blocking_scripts = {name: self._blocking.register_script(text) for name, text in scripts().items()}

    def key(self, name: str) -> str:
        return self.prefix + name

    async def call(self, noun: str, function: str, *, durable: bool = False, **arguments: Any) -> Any:
        """Run one Lua function atomically; raises StoreUnavailable or StoreError.

        `durable`: if the server has replicas, wait until one of them has the write, at most REPLICA_WAIT_MILLIS.
        """
        if function not in READS and not (self._safe and function in ENDS):
            await self.ensure_safe()
        repeats = function not in REPEATABLE
        if repeats:
            arguments["operation"] = f"{self._name}{next(self._operations)}"
        if durable:
            arguments["durable"] = True
        packed = self._arguments(function, arguments)
        try:
            return await self._until_answered(noun, packed, durable=durable, repeats=repeats)
        except CLIENT_ERRORS as error:
            raise translation(error, self.url) from error

    async def _until_answered(self, noun: str, packed: Packed, *, durable: bool, repeats: bool) -> Any:
        """Send an operation until its answer is known. If it cannot have reached the server, raise at once."""
        with Sending() as sent:
            for wait in (*RESEND_WAITS, None):
                try:
                    if durable:
                        return await self._call_durably(noun, packed)
                    return await self._scripts[noun](keys=[self.prefix], args=packed)
                except AWAY as error:
                    if not (repeats and sent.begun):
                        raise
                    if wait is None or isinstance(error, TimeoutError | AuthenticationError):
                        raise StoreUncertain(
                            f"{translation(error, self.url)}; the store may have executed the request"
                        ) from error
                    await asyncio.sleep(wait)
        raise AssertionError("the last round returns or raises")

    async def _call_durably(self, noun: str, packed: Packed) -> Any:
        """Call a script and wait for a replica. WAIT covers only writes of its own connection, so use one pipeline."""
        if self._replicated and monotonic() >= self._looks_again_at:
            self._replicated = await replicas(self.client) > 0
            self._looks_again_at = monotonic() + LOOK_SECONDS
        waits, reached = self._replicated, 0
        if waits:
            (answer, attached), reached = await self._call_and_wait(noun, packed)
        else:
            answer, attached = await self._scripts[noun](keys=[self.prefix], args=packed)
        if attached and not waits:
            self._replicated, self._looks_again_at, waits = True, monotonic() + LOOK_SECONDS, True
            reached = await self._wait_for_replica()
        if waits and not reached:
            # The store itself has the write. Go on without a copy, because refusing all work would be worse.
            self._looks_again_at = 0.0
            log.warning("no replica has confirmed a write", extra={"action": "replica_behind", "noun": noun})
        return answer

    async def _call_and_wait(self, noun: str, packed: Packed) -> tuple[Any, int]:
        async with self.client.pipeline(transaction=False) as pipe:
            await self._scripts[noun](keys=[self.prefix], args=packed, client=pipe)
            pipe.wait(1, REPLICA_WAIT_MILLIS)
            answer, reached = await pipe.execute()
        return answer, int(reached)

    async def _wait_for_replica(self) -> int:
        """Write a probe and wait for it. A replica that has the probe has all earlier writes of every connection."""
        async with self.client.pipeline(transaction=False) as pipe:
            pipe.set(self.key("probe"), "1", px=1)
            pipe.wait(1, REPLICA_WAIT_MILLIS)
            _, reached = await pipe.execute()
        return int(reached)

    def call_blocking(self, noun: str, function: str, **arguments: Any) -> Any:
        """Like `call`, but blocking, for use in a thread. It sends no operation id."""
        with translated(self.url):
            return self._blocking_scripts[noun](keys=[self.prefix], args=self._arguments(function, arguments))

    def _arguments(self, function: str, arguments: dict[str, Any]) -> Packed:
        return (function, in_utf8(json.dumps(arguments, ensure_ascii=False)), *self._configured)

    async def rows(self, run_ids: Sequence[str]) -> list[dict[str, str]]:
        """The hash of each run; {} if there is none, and only the field `wrong` if the key is not a hash."""
        with translated(self.url):
            async with self.client.pipeline(transaction=False) as pipe:
                for run_id in run_ids:
                    pipe.hgetall(self.key(f"run:{run_id}"))
                found = await pipe.execute(raise_on_error=False)
            for one in found:
                if isinstance(one, Exception) and "WRONGTYPE" not in str(one):
                    raise one
        return [{"wrong": str(one)} if isinstance(one, Exception) else one for one in found]

    async def now(self) -> datetime:
        with translated(self.url):
            seconds, micros = await self.client.time()
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)

    async def ensure_safe(self) -> None:
        """Before the first write and each SAFE_SECONDS, refuse a server that could lose accepted runs or is too new.

        Raises UnsafeStore or StoreUnavailable; the next call then checks again.
        """
        if self._safe and monotonic() < self._safe_until:
            return
        with translated(self.url):
            check_version(await self.client.info("server"), shown(self.url))
            configs = await configurations(self.client, "maxmemory-policy", "maxmemory", "appendonly")
            # The previous release may share this store, so a new store starts with the schema of that release.
            await self.client.set(self.key("schema"), SCHEMA - 1, nx=True)
            schema = int(await self.client.get(self.key("schema")))
        for server, config in configs.items():
            check_safety(config, self._allow_without_append_only, server)
        check_schema(schema)
        self._safe, self._safe_until = True, monotonic() + SAFE_SECONDS

    def _doubt(self) -> None:
        """The primary has changed: check the new one before the next write."""
        self._safe, self._looks_again_at = False, 0.0

    async def close(self) -> None:
        await self.client.aclose()
        await asyncio.to_thread(self._blocking.close)


def in_utf8(text: str) -> bytes:
    """Encode text; replace lone surrogates, which file names may contain and the scripts refuse."""
    return text.encode(errors="replace")


def check_schema(schema: int) -> None:
    """Raises UnsafeStore for a schema that this release cannot read. The message says what to do."""
    if schema > SCHEMA:
        raise UnsafeStore(
            f"the store has schema {schema}, but this Horae reads only up to {SCHEMA}; upgrade Horae, or use "
            "another namespace"
        )
    if schema < SCHEMA - 1:
        raise UnsafeStore(
            f"the store has schema {schema}, but this Horae reads only {SCHEMA - 1} and {SCHEMA}; start the "
            "previous release on it once, which raises the schema, or use another namespace"
        )


def check_version(info: Mapping[str, Any], server: str) -> None:
    """Raises UnsafeStore for a server older than the tested ones. Valkey reports the Redis version that it replaces."""
    told = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in told.split(".")[:2] if part.isdecimal())
    if numbers and numbers < LOWEST_VERSION:
        lowest = ".".join(map(str, LOWEST_VERSION))
        raise UnsafeStore(f"the store at {server} is Redis {told}; Horae needs Redis {lowest} or newer, or Valkey")


def check_safety(config: dict[str, str], allow_without_append_only: bool, server: str) -> None:
    """Raises UnsafeStore for a server that evicts keys or writes no append-only file. The message says what to do."""
    policy = config.get("maxmemory-policy", "noeviction")
    if policy != "noeviction" and config.get("maxmemory", "0") != "0":
        raise UnsafeStore(
            f"the store at {server} evicts keys (maxmemory-policy {policy}), so it can lose accepted runs; set "
            "maxmemory-policy noeviction"
        )
    if config.get("appendonly", "yes") != "yes" and not allow_without_append_only:
        raise UnsafeStore(
            f"the store at {server} does not write an append-only file, so it loses its last minutes when it dies; "
            "set appendonly yes, or accept the loss with store.allow_without_append_only = true"
        )


def batches[T](items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of at most `size` items, because a Lua call blocks the server for all clients."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
