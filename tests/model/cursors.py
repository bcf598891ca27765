"""Cursors of the model."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from horae.store.values import Advance, Cursor, Declared, DueJobs, InForce, Watched
from tests.model.books import Noun


class ModelCursors(Noun):
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
                cursor, next_fire = max(books.clock(), known[2] if known else books.clock()), one.next_after_now
                if known and same:
                    cursor, next_fire = known[2], one.next_after_since or one.next_after_now
                elif known is None and one.since:
                    cursor, next_fire = one.since, one.next_after_since
                books.schedules[one.job] = (
                    one.fingerprint,
                    max(revision, known[1] if known else 0),
                    cursor,
                )
                if not same or one.job not in books.declared:
                    books.declared[one.job] = (one.schedule, one.offset)
                if next_fire and not (same and one.job in books.next):
                    books.next[one.job] = next_fire
                elif not same:
                    books.next.pop(one.job, None)
            here = {one.job for one in declared}
            for job in [job for job in books.next if job not in here and books.schedules[job][1] < revision]:
                del books.next[job], books.schedules[job]
        return aside

    async def in_force(self, jobs: Sequence[str]) -> dict[str, InForce]:
        books = self.books
        with books.lock:
            found = {}
            for job in jobs:
                if job in books.schedules:
                    fingerprint, revision, cursor = books.schedules[job]
                    schedule, offset = books.declared.get(job, ("", timedelta(0)))
                    found[job] = InForce(
                        fingerprint=fingerprint,
                        revision=revision,
                        cursor=cursor,
                        next_fire=books.next.get(job),
                        schedule=schedule,
                        offset=offset,
                    )
            return found

    async def watch(self, watched: Sequence[Watched], revision: int) -> dict[str, datetime]:
        books, found = self.books, {}
        with books.lock:
            for one in watched:
                fingerprint, newest, cursor = books.schedules.get(one.job, ("", revision, books.clock()))
                if fingerprint != one.fingerprint:
                    if revision < newest:
                        continue
                    cursor = books.clock()
                    books.schedules[one.job] = (one.fingerprint, revision, cursor)
                found[one.job] = cursor
        return found

    async def account(self, watched: Sequence[Watched], until: datetime) -> None:
        books = self.books
        with books.lock:
            for one in watched:
                fingerprint, revision, cursor = books.schedules.get(one.job, ("", 0, until))
                if fingerprint == one.fingerprint:
                    books.schedules[one.job] = (fingerprint, revision, max(cursor, until))

    async def due(self, limit: int) -> DueJobs:
        books = self.books
        with books.lock:
            now = books.clock()
            by_time = sorted((at, job) for job, at in books.next.items())
            due = [(at, job) for at, job in by_time if at <= now][:limit]
            following = by_time[len(due)][0] if len(due) < len(by_time) else None
            cursors = [
                Cursor(job=job, fingerprint=books.schedules[job][0], at=books.schedules[job][2]) for _, job in due
            ]
            next_in = max(following - now, timedelta(0)) if following else None
            return DueJobs(cursors=cursors, now=now, next_in=next_in)

    async def advance(self, advances: Sequence[Advance]) -> list[bool]:
        with self.books.lock:
            return [self._advance(one) for one in advances]

    def _advance(self, one: Advance) -> bool:
        books, cursor = self.books, one.cursor
        fingerprint, revision, at = books.schedules.get(cursor.job, ("", 0, one.to))
        if fingerprint != cursor.fingerprint or at != cursor.at or not cursor.at <= one.to <= books.clock():
            return False
        for run in one.runs:
            if books.put(run):
                if run.verdict:
                    books.settle(run.run_id, run.verdict, run.reason)
                else:
                    books.hand_out(run.run_id)
        books.schedules[cursor.job] = (fingerprint, revision, one.to)
        if one.next_fire:
            books.next[cursor.job] = one.next_fire
        else:
            books.next.pop(cursor.job, None)
        return True
