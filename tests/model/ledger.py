"""The ledger of the model."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timedelta

from horae.runs import Run, State
from horae.store.values import ALL_RUNS, Figures, Happening, Latest, NewRun, Only
from tests.model.books import Noun
from tests.model.retention import in_order, when


class ModelLedger(Noun):
    async def run(self, run_id: str) -> Run | None:
        with self.books.lock:
            row = self.books.row(run_id)
            return row.run if row else None

    async def runs(
        self,
        *,
        job: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        only: Only = ALL_RUNS,
        limit: int = 50,
    ) -> list[Run]:
        with self.books.lock:
            self.books.retention.drop_expired()
            rows = self.books.rows
            kept = rows if job is None else self.books.retention.by_job[job]
            found = [
                rows[run_id].run
                for run_id in kept
                if (since is None or when(rows[run_id].run) >= since)
                and (until is None or when(rows[run_id].run) <= until)
                and only.holds(rows[run_id].run.state, rows[run_id].run.cause, rows[run_id].run.tier)
            ]
        return sorted(found, key=lambda run: (when(run), run.run_id), reverse=True)[:limit]

    async def ids(self, *, job: str | None = None, since: datetime | None = None, limit: int = 50) -> list[str]:
        return [run.run_id for run in await self.runs(job=job, since=since, limit=limit)]

    async def many(self, run_ids: Sequence[str]) -> list[Run]:
        with self.books.lock:
            return [row.run for run_id in run_ids if (row := self.books.row(run_id))]

    async def find(self, part: str, limit: int) -> list[str]:
        with self.books.lock:
            self.books.retention.drop_expired()
            return [run_id for run_id in self.books.rows if run_id.startswith(part) or run_id.endswith(part)][:limit]

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
                    self.books.retention.let_go(old)

    def _record(self, run: Run) -> None:
        books = self.books
        instant = run.scheduled_for or run.ended_at
        if books.row(run.run_id) is None and instant and books.retention.forgot(run.job, instant):
            return  # it may have been dropped, so writing it would count it twice
        books.put(
            NewRun(
                run_id=run.run_id,
                job=run.job,
                tier=run.tier,
                cause=run.cause,
                scheduled_for=run.scheduled_for,
                context=run.context,
                metadata=run.metadata,
            )
        )
        known = books.rows[run.run_id].run
        if known.state.settled:
            return
        if not known.started_at:
            self._notice_late(run)
        told = {"attempts": run.attempts, "worker": run.worker, "progress": run.progress}
        optional = {
            "started_at": run.started_at,
            "ended_at": run.ended_at,
            "context": run.context or None,
            "metadata": run.metadata or None,
            "failure": run.failure,
            "result": run.result,
        }
        books.change(run.run_id, **told, **{name: value for name, value in optional.items() if value is not None})
        if run.verdict:
            books.settle(run.run_id, run.verdict, run.reason, run.note)
            books.change(run.run_id, ended_at=run.ended_at or books.clock())
        else:
            books.change(run.run_id, state=State(run.state.value))

    def _notice_late(self, run: Run) -> None:
        if run.scheduled_for and run.started_at:
            late = run.started_at - run.scheduled_for
            if late > self.books.late_after:
                self.books.notice(Happening.LATE, run.run_id, None, f"{int(late.total_seconds())} s late")

    async def append_log(self, run_id: str, lines: Sequence[str]) -> None:
        with self.books.lock:
            log = self.books.retention.logs[run_id]
            log.extend(lines)
            del log[: max(0, len(log) - self.books.settings.keep_log_lines)]

    async def log(self, run_id: str) -> list[str]:
        with self.books.lock:
            return list(self.books.retention.logs.get(run_id, ()))

    async def figures(self) -> Figures:
        books = self.books
        with books.lock:
            now = books.clock()
            first = min(books.outbox.values(), default=now)
            return Figures(
                settled=dict(books.counts),
                noticed=dict(books.noticed),
                overdue=max(now - first, timedelta(0)),
                outbox=len(books.outbox),
                waiting=sum(len(waiting) for waiting in books.waiting.values()),
                running=len(books.leases),
                dead_letters=len(books.dead),
            )

    async def prune(self) -> AsyncIterator[int]:
        books = self.books
        with books.lock:
            gone = books.retention.drop_expired()
            gone += sum(books.retention.trim(job, books.dead) for job in list(books.retention.by_job))
            over = in_order({run_id: letter.at for run_id, letter in books.dead.items()})
            for run_id in over[: max(0, len(over) - books.settings.keep_dead_letters)]:
                del books.dead[run_id]
                books.retention.expire(run_id)
                gone += 1
        yield gone
