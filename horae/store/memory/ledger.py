"""The ledger, in memory."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from horae.runs import Run, State, Verdict
from horae.store.memory.books import Noun
from horae.store.memory.retention import in_order, when
from horae.store.values import Latest, NewRun


class MemoryLedger(Noun):
    async def run(self, id: str) -> Run | None:
        with self.books.lock:
            row = self.books.row(id)
            return row.run if row else None

    async def runs(
        self,
        *,
        job: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
    ) -> list[Run]:
        with self.books.lock:
            self.books.retention.drop_expired()
            rows = self.books.rows
            kept = rows if job is None else self.books.retention.by_job[job]
            found = [
                rows[id].run
                for id in kept
                if (since is None or when(rows[id].run) >= since) and (until is None or when(rows[id].run) <= until)
            ]
        return sorted(found, key=lambda run: (when(run), run.id), reverse=True)[:limit]

    async def latest(self, jobs: Iterable[str]) -> dict[str, Latest]:
        found = {}
        for job in jobs:
            newest = await self.runs(job=job, limit=1)
            settled = await self.run(self.books.last.get(job, ""))
            found[job] = Latest(newest=newest[0] if newest else None, settled=settled)
        return found

    async def record(self, runs: Sequence[Run], keep: int | None = None) -> None:
        with self.books.lock:
            for run in runs:
                self._record(run)
                index = self.books.retention.by_job[run.job]
                for old in in_order(index)[: max(0, len(index) - keep)] if keep is not None else []:
                    self.books.retention.drop(old)

    def _record(self, run: Run) -> None:
        books = self.books
        books.put(
            NewRun(
                id=run.id,
                job=run.job,
                tier=run.tier,
                cause=run.cause,
                scheduled_for=run.scheduled_for,
                context=run.context,
                metadata=run.metadata,
            )
        )
        known = books.rows[run.id].run
        if known.state.settled:
            return
        told = {"attempts": run.attempts, "worker": run.worker, "progress": run.progress}
        optional = {
            "started_at": run.started_at,
            "ended_at": run.ended_at,
            "context": run.context or None,
            "metadata": run.metadata or None,
            "failure": run.failure,
            "result": run.result,
        }
        books.change(run.id, **told, **{name: value for name, value in optional.items() if value is not None})
        if run.verdict:
            books.settle(run.id, run.verdict, run.reason)
            books.change(run.id, ended_at=run.ended_at or books.clock())
        else:
            books.change(run.id, state=State(run.state.value))

    async def append_log(self, run: str, lines: Sequence[str]) -> None:
        with self.books.lock:
            log = self.books.retention.logs[run]
            log.extend(lines)
            del log[: max(0, len(log) - self.books.settings.keep_log_lines)]

    async def log(self, run: str) -> list[str]:
        with self.books.lock:
            return list(self.books.retention.logs.get(run, ()))

    async def counts(self) -> Mapping[tuple[str, Verdict], int]:
        with self.books.lock:
            return dict(self.books.counts)

    async def prune(self) -> int:
        books = self.books
        with books.lock:
            gone = books.retention.drop_expired()
            gone += sum(books.retention.trim(job, books.dead) for job in list(books.retention.by_job))
            over = in_order({id: letter.at for id, letter in books.dead.items()})
            for id in over[: max(0, len(over) - books.settings.keep_dead_letters)]:
                del books.dead[id]
                books.retention.expire(id)
                gone += 1
            return gone
