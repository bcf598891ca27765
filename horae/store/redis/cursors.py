"""Cursors: how far each job's fires are written, and an index by next fire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from horae.clock import from_millis, to_millis
from horae.store.base import Cursor, Declared, NewRun
from horae.store.redis.connection import Connection, translated
from horae.store.redis.outbox import row_of


class RedisCursors:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def declare(self, declared: Sequence[Declared], revision: int) -> dict[str, str]:
        jobs = []
        for one in declared:
            row: dict[str, Any] = {"job": one.job, "fingerprint": one.fingerprint}
            if one.next_after_now:
                row["next"] = str(to_millis(one.next_after_now))
            jobs.append(row)
        flat = await self._connection.call("cursors", "declare", jobs=jobs, revision=revision)
        return dict(zip(flat[::2], flat[1::2], strict=True))

    async def due(self, limit: int) -> list[Cursor]:
        flat = await self._connection.call("cursors", "due", limit=limit)
        return [
            Cursor(job=job, fingerprint=fingerprint, at=from_millis(int(at)))
            for job, fingerprint, at in (flat[start : start + 3] for start in range(0, len(flat), 3))
        ]

    async def advance(
        self,
        cursor: Cursor,
        to: datetime,
        next_fire: datetime | None,
        runs: Sequence[NewRun],
    ) -> bool:
        arguments: dict[str, Any] = {"runs": [row_of(run) for run in runs]}
        if next_fire:
            arguments["next"] = str(to_millis(next_fire))
        answer = await self._connection.call(
            "cursors",
            "advance",
            job=cursor.job,
            fingerprint=cursor.fingerprint,
            **{"from": to_millis(cursor.at)},
            to=to_millis(to),
            **arguments,
        )
        return bool(answer == 1)

    async def next_fire(self) -> datetime | None:
        with translated(self._connection.url):
            first = await self._connection.client.zrange(self._connection.key("next"), 0, 0, withscores=True)
        return from_millis(int(first[0][1])) if first else None
