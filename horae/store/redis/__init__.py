"""The store on Redis or Valkey: all its parts on one connection."""

from datetime import datetime

from horae.settings import StoreSettings
from horae.store.redis.claims import RedisClaims
from horae.store.redis.connection import Connection
from horae.store.redis.cursors import RedisCursors
from horae.store.redis.dead_letters import RedisDeadLetters
from horae.store.redis.ledger import RedisLedger
from horae.store.redis.moves import RedisMoves
from horae.store.redis.notices import RedisNotices
from horae.store.redis.outbox import RedisOutbox
from horae.store.redis.pauses import RedisPauses


class RedisStore:
    """Close it after use. It connects at the first use, and then checks that the server cannot lose accepted runs."""

    def __init__(self, url: str, namespace: str, settings: StoreSettings, carried: str = "") -> None:
        """`carried`: the provider whose messages this server carries, so that `accept` also publishes them."""
        self.namespace = namespace
        self._connection = Connection(url, namespace, settings, carried)
        self.outbox = RedisOutbox(self._connection)
        self.claims = RedisClaims(self._connection)
        self.cursors = RedisCursors(self._connection)
        self.pauses = RedisPauses(self._connection)
        self.moves = RedisMoves(self._connection)
        self.ledger = RedisLedger(self._connection, settings)
        self.dead_letters = RedisDeadLetters(self._connection)
        self.notices = RedisNotices(self._connection)

    async def check(self) -> None:
        """Raises StoreUnavailable, or UnsafeStore if the server could lose accepted runs."""
        await self._connection.ensure_safe()

    async def now(self) -> datetime:
        return await self._connection.now()

    async def close(self) -> None:
        await self._connection.close()
