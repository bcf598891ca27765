"""The outbox of the model."""

from collections.abc import Sequence
from datetime import timedelta

from horae.messages import Message
from horae.runs import State
from horae.store.values import Accepted, Due, NewRun, Taken
from tests.model.books import Noun


class ModelOutbox(Noun):
    async def accept(self, runs: Sequence[NewRun], hold: timedelta = timedelta(0)) -> list[Accepted]:
        with self.books.lock:
            return [self._accept(run, hold) for run in runs]

    def _accept(self, run: NewRun, hold: timedelta) -> Accepted:
        books = self.books
        holder = books.unique.get((run.job, run.unique))
        if holder:
            return Accepted(run_id=holder, job=run.job, provider=run.provider, due=run.due, new=False)
        new = books.put(run)
        if new:
            now = books.clock()
            books.outbox[run.run_id] = run.due if run.due and run.due > now else now + hold
            if run.unique:
                books.unique[run.job, run.unique] = run.run_id
            if books.dead.pop(run.replays, None):
                books.tell(run.replays, "replayed", f"as {run.run_id}")
                books.retention.expire(run.replays)
        return Accepted(run_id=run.run_id, job=run.job, provider=run.provider, due=run.due, new=new)

    async def take(self, limit: int, hold: timedelta) -> Taken:
        books = self.books
        with books.lock:
            now = books.clock()
            due = sorted((at, run_id) for run_id, at in books.outbox.items() if at <= now)[:limit]
            for _, run_id in due:
                books.outbox[run_id] = now + hold
            entries = [
                Due(message=books.message(run_id), provider=books.rows[run_id].run.provider) for _, run_id in due
            ]
            first = min(books.outbox.values(), default=None)
            return Taken(entries=entries, published=0, next_in=max(first - now, timedelta(0)) if first else None)

    async def publish_own(self, limit: int) -> int:
        return 0  # the model carries no messages

    async def published(self, messages: Sequence[Message]) -> None:
        books = self.books
        with books.lock:
            for message in messages:
                row = books.rows.get(message.run_id)
                if row and row.generation == message.generation and row.run.state in (State.PENDING, State.RETRYING):
                    books.outbox.pop(message.run_id, None)
                    books.change(message.run_id, state=State.QUEUED)
                    books.tell(message.run_id, "published")
