"""Dead letters, in memory."""

from collections.abc import AsyncIterator, Sequence

from horae.jobs.policies import Tier
from horae.runs import Cause, Event, Run, State, new_run_id
from horae.store.memory.books import Noun, Row
from horae.store.memory.retention import in_order
from horae.store.values import DeadLetter, Happening


class MemoryDeadLetters(Noun):
    async def newest(self, limit: int = 50, job: str | None = None) -> list[DeadLetter]:
        with self.books.lock:
            dead = self.books.dead
            ids = reversed(in_order({id: letter.at for id, letter in dead.items()}))
            return [dead[id] for id in ids if job is None or dead[id].job == job][:limit]

    async def get(self, run: str) -> DeadLetter | None:
        with self.books.lock:
            return self.books.dead.get(run)

    async def every(self, job: str | None = None, runs: Sequence[str] | None = None) -> AsyncIterator[DeadLetter]:
        dead = in_order({id: letter.at for id, letter in self.books.dead.items()})
        for id in dead if runs is None else runs:
            letter = self.books.dead.get(id)
            if letter and (job is None or letter.job == job):
                yield letter

    async def bury(self, body: bytes, reason: str, job: str = "") -> str:
        books, id, text = self.books, new_run_id(), body.decode(errors="replace")
        with books.lock:
            now = books.clock()
            run = Run(
                id=id,
                job=job,
                tier=Tier.ONEIRIC,
                cause=Cause.ENQUEUE,
                state=State.FAILED,
                accepted_at=now,
                ended_at=now,
                reason=reason,
                story=(Event(at=now, what="buried", attempt=1, note=reason),),
            )
            books.rows[id] = Row(run=run)
            books.dead[id] = DeadLetter(run=id, job=job, at=now, message=None, body=text, reason=reason, failure=None)
            books.notice(Happening.FAILED, id, reason)
        return id

    async def drop(self, runs: Sequence[str]) -> int:
        with self.books.lock:
            dropped = [id for id in runs if self.books.dead.pop(id, None)]
            for id in dropped:
                self.books.tell(id, "dropped")
                self.books.retention.expire(id)
            return len(dropped)
