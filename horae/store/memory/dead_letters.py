"""Dead letters, in memory."""

from horae.runs import new_run_id
from horae.store.base import (
    DeadLetter,
)
from horae.store.memory.books import Noun


class MemoryDeadLetters(Noun):
    async def newest(self, limit: int = 50) -> list[DeadLetter]:
        return list(reversed(self.books.dead.values()))[:limit]

    async def bury(self, body: bytes, reason: str) -> str:
        id, now = new_run_id(), self.books.clock()
        self.books.dead[id] = DeadLetter(
            run=id,
            job="",
            at=now,
            message=None,
            body=body.decode(errors="replace"),
            reason=reason,
            failure=None,
        )
        return id
