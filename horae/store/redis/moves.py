"""Move records: the provider of a job's runs, whatever the code says."""

from horae.store.redis.connection import Connection, translated
from horae.store.rows import EVERYTHING, moves_of
from horae.store.values import Move

ROWS_A_CALL = 500
"""A call takes a few milliseconds, in which the server answers no other client."""


class RedisMoves:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def move(self, provider: str, job: str | None = None) -> None:
        await self._connection.call("moves", "move", durable=True, job=job or EVERYTHING, provider=provider)

    async def end(self, provider: str, job: str | None = None) -> bool:
        return bool(await self._connection.call("moves", "end_move", job=job or EVERYTHING, provider=provider))

    async def follow(self, provider: str) -> int:
        start, moved = "0", 0
        while True:
            start, some = await self._connection.call(
                "moves", "follow", provider=provider, start=start, limit=ROWS_A_CALL
            )
            moved += int(some)
            if start == "0":
                return moved

    async def all(self) -> dict[str | None, Move]:
        with translated(self._connection.url):
            async with self._connection.client.pipeline(transaction=True) as pipe:
                pipe.hgetall(self._connection.key("moves"))
                pipe.hgetall(self._connection.key("moved_at"))
                providers, instants = await pipe.execute()
        return moves_of(providers, instants)
