"""HR713 and HR714: rules about where runs wait, and where they go."""

from collections.abc import Iterable, Iterator

from horae.checks.project_rules import DROPPED_PROVIDER, MOVED
from horae.errors import InvalidSettings, UnknownName
from horae.findings import Finding, Source
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.queues.configured import configured, not_configured
from horae.redis.keys import OWN
from horae.settings import FILE, Settings
from horae.store.values import ProviderRuns, Routes


def misrouted(settings: Settings, jobs: Iterable[Job], routes: Routes) -> Iterator[Finding]:
    try:
        usable = [one.name for one in configured(settings)]
    except InvalidSettings:  # another rule says so
        return
    for runs in routes.runs:
        if runs.provider not in {"", OWN, *usable} and runs.outbox + runs.queued:
            yield DROPPED_PROVIDER.finding(_dropped(settings, runs, usable), at=Source(file=FILE, line=1))
    for job in jobs:
        said, record = job.provider or settings.queue.provider, routes.moved(job.name)
        if job.tier is Tier.ONEIRIC and record and record.provider != said:
            message = f"{job.name}: the code says {said}, and a move record sends its runs to {record.provider}"
            yield MOVED.finding(message, job=job.name, at=job.source)


def _dropped(settings: Settings, runs: ProviderRuns, usable: list[str]) -> str:
    waits = f"{runs.outbox} in the outbox, {runs.queued} at the broker"
    why = _why(settings, runs.provider, usable)
    return f"runs wait for {runs.provider} ({waits}): {why}"


def _why(settings: Settings, provider: str, usable: list[str]) -> str:
    try:
        return not_configured(settings, provider, usable).message
    except UnknownName as error:
        return error.message
