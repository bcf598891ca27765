"""The outbox: the one place where a run waits for its time."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from horae.clock import from_millis, to_millis
from horae.messages import Lane, Message
from horae.store.base import Due, NewRun
from horae.store.redis.connection import Connection, batches, translated

BATCH = 200


def row_of(run: NewRun) -> dict[str, Any]:
    """A new run as the scripts take it: no nulls, instants in milliseconds, JSON inside as text."""
    row = {
        "id": run.id,
        "job": run.job,
        "tier": run.tier.value,
        "cause": run.cause.value,
        "scheduled_for": str(to_millis(run.scheduled_for)) if run.scheduled_for else "",
        "due": str(to_millis(run.due)) if run.due else "0",
        "lane": run.lane.value,
        "provider": run.provider,
        "context": json.dumps(run.context),
        "metadata": json.dumps(run.metadata),
    }
    return row | {"verdict": run.verdict.value, "reason": run.reason} if run.verdict else row


class RedisOutbox:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def accept(self, runs: Sequence[NewRun], hold: timedelta = timedelta(0)) -> list[bool]:
        known: list[bool] = []
        for batch in batches(runs, BATCH):
            rows = [row_of(run) for run in batch]
            answers = await self._connection.call("outbox", "accept", runs=rows, hold=_millis(hold))
            known += [answer == 1 for answer in answers]
        return known

    async def take(self, limit: int, hold: timedelta) -> list[Due]:
        flat = await self._connection.call("outbox", "take", limit=limit, hold=_millis(hold))
        rows = (flat[start : start + 8] for start in range(0, len(flat), 8))
        return [_due(*row) for row in rows]

    async def published(self, messages: Sequence[Message]) -> None:
        for batch in batches(messages, BATCH):
            runs = [{"id": message.run, "attempt": message.attempt} for message in batch]
            await self._connection.call("outbox", "published", runs=runs)

    async def next_due(self) -> datetime | None:
        with translated(self._connection.url):
            first = await self._connection.client.zrange(self._connection.key("outbox"), 0, 0, withscores=True)
        return from_millis(int(first[0][1])) if first else None


def _millis(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _due(
    id: str,
    job: str,
    attempt: str,
    scheduled: str,
    lane: str,
    context: str,
    metadata: str,
    provider: str,
) -> Due:
    message = Message(
        job=job,
        run=id,
        attempt=int(attempt),
        scheduled_for=from_millis(int(scheduled)) if scheduled else None,
        lane=Lane(lane),
        context=json.loads(context),
        metadata=json.loads(metadata),
    )
    return Due(message=message, provider=provider)
