"""The outbox, in memory."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from horae.messages import Message
from horae.runs import State
from horae.store.base import (
    Due,
    NewRun,
)
from horae.store.memory.books import Noun


class MemoryOutbox(Noun):
    async def accept(self, runs: Sequence[NewRun], hold: timedelta = timedelta(0)) -> list[bool]:
        books, known = self.books, []
        with books.lock:
            for run in runs:
                known.append(books.put(run))
                if known[-1]:
                    now = books.clock()
                    books.outbox[run.id] = run.due if run.due and run.due > now else now + hold
        return known

    async def take(self, limit: int, hold: timedelta) -> list[Due]:
        books = self.books
        with books.lock:
            now = books.clock()
            due = sorted((at, id) for id, at in books.outbox.items() if at <= now)[:limit]
            for _, id in due:
                books.outbox[id] = now + hold
            return [Due(message=books.message(id), provider=books.rows[id].run.provider) for _, id in due]

    async def published(self, messages: Sequence[Message]) -> None:
        books = self.books
        with books.lock:
            for message in messages:
                row = books.rows.get(message.run)
                if row and row.attempt == message.attempt and row.run.state in (State.PENDING, State.RETRYING):
                    books.outbox.pop(message.run, None)
                    books.change(message.run, state=State.QUEUED)
                    books.tell(message.run, "published")

    async def next_due(self) -> datetime | None:
        with self.books.lock:
            return min(self.books.outbox.values(), default=None)
