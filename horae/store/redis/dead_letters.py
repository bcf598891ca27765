"""Dead letters: what durable runs that failed leave behind."""

import json
from datetime import datetime

from horae.clock import from_millis
from horae.messages import Message
from horae.runs import Failure, new_run_id
from horae.store.base import DeadLetter
from horae.store.redis.connection import Connection, translated


class RedisDeadLetters:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def newest(self, limit: int = 50) -> list[DeadLetter]:
        key = self._connection.key
        with translated(self._connection.url):
            entries = await self._connection.client.zrevrange(key("dead"), 0, limit - 1, withscores=True)
            async with self._connection.client.pipeline(transaction=False) as pipe:
                for id, _ in entries:
                    pipe.hgetall(key(f"run:{id}"))
                rows = await pipe.execute()
        return [_letter(id, from_millis(int(at)), row) for (id, at), row in zip(entries, rows, strict=True) if row]

    async def bury(self, body: bytes, reason: str) -> str:
        id = new_run_id()
        await self._connection.call(
            "dead_letters",
            "bury",
            id=id,
            body=body.decode(errors="replace"),
            reason=reason,
        )
        return id


def _letter(id: str, at: datetime, row: dict[str, str]) -> DeadLetter:
    message = None
    if "body" not in row:
        message = Message(
            job=row["job"],
            run=id,
            context=json.loads(row["context"]),
            metadata=json.loads(row["metadata"]),
        )
    return DeadLetter(
        run=id,
        job=row.get("job", ""),
        at=at,
        message=message,
        body=row.get("body", ""),
        reason=row.get("reason", ""),
        failure=Failure.parse(row.get("failure", "")),
    )
