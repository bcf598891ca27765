"""The pool of an asyncio client: a limited number of connections, and a wait only if all of them are in use."""

from typing import Any

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection


class Pool(BlockingConnectionPool):
    """redis-py's pool takes a lock and sets a timer for each command, also if a connection is free. That is a third of
    the client's time for a short command.
    """

    async def get_connection(self, command_name: str | None = None, *keys: Any, **options: Any) -> AbstractConnection:
        """A connected connection. If none is free, wait for one, at most as long as the pool's timeout."""
        if not self.can_get_connection():
            waited: AbstractConnection = await super().get_connection()  # type: ignore[no-untyped-call]
            return waited
        connection: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call]
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection
