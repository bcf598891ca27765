"""HR713, HR714, HR726 to HR728: where runs wait and where they go, signed messages, and needs."""

from collections.abc import Iterable, Iterator

from horae.checks.project_rules import DROPPED_PROVIDER, MOVED, SIGNING_KEYS, SIGNING_ON_STORE, UNMET_NEEDS
from horae.errors import InvalidSettings, UnknownName
from horae.findings import Finding, Source
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.queues.configured import configured, not_configured
from horae.queues.opened import provider_of, signing_of
from horae.queues.providers import names, provider
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
        record = routes.moved(job.name)
        if job.tier is Tier.ONEIRIC and record and record.provider != (said := provider_of(settings, job)):
            message = f"{job.name}: the code names {said}, but a move record sends its runs to {record.provider}"
            yield MOVED.finding(message, job=job.name, at=job.source)


def unmet_needs(settings: Settings, jobs: Iterable[Job]) -> Iterator[Finding]:
    for job in jobs:
        if job.tier is Tier.ONEIRIC and job.needs and (why := _unmet(settings, job)):
            yield UNMET_NEEDS.finding(f"{job.name}: {why}", job=job.name, at=job.source)


def _unmet(settings: Settings, job: Job) -> str:
    name = provider_of(settings, job)
    if name not in names():  # another rule says so
        return ""
    lacking = provider(name).capabilities.lacking(job.needs, settings.queue.message_limit_bytes)
    named = "the job names" if job.provider else "no configured provider offers all that it needs, so it goes to"
    return f"{named} the provider {name}, which does not offer {lacking}" if lacking else ""


def signing_faults(settings: Settings) -> Iterator[Finding]:
    at = Source(file=FILE, line=1)
    try:
        signing = signing_of(settings)
    except InvalidSettings as error:
        yield SIGNING_KEYS.finding(error.message, at=at)
        return
    if signing and settings.queue.provider == settings.carried:
        message = f"messages are signed, but the provider {settings.carried} uses the store's server"
        yield SIGNING_ON_STORE.finding(message, at=at)


def _dropped(settings: Settings, runs: ProviderRuns, usable: list[str]) -> str:
    waits = f"{runs.outbox} in the outbox, {runs.queued} at the broker"
    why = _why(settings, runs.provider, usable)
    return f"runs wait for {runs.provider} ({waits}): {why}"


def _why(settings: Settings, provider: str, usable: list[str]) -> str:
    try:
        return not_configured(settings, provider, usable).message
    except UnknownName as error:
        return error.message
