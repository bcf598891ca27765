"""How late cron fires are: from the instant they are due to their row in the ledger, and to their begin in a worker."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from benchmarks.bench import Bench
from benchmarks.errors import BenchError
from benchmarks.figures import Figure, distribution
from benchmarks.horae_ledger import fires, lateness
from benchmarks.horae_project import CRON
from benchmarks.resources import use_of
from benchmarks.services import Services, rest, services
from horae.clock import now
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.schedules.making import cron

NAME = "dispatch"
HOURLY, EACH_MINUTE = "{minute} * * * *", "* * * * *"
AT_MOST_SECONDS = 10.0
"""Before the window, so that it does not begin with the start; and after it, for what is late."""


def measure(bench: Bench) -> Iterator[Figure]:
    # A hundred hourly jobs fire three times in two minutes, which is no distribution: these fire each minute.
    yield from _lateness(bench, bench.options.few_cron_jobs, EACH_MINUTE)
    yield from _lateness(bench, bench.options.cron_jobs, HOURLY)


def _lateness(bench: Bench, jobs: int, expression: str) -> Iterator[Figure]:
    files = {"infra/many.py": CRON.replace("COUNT", str(jobs)).replace("EXPRESSION", repr(expression))}
    name = f"{jobs:,} cron jobs"
    around = min(AT_MOST_SECONDS, bench.options.seconds)
    with bench.trying(f"{NAME} with {name}"), services(bench, f"{NAME}-{jobs}", files) as running:
        bench.say(f"{NAME}: {name} loaded, waiting for the first fires")
        since = _first_fire(running, bench.valkey.url, around)
        rest(bench.options.seconds + around, running.sidecar, running.worker)
        until = since + timedelta(seconds=bench.options.seconds)
        found = fires(running.project, bench.valkey.url, since, until)
        expected = sum(count_due(number, expression, since, until) for number in range(jobs))
        if not found:
            raise BenchError(f"none of the {expected} fires that were due was written")
        if len(found) < expected:
            bench.failures.append(f"{NAME} with {name}: {expected - len(found)} of {expected} fires are not written")
        bench.say(f"{NAME}: {name}: {len(found)} of {expected} fires in {bench.options.seconds} s")
        yield from distribution(NAME, f"{name}: written", "horae", lateness(found, lambda run: run.accepted_at))
        begun = lateness(found, lambda run: run.started_at)
        if begun:
            yield from distribution(NAME, f"{name}: begun", "horae", begun)
        use = use_of(running.sidecar.pid)
        if use:
            megabytes = use.memory_bytes / 1e6
            yield Figure(measurement=NAME, what=f"{name}: sidecar's memory", who="horae", value=megabytes, unit="MB")


def _first_fire(running: Services, url: str, around: float) -> datetime:
    """The start of the window: a while after the sidecar has begun to write fires; raises BenchError."""
    began = now()
    for _ in range(120):
        rest(1.0, running.sidecar, running.worker)
        if fires(running.project, url, began, now()):
            rest(around, running.sidecar, running.worker)
            return now()
    raise BenchError(f"no fire was written within two minutes:\n{running.sidecar.last_words()}")


def count_due(number: int, expression: str, since: datetime, until: datetime) -> int:
    """How often the job of that number falls due from `since` to `until`, by the schedule that the file gives it."""
    job = Job(
        name=f"spread-{number}",
        tier=Tier.ONEIRIC,
        schedule=cron(expression.format(minute=number % 60)),
        jitter=timedelta(minutes=1),
    )
    count, at = 0, job.next_fire(since)
    while at is not None and at <= until:
        count += 1
        at = job.next_fire(at)
    return count
