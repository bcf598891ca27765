"""Invariants of the keys of a store on a server: no run is lost, and every index entry has an open run."""

from collections.abc import Iterable, Mapping
from typing import Any

import redis.asyncio

from horae.messages import Message, Priority
from horae.redis.keys import FIELD, key_prefix, stream_of
from horae.runs import Run, State
from tests.contract.stores import PROVIDERS


class ServerLaw:
    def __init__(self, url: str, namespace: str) -> None:
        self._client: Any = redis.asyncio.Redis.from_url(url, decode_responses=True)
        self._namespace, self._prefix = namespace, key_prefix(namespace)

    async def published(self) -> list[Message]:
        """The messages that the store published to the streams since the last call."""
        found: list[Message] = []
        for priority in Priority:
            stream = stream_of(self._namespace, priority)
            for id, fields in await self._client.xrange(stream):
                found.append(Message.decode(fields[FIELD.decode()].encode(), 1_000_000))
                assert found[-1].priority is priority
                await self._client.xdel(stream, id)
        return found

    async def holds(self, runs: Iterable[Run], sent: set[tuple[str, int]]) -> None:
        rows = {run.run_id: run for run in runs}
        ours = {id: run for id, run in rows.items() if run.verdict is None}
        open_ids = set(ours)
        found = await self._indexes({run.job for run in rows.values()}, ours)
        for name in ("outbox", "waiting", "active", "unique"):
            assert found[name] <= open_ids, f"{name} points at runs that are not open: {found[name] - open_ids}"
        assert found["leases"] == {id for id, run in rows.items() if run.state is State.RUNNING}
        assert found["leases"] <= found["active"]
        assert not found["outbox"] & found["waiting"]
        assert found["outbox"] == found["sorted"], "each entry is in the set of the provider of its run"
        assert found["queued"] == {id for id, run in ours.items() if run.state is State.QUEUED}
        assert not found["waiting"] & found["active"], "what waits is not active: it would wait for itself"
        assert found["dead"] <= set(rows), "a dead letter has its row"
        for id in open_ids - found["leases"] - found["outbox"] - found["waiting"]:
            assert (id, found["attempts"][id]) in sent, f"{id} is {rows[id].state} and nowhere: lost"

    async def _indexes(self, jobs: Iterable[str], runs: Mapping[str, Run]) -> dict[str, Any]:
        """Each index as a set of run ids, read in one round trip."""
        key, open_ids = self._prefix, sorted(runs)
        parts = [f"{name}:{job}" for job in jobs for name in ("waiting", "active")]
        places = [(name, provider) for name in ("outbox", "queued") for provider in PROVIDERS]
        async with self._client.pipeline(transaction=True) as pipe:
            for name in ("outbox", "leases", "dead", *parts):
                pipe.zrange(key + name, 0, -1)
            pipe.hvals(key + "unique")
            for name, provider in places:
                pipe.zrange(f"{key}{name}:{provider}", 0, -1)
            for id in open_ids:
                pipe.hget(f"{key}run:{id}", "attempt")
            outbox, leases, dead, *rest = await pipe.execute()
        by_job, unique, attempts = rest[: len(parts)], rest[len(parts)], rest[len(parts) + 1 + len(places) :]
        found: dict[str, Any] = {"outbox": set(outbox), "leases": set(leases), "dead": set(dead), "unique": set(unique)}
        for name in ("waiting", "active"):
            held = zip(parts, by_job, strict=True)
            found[name] = {id for part, ids in held if part.startswith(name) for id in ids}
        found |= {"sorted": set(), "queued": set()}
        for (name, provider), ids in zip(places, rest[len(parts) + 1 :], strict=False):
            assert all(runs[id].provider == provider for id in ids), f"{name}:{provider} has runs of another provider"
            found["sorted" if name == "outbox" else name] |= set(ids)
        found["attempts"] = {id: int(attempt) for id, attempt in zip(open_ids, attempts, strict=True)}
        return found

    async def close(self) -> None:
        await self._client.aclose()
