"""Cursors: the instant up to which each job's fires are written, and an index by next fire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from horae.clock import from_millis, to_millis
from horae.store.redis.connection import Connection, batches
from horae.store.redis.outbox import row_of
from horae.store.rows import MILLI
from horae.store.values import Advance, Cursor, Declared, DueJobs, InForce, Watched

JOBS_A_CALL = 500
RUNS_A_CALL = 200


class RedisCursors:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def declare(self, declared: Sequence[Declared], revision: int) -> dict[str, str]:
        aside: dict[str, str] = {}
        for batch in batches(declared, JOBS_A_CALL):
            jobs = [_declared(one) for one in batch]
            flat = await self._connection.call("cursors", "declare", jobs=jobs, revision=revision)
            aside |= zip(flat[::2], flat[1::2], strict=True)
        await self._forget(revision)
        return aside

    async def _forget(self, revision: int) -> None:
        start = "0"
        while True:
            start = await self._connection.call("cursors", "forget", start=start, limit=JOBS_A_CALL, revision=revision)
            if start == "0":
                return

    async def in_force(self, jobs: Sequence[str]) -> dict[str, InForce]:
        found: dict[str, InForce] = {}
        for batch in batches(jobs, JOBS_A_CALL):
            rows = await self._connection.call("cursors", "in_force", jobs=list(batch))
            found |= {job: _in_force(row) for job, row in zip(batch, rows, strict=True) if row}
        return found

    async def watch(self, watched: Sequence[Watched], revision: int) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        for batch in batches(watched, JOBS_A_CALL):
            rows = [{"job": one.job, "fingerprint": one.fingerprint} for one in batch]
            since = await self._connection.call("cursors", "watch", jobs=rows, revision=revision)
            found |= {one.job: from_millis(int(at)) for one, at in zip(batch, since, strict=True) if at}
        return found

    async def account(self, watched: Sequence[Watched], until: datetime) -> None:
        for batch in batches(watched, JOBS_A_CALL):
            rows = [{"job": one.job, "fingerprint": one.fingerprint} for one in batch]
            await self._connection.call("cursors", "account", jobs=rows, to=to_millis(until))

    async def due(self, limit: int) -> DueJobs:
        cursors: list[Cursor] = []
        for start in range(0, limit, JOBS_A_CALL):
            page = min(JOBS_A_CALL, limit - start)
            now, millis, *flat = await self._connection.call("cursors", "due", start=start, limit=page)
            cursors += [
                Cursor(job=job, fingerprint=fingerprint, at=from_millis(int(at)))
                for job, fingerprint, at in (flat[place : place + 3] for place in range(0, len(flat), 3))
            ]
            if len(flat) < 3 * page:
                break
        return DueJobs(cursors=cursors, now=from_millis(int(now)), next_in=None if millis < 0 else millis * MILLI)

    async def advance(self, advances: Sequence[Advance]) -> list[bool]:
        done: list[bool] = []
        for batch in _by_runs(advances):
            rows = [_advance(one) for one in batch]
            answers = await self._connection.call("cursors", "advance", durable=True, advances=rows)
            done += [answer == 1 for answer in answers]
        return done


def _by_runs(advances: Sequence[Advance]) -> list[list[Advance]]:
    """Group into calls of about RUNS_A_CALL runs each, because a Lua call blocks the server for all clients."""
    calls: list[list[Advance]] = []
    runs = RUNS_A_CALL
    for one in advances:
        if runs >= RUNS_A_CALL:
            calls.append([])
            runs = 0
        calls[-1].append(one)
        runs += 1 + len(one.runs)
    return calls


def _declared(one: Declared) -> dict[str, Any]:
    row: dict[str, Any] = {
        "job": one.job,
        "fingerprint": one.fingerprint,
        "schedule": one.schedule,
        "offset": one.offset // MILLI,
    }
    instants = {"next": one.next_after_now, "since": one.since, "next_after_since": one.next_after_since}
    return row | {name: str(to_millis(instant)) for name, instant in instants.items() if instant}


def _in_force(row: Sequence[Any]) -> InForce:
    fingerprint, revision, cursor, next_fire, schedule, offset = row
    return InForce(
        fingerprint=fingerprint,
        revision=int(revision),
        cursor=from_millis(int(cursor)),
        next_fire=from_millis(int(next_fire)) if next_fire else None,
        schedule=schedule,
        offset=int(offset) * MILLI,
    )


def _advance(one: Advance) -> dict[str, Any]:
    row: dict[str, Any] = {
        "job": one.cursor.job,
        "fingerprint": one.cursor.fingerprint,
        "from": to_millis(one.cursor.at),
        "to": to_millis(one.to),
        "runs": [row_of(run) for run in one.runs],
    }
    return row | ({"next": str(to_millis(one.next_fire))} if one.next_fire else {})
