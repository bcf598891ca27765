"""The schema of a store: the field names of rows and notices. Only `horae store upgrade` raises it."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.exceptions import NoPermissionError, ResponseError

from horae.redis.clients import PARTNER
from horae.redis.keys import SCHEMA
from horae.settings import Settings
from horae.store.redis.connection import Connection, translated

ROWS_A_CALL = 200
"""Small, because a Lua call blocks the server for all clients."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OlderClient:
    """A connection of redis-py on the store's database whose client name does not state a schema."""

    address: str
    age_seconds: int
    last_command: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaState:
    """The state of a store before an upgrade."""

    schema: int
    runs: int
    """The number of rows in the ledger. The upgrade reads all of them."""
    older: Sequence[OlderClient] | None
    """Connections that may belong to an older release. None if the server refuses to list its clients, or does not list
    their libraries (Redis before 7.2)."""


class RedisSchema:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def state(self) -> SchemaState:
        """Raises UnsafeStore for a schema that this release cannot read."""
        await self._connection.ensure_safe()
        with translated(self._connection.url):
            schema = int(await self._connection.client.get(self._connection.key("schema")))
            runs = int(await self._connection.client.zcard(self._connection.key("ledger")))
            older = await self._older()
        return SchemaState(schema=schema, runs=runs, older=older)

    async def _older(self) -> list[OlderClient] | None:
        """Best effort: includes other programs on the same database, and misses processes that are not connected."""
        database = str(self._connection.client.connection_pool.connection_kwargs.get("db", 0))
        try:
            clients = await self._connection.client.client_list()
        except (NoPermissionError, ResponseError):
            return None
        if not any("lib-name" in one for one in clients):
            return None
        return [
            OlderClient(address=one["addr"], age_seconds=int(one["age"]), last_command=one["cmd"])
            for one in clients
            if one["db"] == database and _is_older(one.get("lib-name", ""))
        ]

    async def upgrade(self) -> int:
        """Raise the schema, then rewrite the existing rows; returns how many. After a failure, call it again."""
        await self._connection.call("schema", "raise", durable=True, to=SCHEMA)
        start, rewritten = "0", 0
        while True:
            step = json.loads(await self._connection.call("schema", "rewrite", start=start, limit=ROWS_A_CALL))
            start, rewritten = step["start"], rewritten + int(step["rewritten"])
            if start == "0":
                return rewritten


def _is_older(library: str) -> bool:
    """Whether a connection of redis-py does not state the schema of its process."""
    return library.startswith("redis-py") and PARTNER not in library


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[RedisSchema]:
    """The schema of the configured store."""
    assert settings.store.url, "with_store"
    url = settings.store.url.get_secret_value()
    connection = Connection(url, settings.namespace, settings.store, settings.carried)
    try:
        yield RedisSchema(connection)
    finally:
        await connection.close()
