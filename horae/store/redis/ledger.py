"""The ledger: every run, its states and its verdict."""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from horae.clock import to_millis
from horae.runs import Run, Verdict
from horae.settings import StoreSettings
from horae.store.redis.connection import Connection, batches, translated
from horae.store.rows import MILLI, run_of
from horae.store.values import ALL_RUNS, Figures, Happening, Latest, Only

LINES_A_CALL = 500
PAGE = 500
"""How many entries of an index are read at a time."""
FIELDS = 1000
"""About how many fields of a hash are read at a time."""
JOBS_A_CALL = 200
RUNS_A_CALL = 100


class RedisLedger:
    def __init__(self, connection: Connection, settings: StoreSettings) -> None:
        self._connection = connection
        self._keep_log_lines, self._keep_dead = settings.keep_log_lines, settings.keep_dead_letters

    async def run(self, run_id: str) -> Run | None:
        found = await self.many([run_id])
        return found[0] if found else None

    async def many(self, run_ids: Sequence[str]) -> list[Run]:
        rows = await self._connection.rows(run_ids)
        return [run_of(run_id, row) for run_id, row in zip(run_ids, rows, strict=True) if row]

    async def runs(
        self,
        *,
        job: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        only: Only = ALL_RUNS,
        limit: int = 50,
    ) -> list[Run]:
        found: dict[str, Run] = {}
        async for page in self._newest(job, since, until, PAGE if only != ALL_RUNS else min(PAGE, limit)):
            # A run that is added meanwhile shifts the pages, so a page may repeat runs. Keep each run once.
            fresh = [run_id for run_id in page if run_id not in found]
            chosen = fresh if only == ALL_RUNS else await self._chosen(fresh, only)
            found |= {run.run_id: run for run in await self.many(chosen[: limit - len(found)])}
            if len(found) >= limit:
                break
        return list(found.values())

    async def ids(self, *, job: str | None = None, since: datetime | None = None, limit: int = 50) -> list[str]:
        found: dict[str, None] = {}
        async for page in self._newest(job, since, None, min(PAGE, limit)):
            found |= dict.fromkeys(page)
            if len(found) >= limit:
                break
        return list(found)[:limit]

    async def _newest(
        self, job: str | None, since: datetime | None, until: datetime | None, size: int
    ) -> AsyncIterator[list[str]]:
        """The ids between the bounds, newest first, in pages of `size`."""
        index = self._connection.key(f"ledger:{job}" if job else "ledger")
        low = to_millis(since) if since else "-inf"
        high = to_millis(until) if until else "+inf"
        start, page = 0, [""] * size
        while len(page) == size:
            with translated(self._connection.url):
                page = await self._connection.client.zrevrangebyscore(index, high, low, start=start, num=size)
            start += size
            yield page

    async def _chosen(self, run_ids: Sequence[str], only: Only) -> list[str]:
        """The ids that pass the filter. Reads three fields of each row, because whole rows may be large."""
        with translated(self._connection.url):
            async with self._connection.client.pipeline(transaction=False) as pipe:
                for run_id in run_ids:
                    pipe.hmget(self._connection.key(f"run:{run_id}"), "state", "cause", "tier")
                rows = await pipe.execute()
        return [run_id for run_id, row in zip(run_ids, rows, strict=True) if row[0] and only.holds(*row)]

    async def find(self, part: str, limit: int) -> list[str]:
        found: list[str] = []
        with translated(self._connection.url):
            scan = self._connection.client.zscan_iter(self._connection.key("ledger"), match=f"*{part}*", count=1000)
            async for run_id, _ in scan:
                if run_id not in found and (run_id.startswith(part) or run_id.endswith(part)):
                    found.append(run_id)
                if len(found) == limit:
                    break
        return found

    async def latest(self, jobs: Iterable[str]) -> dict[str, Latest]:
        names = list(jobs)
        if not names:
            return {}
        with translated(self._connection.url):
            async with self._connection.client.pipeline(transaction=False) as pipe:
                pipe.hmget(self._connection.key("last"), names)
                for name in names:
                    pipe.zrevrange(self._connection.key(f"ledger:{name}"), 0, 0)
                settled, *newest = await pipe.execute()
        wanted = {run_id for run_id in settled if run_id} | {run_ids[0] for run_ids in newest if run_ids}
        rows = {run.run_id: run for run in await self.many(sorted(wanted))}
        return {
            name: Latest(
                newest=rows.get(run_ids[0]) if run_ids else None,
                settled=rows.get(last) if last else None,
            )
            for name, last, run_ids in zip(names, settled, newest, strict=True)
        }

    async def record(self, runs: Sequence[Run], keep: int | None = None) -> None:
        kept: dict[str, Any] = {} if keep is None else {"keep": keep}
        for batch in batches(runs, RUNS_A_CALL):
            await self._connection.call("ledger", "record", runs=[record_of(run) for run in batch], **kept)

    async def append_log(self, run_id: str, lines: Sequence[str]) -> None:
        if not lines or not self._keep_log_lines:
            return
        newest = lines[-self._keep_log_lines :]
        for batch in batches(newest, LINES_A_CALL):
            await self._connection.call("ledger", "append_log", id=run_id, lines=list(batch), keep=self._keep_log_lines)

    async def log(self, run_id: str) -> list[str]:
        with translated(self._connection.url):
            lines: list[str] = await self._connection.client.lrange(self._connection.key(f"log:{run_id}"), 0, -1)
        return lines

    async def figures(self) -> Figures:
        found = json.loads(await self._connection.call("ledger", "figures"))
        return Figures(
            settled={(job, Verdict(verdict)): count async for job, verdict, count in self._by_job("counts")},
            noticed={(job, Happening(what)): count async for job, what, count in self._by_job("noticed")},
            overdue=found["overdue"] * MILLI,
            outbox=found["outbox"],
            waiting=await self._waiting(),
            running=found["running"],
            dead_letters=found["dead"],
        )

    async def _by_job(self, name: str) -> AsyncIterator[tuple[str, str, int]]:
        """A hash with the fields `job|word`: job, word and count. `%7C` in a job means `|`."""
        async for fields in self._pages(name):
            for field, count in fields.items():
                job, _, word = field.rpartition("|")
                yield job.replace("%7C", "|").replace("%25", "%"), word, int(count)

    async def _pages(self, name: str) -> AsyncIterator[dict[str, str]]:
        """A hash in pages, because one answer with all fields blocks the server. A field may come twice."""
        cursor = 0
        while True:
            with translated(self._connection.url):
                cursor, fields = await self._connection.client.hscan(self._connection.key(name), cursor, count=FIELDS)
            yield fields
            if not cursor:
                return

    async def _waiting(self) -> int:
        start, waiting = "0", 0
        while True:
            start, some = await self._connection.call("ledger", "waiting", start=start)
            waiting += int(some)
            if start == "0":
                return waiting

    async def prune(self) -> AsyncIterator[int]:
        async for fields in self._pages("last"):
            for jobs in batches(list(fields), JOBS_A_CALL):
                async for gone in self._prune_jobs(jobs):
                    yield gone
        more, after = 1, ["", ""]
        while more:
            gone, more, *after = await self._connection.call(
                "ledger", "prune_letters", after=after, keep_dead=self._keep_dead
            )
            yield gone

    async def _prune_jobs(self, jobs: Sequence[str]) -> AsyncIterator[int]:
        after = ["", ""]
        while jobs:
            gone, done, *after = await self._connection.call("ledger", "prune", jobs=list(jobs), after=after)
            jobs = jobs[done:]
            yield gone


def record_of(run: Run) -> dict[str, Any]:
    """The argument of the Lua function `record` for a run."""
    fields: list[str] = ["attempts", str(run.attempts), "worker", run.worker, "progress", run.progress]
    for name, instant in (("started_at", run.started_at), ("ended_at", run.ended_at)):
        if instant:
            fields += [name, str(to_millis(instant))]
    for name, values in (("context", run.context), ("metadata", run.metadata)):
        if values:
            fields += [name, json.dumps(values)]
    if run.failure:
        fields += ["failure", json.dumps(asdict(run.failure))]
    if run.result is not None:
        fields += ["result", json.dumps(run.result)]
    record: dict[str, Any] = {
        "id": run.run_id,
        "job": run.job,
        "tier": run.tier.value,
        "cause": run.cause.value,
        "state": run.state.value,
        "reason": run.reason or "",
        "note": run.note,
        "scheduled_for": str(to_millis(run.scheduled_for)) if run.scheduled_for else "",
        "fields": fields,
    }
    if not record["scheduled_for"]:
        del record["scheduled_for"]
    if run.verdict:
        record["verdict"] = run.verdict.value
    for name, instant in (("started_at", run.started_at), ("ended_at", run.ended_at)):
        if instant:
            record[name] = str(to_millis(instant))
    return record
