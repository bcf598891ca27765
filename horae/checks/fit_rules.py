"""HR708 to HR710: what holds between a job and what surrounds it: settings, broker, and how long its runs took."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from horae.checks.job_rule import spoken
from horae.checks.project_rules import OUTGROWN, OUTLASTS_GRACE, SHORT_RETENTION
from horae.findings import Finding, Source
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.settings import FILE, Settings

REDELIVERS = {
    "redis": timedelta(days=1),
    "nats": timedelta(days=7),
    "kafka": timedelta(days=7),
    "rabbitmq": timedelta(days=7),
    "cloudtasks": timedelta(days=31),
}
"""How long after its run has ended a broker may still hand a message out: where nobody bounded it, an outage of all
workers; Kafka keeps offsets and records for 7 days, Cloud Tasks a task for 31."""
LEAST_RUNS = 10
"""Fewer say nothing about a 95th percentile."""


def misfits(settings: Settings, jobs: Iterable[Job], took: Mapping[str, Sequence[float]]) -> Iterator[Finding]:
    """`took`: how many seconds the latest settled runs of a job took; a job that is not in it is not judged by it."""
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
    providers = {job.provider or settings.queue.provider for job in durable} | {settings.queue.provider}
    for provider in sorted(providers & REDELIVERS.keys()):
        if kept < REDELIVERS[provider]:
            message = f"store.keep_runs_days is {spoken(kept)}, and {provider} may hand a message out again for "
            yield SHORT_RETENTION.finding(message + spoken(REDELIVERS[provider]), at=Source(file=FILE, line=1))
    for job in durable:
        longest = REDELIVERS.get(job.provider or settings.queue.provider, timedelta(0))
        gap = job.schedule.shortest_gap() if job.schedule else None
        if gap and gap * most < longest:
            message = (
                f"store.keep_runs_per_job is {most}: at a fire every {spoken(gap)} the ledger reaches back "
                f"{spoken(gap * most)}, and {job.provider or settings.queue.provider} may hand a message out again for "
                f"{spoken(longest)}"
            )
            yield SHORT_RETENTION.finding(f"{job.name}: {message}", job=job.name, at=job.source)


def _outlasts_grace(settings: Settings, job: Job) -> Iterator[Finding]:
    grace = timedelta(seconds=settings.worker.grace_seconds)
    if job.time_limit is None or job.time_limit > grace:
        may = f"may run for {spoken(job.time_limit)}" if job.time_limit else "has no time limit"
        message = f"{job.name} {may}; a worker that is stopped hands it back after {spoken(grace)}, and it begins again"
        yield OUTLASTS_GRACE.finding(message, job=job.name, at=job.source)


def _outgrown(job: Job, took: Sequence[float]) -> Iterator[Finding]:
    gap = job.schedule.shortest_gap() if job.schedule else None
    if gap is None or len(took) < LEAST_RUNS:
        return
    high = percentile(took, 0.95)
    if high > gap.total_seconds():
        message = (
            f"{job.name} fires every {spoken(gap)}, and of its latest {len(took)} runs one in twenty took "
            f"{high:.1f} s or longer: the next fire is then `{job.overlap.value}` by its overlap policy"
        )
        yield OUTGROWN.finding(message, job=job.name, at=job.source)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of them that at least this share does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
