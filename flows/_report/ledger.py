"""Reads the ledger of all three tiers, batch by batch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flows._report.figures import JobFigures, instant_of
from horae.errors import HoraeError
from horae.findings import Level
from horae.project.loading import load as load_registry
from horae.project.registry import Registry
from horae.settings import Settings
from horae.store import connect
from horae.store.base import Store
from horae.store.values import DeadLetter

BATCH = 1_000
"""Runs in one batch."""
MOST_FIRES = 1_000_000
"""The most expected fires that are counted for a job."""
MILLISECOND = timedelta(milliseconds=1)
"""The resolution of instants in the ledger."""
ON_ITS_WAY = timedelta(minutes=2)
"""A fire that was due within this time before the end may not be in the ledger yet."""
LEAD = timedelta(days=1)
"""If the oldest run is later than the start of the report by more than this, the ledger begins with that run."""
DEAD_LETTERS = 1_000
"""The most dead letters that are read. The newest are read."""


class NoLedger(HoraeError):
    """There is no ledger to report from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """What was read."""

    begins: datetime
    """The start of the report, or its oldest run if older runs were dropped or never existed."""
    jobs: dict[str, JobFigures]
    """The figures of every job of the project, and of every other job with runs, by name."""
    counts: dict[str, dict[str, int]]
    """Settled runs of each job since the store was created, by verdict. Dropping rows does not reduce them."""
    dead_letters: tuple[DeadLetter, ...]
    """Dead letters of the period of the report, the newest first."""
    waiting_letters: int
    """The number of all waiting dead letters, at most DEAD_LETTERS."""
    problems: tuple[str, ...] = field(default=())
    """Job files that could not be loaded."""


async def read(settings: Settings, since: datetime, until: datetime, say: Callable[[int], None]) -> Ledger:
    """All runs with an instant from `since` (inclusive) to `until` (exclusive). `say` is called with the count so far.

    Raises NoLedger if no store is configured, and StoreUnavailable if it does not answer.
    """
    if settings.store.url is None:
        raise NoLedger(
            "no state store is configured, so there is no ledger to report on; start `horae up`, or give a store: "
            "HORAE_STORE__URL=redis://HOST:6379/0"
        )
    registry = load_registry(settings)
    jobs = {job.name: JobFigures(job=job.name, tier=job.tier.value) for job in registry}
    async with connect(settings) as store:
        await _read_runs(store, jobs, since, until, say)
        counts: dict[str, dict[str, int]] = {}
        for (job, verdict), count in (await store.ledger.figures()).settled.items():
            counts.setdefault(job, {})[verdict.value] = count
        letters = await store.dead_letters.newest(DEAD_LETTERS)
    oldest = min((one.oldest for one in jobs.values() if one.oldest), default=since)
    begins = oldest if oldest - since > LEAD else since
    _expect(registry, jobs, begins, until)
    return Ledger(
        begins=begins,
        jobs=dict(sorted(jobs.items(), key=lambda item: (item[1].tier, item[0]))),
        counts=counts,
        dead_letters=tuple(letter for letter in letters if since <= letter.at < until),
        waiting_letters=len(letters),
        problems=tuple(
            f"{problem.file}: {problem.message}" for problem in registry.problems if problem.level is Level.ERROR
        ),
    )


async def _read_runs(
    store: Store, jobs: dict[str, JobFigures], since: datetime, until: datetime, say: Callable[[int], None]
) -> None:
    """Read pages backwards in time. Two pages overlap at the instant where one ends, so that no run is missed."""
    last, limit, read = until - MILLISECOND, BATCH, 0
    seen: set[str] = set()
    while True:
        page = await store.ledger.runs(since=since, until=last, limit=limit)
        fresh = [run for run in page if run.run_id not in seen]
        for run in fresh:
            jobs.setdefault(run.job, JobFigures(job=run.job, tier=run.tier.value)).add(run)
        read += len(fresh)
        say(read)
        if not fresh and len(page) < limit:
            return  # a short page does not mean the end: rows may be dropped while they are read
        if fresh and (at := instant_of(page[-1])) and at < last:
            last, limit = at, BATCH
        else:
            limit *= 2  # one instant has more runs than a page
        seen = {run.run_id for run in page}


def _expect(registry: Registry, jobs: dict[str, JobFigures], since: datetime, until: datetime) -> None:
    """Count the fires of each schedule in the period of the report. The latest may not be in the ledger yet."""
    for job in registry:
        if job.schedule is None:
            continue
        count = 0
        at = job.schedule.next_after(since)
        while at is not None and at < until - ON_ITS_WAY and count < MOST_FIRES:
            count += 1
            at = job.schedule.next_after(at)
        jobs[job.name].expected = count
