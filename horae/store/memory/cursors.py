"""Cursors, in memory."""

from collections.abc import Sequence
from datetime import datetime

from horae.store.base import (
    Cursor,
    Declared,
    NewRun,
)
from horae.store.memory.books import Noun


class MemoryCursors(Noun):
    async def declare(self, declared: Sequence[Declared], revision: int) -> dict[str, str]:
        books, aside = self.books, {}
        with books.lock:
            for one in declared:
                known = books.schedules.get(one.job)
                if known and known[0] != one.fingerprint and revision <= known[1]:
                    aside[one.job] = (
                        "a newer revision is in force"
                        if revision < known[1]
                        else "another definition has the same revision"
                    )
                    continue
                same = known is not None and known[0] == one.fingerprint
                cursor = known[2] if known and same else books.clock()
                books.schedules[one.job] = (
                    one.fingerprint,
                    max(revision, known[1] if known else 0),
                    cursor,
                )
                if one.next_after_now and not (same and one.job in books.next):
                    books.next[one.job] = one.next_after_now
                elif not same:
                    books.next.pop(one.job, None)
            here = {one.job for one in declared}
            for job in [job for job in books.next if job not in here and books.schedules[job][1] < revision]:
                del books.next[job], books.schedules[job]
        return aside

    async def due(self, limit: int) -> list[Cursor]:
        books = self.books
        with books.lock:
            now = books.clock()
            due = sorted((at, job) for job, at in books.next.items() if at <= now)[:limit]
            return [
                Cursor(
                    job=job,
                    fingerprint=books.schedules[job][0],
                    at=books.schedules[job][2],
                )
                for _, job in due
            ]

    async def advance(
        self,
        cursor: Cursor,
        to: datetime,
        next_fire: datetime | None,
        runs: Sequence[NewRun],
    ) -> bool:
        books = self.books
        with books.lock:
            fingerprint, revision, at = books.schedules.get(cursor.job, ("", 0, to))
            if fingerprint != cursor.fingerprint or at != cursor.at or to > books.clock():
                return False
            for run in runs:
                if books.put(run):
                    if run.verdict:
                        books.settle(run.id, run.verdict, run.reason)
                    else:
                        books.outbox[run.id] = books.clock()
            books.schedules[cursor.job] = (fingerprint, revision, to)
            if next_fire:
                books.next[cursor.job] = next_fire
            else:
                books.next.pop(cursor.job, None)
            return True

    async def next_fire(self) -> datetime | None:
        with self.books.lock:
            return min(self.books.next.values(), default=None)
