"""The outbox of the model."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from horae.messages import Message
from horae.runs import State
from horae.store.values import Accepted, Due, NewRun, ProviderRuns, Taken, Upcoming
from tests.model.books import Noun
from tests.model.retention import in_order


class ModelOutbox(Noun):
    async def accept(self, runs: Sequence[NewRun], hold: timedelta = timedelta(0)) -> list[Accepted]:
        with self.books.lock:
            return [self._accept(run, hold) for run in runs]

    def _accept(self, run: NewRun, hold: timedelta) -> Accepted:
        books = self.books
        provider = books.route(run.job, run.provider, run.pinned)
        holder = books.unique.get((run.job, run.unique))
        if holder:
            return Accepted(run_id=holder, job=run.job, provider=provider, due=run.due, new=False)
        new = books.put(run)
        if new:
            now = books.clock()
            books.hand_out(run.run_id, run.due if run.due and run.due > now else now + hold)
            if run.unique:
                books.unique[run.job, run.unique] = run.run_id
            if books.dead.pop(run.replays, None):
                books.tell(run.replays, "replayed", f"as {run.run_id}")
                books.retention.expire(run.replays)
        return Accepted(run_id=run.run_id, job=run.job, provider=provider, due=run.due, new=new)

    async def take(self, providers: Sequence[str], limit: int, hold: timedelta) -> Taken:
        books, entries = self.books, list[Due]()
        with books.lock:
            now = books.clock()
            for provider in providers:
                due = [run_id for run_id, at in self._entries(provider).items() if at <= now]
                for run_id in due[:limit]:
                    books.hand_out(run_id)
                    books.recall(run_id, provider)
                    if books.rows[run_id].run.provider == provider:
                        books.outbox[run_id] = now + hold
                        entries.append(Due(message=books.message(run_id)))
                limit -= len(due[:limit])
            first = min((at for one in providers for at in self._entries(one).values()), default=None)
            return Taken(entries=entries, published=0, next_in=max(first - now, timedelta(0)) if first else None)

    def _entries(self, provider: str) -> dict[str, datetime]:
        """The entries of a provider, oldest first."""
        books = self.books
        mine = {run_id: at for run_id, at in books.outbox.items() if books.rows[run_id].run.provider == provider}
        return {run_id: mine[run_id] for run_id in in_order(mine)}

    async def upcoming(self, provider: str, within: timedelta) -> list[Upcoming]:
        books = self.books
        with books.lock:
            now = books.clock()
            return [
                Upcoming(message=books.message(run_id), due=at)
                for run_id, at in self._entries(provider).items()
                if (row := books.rows[run_id]).placed != row.generation
                and (row.run.not_before or now) > now
                and at <= now + within
            ]

    async def placed(self, messages: Sequence[Message]) -> None:
        with self.books.lock:
            for message in messages:
                row = self.books.rows.get(message.run_id)
                if row and row.generation == message.generation:
                    row.placed = message.generation

    async def publish_own(self, limit: int) -> int:
        return 0  # the model carries no messages

    async def published(self, messages: Sequence[Message], provider: str = "") -> None:
        books = self.books
        with books.lock:
            for message in messages:
                row = books.rows.get(message.run_id)
                if row and row.generation == message.generation and row.run.state in (State.PENDING, State.RETRYING):
                    books.outbox.pop(message.run_id, None)
                    books.queued[message.run_id] = books.clock()
                    books.change(message.run_id, state=State.QUEUED, provider=provider or row.run.provider)
                    books.providers.add(row.run.provider)
                    books.tell(message.run_id, "published")

    async def republish(self, provider: str, age: timedelta, note: str, limit: int) -> int:
        books = self.books
        with books.lock:
            before = books.clock() - age
            mine = {
                run_id: at
                for run_id, at in books.queued.items()
                if at <= before and books.rows[run_id].run.provider == provider
            }
            for run_id in in_order(mine)[:limit]:
                del books.queued[run_id]
                books.tell(run_id, "missing", note)
                books.rows[run_id].resent += 1
                books.change(run_id, state=State.PENDING)
                books.hand_out(run_id)
            return min(len(mine), limit)

    async def by_provider(self) -> list[ProviderRuns]:
        books = self.books
        with books.lock:
            now = books.clock()
            found = []
            for provider in sorted(books.providers):
                due, queued = (
                    [at for run_id, at in index.items() if books.rows[run_id].run.provider == provider]
                    for index in (books.outbox, books.queued)
                )
                found.append(
                    ProviderRuns(
                        provider=provider,
                        outbox=len(due),
                        overdue=max(now - min(due, default=now), timedelta(0)),
                        queued=len(queued),
                        oldest=max(now - min(queued, default=now), timedelta(0)),
                    )
                )
            return found

    async def sort(self) -> None:
        """The model has no previous release."""
