"""Dead letters, in memory."""

from collections.abc import AsyncIterator, Sequence

from horae.runs import new_run_id
from horae.store.memory.books import Noun
from horae.store.values import DeadLetter, Happening, Notice


class MemoryDeadLetters(Noun):
    async def newest(self, limit: int = 50, job: str | None = None) -> list[DeadLetter]:
        return [one for one in reversed(self.books.dead.values()) if job is None or one.job == job][:limit]

    async def get(self, run: str) -> DeadLetter | None:
        return self.books.dead.get(run)

    async def every(self, job: str | None = None, runs: Sequence[str] | None = None) -> AsyncIterator[DeadLetter]:
        for id in list(self.books.dead) if runs is None else runs:
            letter = self.books.dead.get(id)
            if letter and (job is None or letter.job == job):
                yield letter

    async def bury(self, body: bytes, reason: str, job: str = "") -> str:
        id, now = new_run_id(), self.books.clock()
        with self.books.lock:
            self.books.dead[id] = DeadLetter(
                run=id,
                job=job,
                at=now,
                message=None,
                body=body.decode(errors="replace"),
                reason=reason,
                failure=None,
            )
            self.books.say(Notice(what=Happening.FAILED, run=id, job=job, at=now, scheduled_for=None, reason=reason))
        return id

    async def drop(self, runs: Sequence[str]) -> int:
        with self.books.lock:
            dropped = [id for id in runs if self.books.dead.pop(id, None)]
            for id in dropped:
                if id in self.books.rows:
                    self.books.tell(id, "dropped")
            return len(dropped)
