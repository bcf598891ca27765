"""HR708 to HR710: rules about a job together with the settings, the broker and the durations of its runs."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from horae.checks.job_rule import spoken
from horae.checks.project_rules import OUTGROWN, OUTLASTS_GRACE, SHORT_RETENTION
from horae.findings import Finding, Source
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.queues.opened import provider_of
from horae.queues.providers import names, provider
from horae.settings import FILE, Settings

LEAST_RUNS = 10
"""The least number of runs for a 95th percentile."""


def misfits(settings: Settings, jobs: Iterable[Job], took: Mapping[str, Sequence[float]]) -> Iterator[Finding]:
    """`took`: the durations in seconds of each job's latest settled runs. Jobs without an entry skip that rule."""
    known = list(jobs)
    durable = [job for job in known if job.tier is Tier.ONEIRIC]
    yield from _retention(settings, durable)
    for job in durable:
        if not job.idempotent:
            yield from _outlasts_grace(settings, job)
    for job in known:
        yield from _outgrown(job, took.get(job.name, ()))


def _retention(settings: Settings, durable: Sequence[Job]) -> Iterator[Finding]:
    kept, most = timedelta(days=settings.store.keep_runs_days), settings.store.keep_runs_per_job
    every = {settings.queue.provider, *(provider_of(settings, job) for job in durable)}
    for name in sorted(every):
        if kept < (longest := _redelivers_for(name)):
            message = f"store.keep_runs_days is {spoken(kept)}, but {name} can redeliver a message for "
            yield SHORT_RETENTION.finding(message + spoken(longest), at=Source(file=FILE, line=1))
    for job in durable:
        name = provider_of(settings, job)
        gap = job.schedule.shortest_gap() if job.schedule else None
        if gap and gap * most < (longest := _redelivers_for(name)):
            message = (
                f"store.keep_runs_per_job is {most}. With a fire every {spoken(gap)} the ledger keeps "
                f"{spoken(gap * most)}, but {name} can redeliver a message for {spoken(longest)}"
            )
            yield SHORT_RETENTION.finding(f"{job.name}: {message}", job=job.name, at=job.source)


def _redelivers_for(name: str) -> timedelta:
    """How long a provider can redeliver a message. Zero for an unknown provider, which another rule reports."""
    return provider(name).capabilities.redelivers_for if name in names() else timedelta(0)


def _outlasts_grace(settings: Settings, job: Job) -> Iterator[Finding]:
    grace = timedelta(seconds=settings.worker.grace_seconds)
    if job.time_limit is None or job.time_limit > grace:
        may = f"may run for {spoken(job.time_limit)}" if job.time_limit else "has no time limit"
        message = (
            f"{job.name} {may}, but a stopped worker waits only {spoken(grace)}. Then it hands the run back, "
            "and the run begins again"
        )
        yield OUTLASTS_GRACE.finding(message, job=job.name, at=job.source)


def _outgrown(job: Job, took: Sequence[float]) -> Iterator[Finding]:
    gap = job.schedule.shortest_gap() if job.schedule else None
    if gap is None or len(took) < LEAST_RUNS:
        return
    high = percentile(took, 0.95)
    if high > gap.total_seconds():
        message = (
            f"{job.name} fires every {spoken(gap)}, and of its latest {len(took)} runs one in twenty took "
            f"{high:.1f} s or longer: then overlap={job.overlap.value!r} applies to the next fire"
        )
        yield OUTGROWN.finding(message, job=job.name, at=job.source)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
