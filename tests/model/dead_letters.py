"""Dead letters of the model."""

from collections.abc import AsyncIterator, Sequence

from horae.jobs.policies import Tier
from horae.messages import kept_of
from horae.reasons import Reason, worded
from horae.runs import Cause, Event, Run, State, new_run_id
from horae.store.values import DeadLetter, Happening
from tests.model.books import Noun, Row
from tests.model.retention import in_order


class ModelDeadLetters(Noun):
    async def newest(self, limit: int = 50, job: str | None = None) -> list[DeadLetter]:
        with self.books.lock:
            dead = self.books.dead
            run_ids = reversed(in_order({run_id: letter.at for run_id, letter in dead.items()}))
            return [dead[run_id] for run_id in run_ids if job is None or dead[run_id].job == job][:limit]

    async def ids(self, job: str | None = None) -> list[str]:
        return [letter.run_id async for letter in self.every(job)]

    async def get(self, run_id: str) -> DeadLetter | None:
        with self.books.lock:
            return self.books.dead.get(run_id)

    async def every(self, job: str | None = None, run_ids: Sequence[str] | None = None) -> AsyncIterator[DeadLetter]:
        dead = in_order({run_id: letter.at for run_id, letter in self.books.dead.items()})
        for run_id in dead if run_ids is None else run_ids:
            letter = self.books.dead.get(run_id)
            if letter and (job is None or letter.job == job):
                yield letter

    async def bury(self, body: bytes, reason: Reason, note: str = "", job: str = "") -> str:
        books, run_id, text = self.books, new_run_id(), kept_of(body)
        with books.lock:
            now = books.clock()
            run = Run(
                run_id=run_id,
                job=job,
                tier=Tier.ONEIRIC,
                cause=Cause.ENQUEUE,
                state=State.FAILED,
                accepted_at=now,
                ended_at=now,
                reason=reason,
                note=note,
                story=(Event(at=now, what="buried", generation=1, note=_line(worded(reason, note))),),
            )
            books.rows[run_id] = Row(run=run)
            books.dead[run_id] = DeadLetter(
                run_id=run_id, job=job, at=now, message=None, body=text, reason=reason, note=note, failure=None
            )
            books.notice(Happening.FAILED, run_id, reason, note)
        return run_id

    async def drop(self, run_ids: Sequence[str]) -> int:
        with self.books.lock:
            dropped = [run_id for run_id in run_ids if self.books.dead.pop(run_id, None)]
            for run_id in dropped:
                self.books.tell(run_id, "dropped")
                self.books.retention.expire(run_id)
            return len(dropped)


def _line(text: str) -> str:
    """Replace line ends, because a story has one line for each event."""
    return text.replace("\r", " ").replace("\n", " ")
