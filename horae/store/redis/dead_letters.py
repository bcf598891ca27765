"""Dead letters of failed durable runs and of invalid messages."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from horae.clock import EPOCH, from_millis
from horae.messages import Message, Priority, kept_of
from horae.reasons import Reason
from horae.runs import Failure, new_run_id
from horae.store.redis.connection import Connection, batches, translated
from horae.store.rows import UNREADABLE, read_run, reason_of, unreadable
from horae.store.values import DeadLetter

BATCH = 200
IDS_A_PAGE = 1000


class RedisDeadLetters:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def newest(self, limit: int = 50, job: str | None = None) -> list[DeadLetter]:
        found: dict[str, DeadLetter] = {}
        async for page in self._pages(job, min(limit, IDS_A_PAGE), newest_first=True):
            for batch in batches(page, BATCH):
                found |= {letter.run_id: letter for letter in await self._there(batch)}
            if len(found) >= limit:
                break
        return list(found.values())[:limit]

    async def ids(self, job: str | None = None) -> list[str]:
        pages = [page async for page in self._pages(job, IDS_A_PAGE, newest_first=False)]
        return list(dict.fromkeys(run_id for page in pages for run_id in page))

    async def _pages(self, job: str | None, limit: int, *, newest_first: bool) -> AsyncIterator[list[str]]:
        """The ids of the letters of a job, in pages. If letters are dropped meanwhile, a page may repeat some."""
        asked: dict[str, Any] = {"newest_first": newest_first, "limit": limit} | ({"job": job} if job else {})
        more, after = 1, ["", ""]
        while more:
            more, run_id, at, *page = await self._connection.call("dead_letters", "page", after=after, **asked)
            after = [run_id, at]
            yield page

    async def _there(self, run_ids: Sequence[str]) -> list[DeadLetter]:
        """The letters with these ids, in order. Omits those dropped meanwhile."""
        with translated(self._connection.url):
            died = await self._connection.client.zmscore(self._connection.key("dead"), list(run_ids))
        there = [(run_id, at) for run_id, at in zip(run_ids, died, strict=True) if at is not None]
        return await self._letters(there)

    async def get(self, run_id: str) -> DeadLetter | None:
        with translated(self._connection.url):
            at = await self._connection.client.zscore(self._connection.key("dead"), run_id)
        found = await self._letters([(run_id, at)]) if at is not None else []
        return found[0] if found else None

    async def every(self, job: str | None = None, run_ids: Sequence[str] | None = None) -> AsyncIterator[DeadLetter]:
        for batch in batches(await self.ids(job) if run_ids is None else run_ids, BATCH):
            for letter in await self._there(batch):
                if job is None or letter.job == job:
                    yield letter

    async def _letters(self, entries: Sequence[tuple[str, float]]) -> list[DeadLetter]:
        rows = await self._connection.rows([run_id for run_id, _ in entries])
        return [_letter(run_id, at, row) for (run_id, at), row in zip(entries, rows, strict=True)]

    async def bury(self, body: bytes, reason: Reason, note: str = "", job: str = "") -> str:
        run_id, text = new_run_id(), kept_of(body)
        await self._connection.call(
            "dead_letters", "bury", id=run_id, job=job, body=text, reason=reason.value, note=note
        )
        return run_id

    async def drop(self, run_ids: Sequence[str]) -> int:
        dropped = 0
        for batch in batches(run_ids, BATCH):
            dropped += await self._connection.call("dead_letters", "drop", runs=list(batch))
        return dropped


def _read(run_id: str, at: datetime, row: dict[str, str]) -> DeadLetter:
    """Raises one of UNREADABLE."""
    message, (reason, note) = None, reason_of(row)
    if "body" not in row:
        run = read_run(run_id, row)
        message = Message(
            job=run.job,
            run_id=run_id,
            generation=int(row.get("generation") or row.get("attempt") or 1),
            scheduled_for=run.scheduled_for,
            priority=Priority(row.get("priority") or row.get("lane") or Priority.NORMAL),
            context=run.context,
            metadata=run.metadata,
        )
    return DeadLetter(
        run_id=run_id,
        job=row.get("job", ""),
        at=at,
        message=message,
        body=row.get("body", ""),
        reason=reason,
        note=note,
        failure=Failure.parse(row.get("failure", "")),
    )


def _letter(run_id: str, at: float, row: dict[str, str]) -> DeadLetter:
    """Read a dead letter. If its row cannot be read, its failure says why; the letter can still be dropped."""
    died = EPOCH
    try:
        died = from_millis(int(at))
        if not row:
            raise LookupError("the row is gone")
        return _read(run_id, died, row)
    except UNREADABLE as error:
        return DeadLetter(
            run_id=run_id,
            job=row.get("job", ""),
            at=died,
            message=None,
            body=row.get("message", ""),
            reason=Reason.UNREADABLE,
            note="",
            failure=unreadable(error),
        )
