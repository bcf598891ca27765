"""Writes the due fires of durable jobs. Any number of sidecars may do it at the same time; each fire is written
once.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from horae.clock import monotonic
from horae.errors import InvalidSchedule, StoreError
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Tier
from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.queues.routing import Router
from horae.reasons import Reason
from horae.runs import Cause, Verdict, fire_id
from horae.schedules.kinds import Schedule
from horae.schedules.making import schedule_from
from horae.store.base import Store
from horae.store.cursors import Advance, Cursor, Declared, InForce
from horae.store.limits import GRACE
from horae.store.values import NewRun

log = logging.getLogger(__name__)
POLL_SECONDS = 0.5
JOBS_A_STEP = 200
VERIFY_SECONDS = 5.0
VERIFY_SHARES = 10
"""Looks in which all jobs are seen once."""
FIRES_A_STEP = 200
"""Fires of one job that are written in one atomic step; a longer gap takes several."""


class Dispatcher:
    """`revision` orders definitions: an older sidecar does not fire jobs that a newer one has changed."""

    name = "dispatcher"

    def __init__(self, store: Store, registry: Registry, router: Router, metrics: Metrics, revision: int) -> None:
        self._store, self._router, self._metrics, self._revision = store, router, metrics, revision
        self._jobs: Mapping[str, Job] = {job.name: job for job in registry.by_tier(Tier.ONEIRIC)}
        self._fingerprints = {job.name: job.fingerprint for job in self._jobs.values()}
        self._others = 0
        """Fetch this many additional cursors, because overdue jobs of other revisions come first."""
        self._declared = False
        self._aside: Mapping[str, str] = {}
        self._verified_at = 0.0
        self._unverified: list[str] = []
        self._seen: dict[str, datetime] = {}
        """The instant up to which the fires of a job were written when the store was last seen to have its schedule. If
        the store loses the schedule, the fires after this instant are written.
        """

    async def step(self) -> float:
        try:
            return await self._step()
        except StoreError:
            self._declared = False  # the store may come back without its data
            raise

    async def _step(self) -> float:
        if not self._declared:
            await self._declare()
        elif monotonic() - self._verified_at >= VERIFY_SECONDS:
            await self._verify()
        due = await self._store.cursors.due(JOBS_A_STEP + self._others)
        ours = [cursor for cursor in due.cursors if self._is_ours(cursor)]
        self._others = len(due.cursors) - len(ours)
        if ours:
            advances = [self._advance(self._jobs[cursor.job], cursor, due.now) for cursor in ours]
            written = await self._store.cursors.advance(advances)
            for advance, done in zip(advances, written, strict=True):
                self._metrics.fires.inc(len(advance.runs) if done else 0)
        if len(ours) < len(due.cursors) or due.next_in is None:
            return POLL_SECONDS  # do not look again at once for jobs of another revision
        return min(POLL_SECONDS, due.next_in.total_seconds())

    def _is_ours(self, cursor: Cursor) -> bool:
        """False if another revision fires the job. Logged once, because this may be the only sidecar."""
        own = self._fingerprints.get(cursor.job)
        if own == cursor.fingerprint:
            return True
        if own and cursor.job not in self._aside:
            self._stand_aside({cursor.job: "another definition is in force"})
        return False

    def _stand_aside(self, jobs: Mapping[str, str]) -> None:
        self._aside = {**self._aside, **jobs}
        for name, why in jobs.items():
            extra = {"action": "stands_aside", "job": name}
            log.warning("this sidecar does not fire %s: %s", name, why, extra=extra)

    async def _declare(self) -> None:
        known = await self._store.cursors.in_force(list(self._jobs))
        await self._end_former_definitions(known)
        self._aside = {}
        await self._declare_these(self._jobs, known)
        await self._end_moves()
        self._declared, self._verified_at, self._unverified = True, monotonic(), []

    async def _end_moves(self) -> None:
        """End the move records that say the same as the code. An older revision leaves them to the newer one."""
        default, moves = self._router.choose(), await self._store.moves.all()
        said = {name: self._router.of(job) for name, job in self._jobs.items()}
        for name, record in moves.items():
            if name is None:
                agrees = not self._aside and {default, *said.values()} == {record.provider}
            else:
                agrees = name not in self._aside and said.get(name) == record.provider
            if agrees and await self._store.moves.end(record.provider, name):
                extra = {"action": "move_ended", "job": name or "", "provider": record.provider}
                log.info(
                    "the move record of %s ends, because the code now names %s",
                    name or "all jobs",
                    record.provider,
                    extra=extra,
                )

    async def _declare_these(self, jobs: Iterable[str], known: Mapping[str, InForce]) -> None:
        now = await self._store.now()
        declared = await self._declarations(jobs, known, now)
        self._stand_aside(await self._store.cursors.declare(declared, self._revision))
        self._seen |= {
            one.job: self._written(one, known.get(one.job), now) for one in declared if one.job not in self._aside
        }

    @staticmethod
    def _written(declared: Declared, known: InForce | None, now: datetime) -> datetime:
        """Up to when the fires of a job are written, just after it was declared at `now`."""
        if known is None:
            return declared.since or now
        return known.cursor if known.fingerprint == declared.fingerprint else now

    async def _declarations(self, jobs: Iterable[str], known: Mapping[str, InForce], now: datetime) -> list[Declared]:
        declared: list[Declared] = []
        for name in jobs:
            job = self._jobs[name]
            since = self._since(name, known.get(name))
            declared.append(
                Declared(
                    job=name,
                    fingerprint=self._fingerprints[name],
                    next_after_now=job.next_fire(now),
                    schedule=str(job.schedule) if job.schedule else "",
                    offset=job.offset,
                    since=since,
                    next_after_since=job.next_fire(since) if since else None,
                )
            )
            if len(declared) % JOBS_A_STEP == 0:
                await asyncio.sleep(0)  # a hundred thousand jobs take seconds, so let other tasks run
        return declared

    def _since(self, name: str, known: InForce | None) -> datetime | None:
        """Up to when the fires of a job are written whose schedule, or next fire, the store has lost; else None."""
        if known is None:
            return self._seen.get(name)
        return known.cursor if known.fingerprint == self._fingerprints[name] and known.next_fire is None else None

    async def _end_former_definitions(self, known: Mapping[str, InForce]) -> None:
        """Write what fell due by schedules that this revision replaces: each fire gets its verdict by the catch-up."""
        for name, former in known.items():
            if former.fingerprint == self._fingerprints[name] or former.revision >= self._revision:
                continue
            job = former_job(self._jobs[name], former)
            cursor = Cursor(job=name, fingerprint=former.fingerprint, at=former.cursor)
            while job and cursor.at < (now := await self._store.now()):
                advance = self._advance(job, cursor, now)
                [written] = await self._store.cursors.advance([advance])
                if not written:
                    break  # another sidecar has done it
                self._metrics.fires.inc(len(advance.runs))
                cursor = replace(cursor, at=advance.to)
                if advance.to == now:
                    break

    async def _verify(self) -> None:
        """Declare jobs again that the store has lost, for example after a flush. Every job is checked once a minute."""
        self._verified_at = monotonic()
        self._unverified = self._unverified or list(self._jobs)
        share = max(JOBS_A_STEP, len(self._jobs) // VERIFY_SHARES + 1)
        looked, self._unverified = self._unverified[:share], self._unverified[share:]
        known = await self._store.cursors.in_force(looked)
        lost = [name for name in looked if name not in self._aside and self._is_lost(name, known.get(name))]
        self._seen |= {name: schedule.cursor for name, schedule in known.items()}
        if lost:
            extra = {"action": "schedules_lost", "jobs": len(lost)}
            log.error(
                "the store lost %d schedules, such as %s; this sidecar declares them again",
                len(lost),
                lost[0],
                extra=extra,
            )
            await self._declare_these(lost, known)

    def _is_lost(self, name: str, known: InForce | None) -> bool:
        if known is None:
            return True
        return (
            known.fingerprint == self._fingerprints[name]
            and known.next_fire is None
            and self._jobs[name].next_fire(known.cursor) is not None
        )

    def _advance(self, job: Job, cursor: Cursor, now: datetime) -> Advance:
        due = fires_between(job, cursor.at, now)
        to, next_fire = now, job.next_fire(now)
        if due and (following := job.next_fire(due[-1])) and following <= now:
            to, next_fire = due[-1], following  # the next step writes the rest
        runs = [self._run(job, at, reason) for at, reason in judged(job, due, now, more_follow=to < now)]
        return Advance(cursor=cursor, to=to, next_fire=next_fire, runs=runs)

    def _run(self, job: Job, at: datetime, missed: Reason | None) -> NewRun:
        return NewRun(
            run_id=fire_id(self._store.namespace, job.name, at),
            job=job.name,
            tier=job.tier,
            cause=Cause.SCHEDULE,
            scheduled_for=at,
            provider=self._router.of(job),
            verdict=Verdict.MISSED if missed else None,
            reason=missed,
        )


@dataclass(frozen=True, slots=True)
class _Moved:
    """A schedule whose fires jitter delays by a known offset."""

    schedule: Schedule
    offset: timedelta

    def next_after(self, now: datetime) -> datetime | None:
        following = self.schedule.next_after(now - self.offset)
        return following + self.offset if following else None

    def shortest_gap(self) -> timedelta | None:
        return self.schedule.shortest_gap()


def former_job(job: Job, former: InForce) -> Job | None:
    """The job with the previous schedule; None if it had none, or if its text cannot be read."""
    if not former.schedule:
        return None
    try:
        return replace(job, schedule=_Moved(schedule_from(former.schedule), former.offset), jitter=timedelta(0))
    except InvalidSchedule as error:
        extra = {"action": "former_schedule_unknown", "job": job.name}
        log.warning("cannot account for fires of %s by its previous schedule: %s", job.name, error, extra=extra)
        return None


def fires_between(job: Job, after: datetime, until: datetime) -> list[datetime]:
    """The fires after `after` and up to `until`, at most FIRES_A_STEP, oldest first."""
    found: list[datetime] = []
    at = job.next_fire(after)
    while at is not None and at <= until and len(found) < FIRES_A_STEP:
        found.append(at)
        at = job.next_fire(at)
    return found


def judged(job: Job, due: list[datetime], now: datetime, *, more_follow: bool) -> list[tuple[datetime, Reason | None]]:
    """Each fire with the reason why it is missed, by the catch-up policy; None for a fire that must run."""
    verdicts: list[tuple[datetime, Reason | None]] = []
    for place, at in enumerate(due):
        newest = place == len(due) - 1 and not more_follow
        reason = None
        if now - at > job.catch_up_window:
            reason = Reason.TOO_LATE
        elif job.catch_up is CatchUp.LATEST and not newest:
            reason = Reason.SUPERSEDED
        elif job.catch_up is CatchUp.NONE and now - at > GRACE:
            reason = Reason.NOT_CAUGHT_UP
        verdicts.append((at, reason))
    return verdicts
