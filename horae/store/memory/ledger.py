"""The ledger, in memory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from horae.runs import Run, Verdict
from horae.store.memory.books import Noun, Row
from horae.store.values import ALL_RUNS, Figures, Happening, Latest, Only


class MemoryLedger(Noun):
    async def run(self, id: str) -> Run | None:
        row = self.books.rows.get(id)
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
            found = [
                row.run
                for row in self.books.rows.values()
                if (job is None or row.run.job == job)
                and (since is None or _when(row.run) >= since)
                and (until is None or _when(row.run) <= until)
                and only.holds(row.run.state, row.run.cause, row.run.tier)
            ]
        return sorted(found, key=lambda run: (_when(run), run.id), reverse=True)[:limit]

    async def ids(self, *, job: str | None = None, since: datetime | None = None, limit: int = 50) -> list[str]:
        return [run.id for run in await self.runs(job=job, since=since, limit=limit)]

    async def many(self, ids: Sequence[str]) -> list[Run]:
        return [self.books.rows[id].run for id in ids if id in self.books.rows]

    async def find(self, part: str, limit: int) -> list[str]:
        return [id for id in self.books.rows if id.startswith(part) or id.endswith(part)][:limit]

    async def latest(self, jobs: Iterable[str]) -> dict[str, Latest]:
        found = {}
        for job in jobs:
            newest = await self.runs(job=job, limit=1)
            settled = self.books.rows.get(self.books.last.get(job, ""))
            found[job] = Latest(
                newest=newest[0] if newest else None,
                settled=settled.run if settled else None,
            )
        return found

    async def record(self, runs: Sequence[Run], keep: int | None = None) -> None:
        for run in runs:
            with self.books.lock:
                known = self.books.rows.get(run.id)
                if known is None or not known.run.state.settled:
                    accepted = known.run.accepted_at if known else self.books.clock()
                    self.books.rows[run.id] = Row(run=replace(run, accepted_at=accepted))
                    if not (known and known.run.started_at):
                        self._notice_late(run)
                    if run.verdict:
                        self.books.last[run.job] = run.id
                        self.books.counts[run.job, run.verdict] += 1
                        if run.verdict in (Verdict.FAILED, Verdict.MISSED):
                            self.books.notice(Happening(run.verdict.value), run.id, run.reason)
            for old in (await self.runs(job=run.job, limit=1_000_000))[keep:] if keep is not None else []:
                del self.books.rows[old.id]

    def _notice_late(self, run: Run) -> None:
        if run.scheduled_for and run.started_at:
            late = run.started_at - run.scheduled_for
            if late > self.books.late_after:
                self.books.notice(Happening.LATE, run.id, f"{int(late.total_seconds())} s late")

    async def append_log(self, run: str, lines: Sequence[str]) -> None:
        with self.books.lock:
            if run in self.books.rows:
                self.books.rows[run].log.extend(lines)

    async def log(self, run: str) -> list[str]:
        row = self.books.rows.get(run)
        return list(row.log) if row else []

    async def counts(self) -> Mapping[tuple[str, Verdict], int]:
        with self.books.lock:
            return dict(self.books.counts)

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

    async def prune(self) -> int:
        return 0


def _when(run: Run) -> datetime:
    when = run.scheduled_for or run.accepted_at
    assert when
    return when
