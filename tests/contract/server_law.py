"""What must hold of the keys of a store on a server, whatever was done: nothing is lost, no index points nowhere."""

from collections.abc import Iterable

import redis.asyncio

from horae.keys import FIELD, key_prefix, stream_of
from horae.messages import Lane, Message
from horae.runs import Run, State


class ServerLaw:
    def __init__(self, url: str, namespace: str) -> None:
        self._client = redis.asyncio.Redis.from_url(url, decode_responses=True)
        self._namespace, self._prefix = namespace, key_prefix(namespace)

    async def published(self) -> list[Message]:
        """What the store put into the streams since the last look."""
        found: list[Message] = []
        for lane in Lane:
            stream = stream_of(self._namespace, lane)
            for id, fields in await self._client.xrange(stream):
                found.append(Message.decode(fields[FIELD.decode()].encode(), 1_000_000))
                assert found[-1].lane is lane
                await self._client.xdel(stream, id)
        return found

    async def holds(self, runs: Iterable[Run], at_the_broker: set[tuple[str, int]]) -> None:
        rows = {run.id: run for run in runs}
        jobs = sorted({run.job for run in rows.values()})
        outbox, leases, dead = [set(await self._members(name)) for name in ("outbox", "leases", "dead")]
        waiting = {id for job in jobs for id in await self._members(f"waiting:{job}")}
        active = {id for job in jobs for id in await self._members(f"active:{job}")}
        unique = set((await self._client.hgetall(f"{self._prefix}unique")).values())
        open_ids = {id for id, run in rows.items() if run.verdict is None}
        for name, index in (("outbox", outbox), ("waiting", waiting), ("active", active), ("unique", unique)):
            assert index <= open_ids, f"{name} points at runs that are not open: {index - open_ids}"
        assert leases == {id for id, run in rows.items() if run.state is State.RUNNING}
        assert leases <= active
        assert not outbox & waiting
        assert not waiting & active, "what waits is not active: it would wait for itself"
        assert all([await self._client.exists(f"{self._prefix}run:{id}") for id in dead])
        for id in open_ids - leases - outbox - waiting:
            attempt = int(await self._client.hget(f"{self._prefix}run:{id}", "attempt"))
            assert (id, attempt) in at_the_broker, f"{id} is {rows[id].state} and nowhere: lost"

    async def _members(self, index: str) -> list[str]:
        members: list[str] = await self._client.zrange(self._prefix + index, 0, -1)
        return members

    async def close(self) -> None:
        await self._client.aclose()
