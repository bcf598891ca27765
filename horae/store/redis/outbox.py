"""The outbox: the one place where a run waits for its time."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from horae.clock import to_millis
from horae.messages import Message
from horae.store.redis.connection import Connection, batches
from horae.store.rows import MILLI, message_text
from horae.store.values import Accepted, Due, NewRun, Taken

BATCH = 200


def row_of(run: NewRun) -> dict[str, Any]:
    """A new run as the scripts take it: no nulls, instants in milliseconds, JSON inside as text."""
    row = {
        "id": run.run_id,
        "job": run.job,
        "tier": run.tier.value,
        "cause": run.cause.value,
        "scheduled_for": str(to_millis(run.scheduled_for)) if run.scheduled_for else "",
        "priority": run.priority.value,
        "provider": run.provider,
        "message": message_text(run.message),
    }
    if run.due:
        row["due"] = str(to_millis(run.due))
    if run.verdict:
        row |= {"verdict": run.verdict.value, "reason": run.reason}
    more = {"unique": run.unique, "replays": run.replays}
    return row | {key: value for key, value in more.items() if value}


class RedisOutbox:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def accept(self, runs: Sequence[NewRun], hold: timedelta = timedelta(0)) -> list[Accepted]:
        accepted: list[Accepted] = []
        for batch in batches(runs, BATCH):
            rows = [row_of(run) for run in batch]
            answers = await self._connection.call("outbox", "accept", durable=True, runs=rows, hold=hold // MILLI)
            accepted += [Accepted(run_id=run, new=new == 1, published=sent == 1) for run, new, sent in answers]
        return accepted

    async def take(self, limit: int, hold: timedelta) -> Taken:
        published, millis, *flat = await self._connection.call("outbox", "take", limit=limit, hold=hold // MILLI)
        rows = (flat[start : start + 4] for start in range(0, len(flat), 4))
        return Taken(
            entries=[_due(*row) for row in rows],
            published=published,
            next_in=None if millis < 0 else millis * MILLI,
        )

    async def published(self, messages: Sequence[Message]) -> None:
        for batch in batches(messages, BATCH):
            runs = [[message.run_id, message.generation] for message in batch]
            await self._connection.call("outbox", "published", runs=runs)


def _due(run_id: str, message: str, generation: str, provider: str) -> Due:
    first = Message.model_validate_json(message)
    return Due(message=first.model_copy(update={"generation": int(generation)}), provider=provider)
