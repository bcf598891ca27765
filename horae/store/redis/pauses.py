"""Pauses: jobs whose runs wait at the claim."""

from horae.store.redis.connection import Connection, translated
from horae.store.rows import EVERYTHING, paused_of


class RedisPauses:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def pause(self, job: str | None = None) -> None:
        await self._connection.call("pauses", "pause", job=job or EVERYTHING)

    async def resume(self, job: str | None = None) -> int:
        handed_out, more = await self._connection.call("pauses", "resume", job=job or EVERYTHING)
        while more:
            went, more = await self._connection.call("pauses", "release")
            handed_out += went
        return int(handed_out)

    async def paused(self) -> frozenset[str | None]:
        with translated(self._connection.url):
            names = await self._connection.client.hkeys(self._connection.key("paused"))
        return paused_of(names)
