"""Ten thousand durable jobs that are due at one instant: how soon all have been written, and all have run."""

import time
from collections.abc import Iterator
from datetime import timedelta

from benchmarks.bench import Bench
from benchmarks.errors import BenchError
from benchmarks.figures import Figure
from benchmarks.horae_ledger import fires, lateness
from benchmarks.horae_project import AT, jobs_settled
from benchmarks.services import Services, rest, services
from horae.clock import isoformat, now

NAME = "drain"
LEAD, LOADED_A_SECOND = timedelta(seconds=5), 500
"""For both processes to load the jobs: one that is due before its sidecar knows it never fires."""
STALLED_SECONDS = 60.0


def measure(bench: Bench) -> Iterator[Figure]:
    jobs = bench.options.due_jobs
    due = (now() + LEAD + timedelta(seconds=jobs / LOADED_A_SECOND)).replace(microsecond=0)
    files = {"infra/many.py": AT.replace("COUNT", str(jobs)).replace("INSTANT", isoformat(due))}
    with bench.trying(NAME), services(bench, NAME, files) as running:
        if now() + LEAD / 3 > due:
            raise BenchError(f"loading {jobs} jobs took too long: it ended after {isoformat(due)}, when they were due")
        bench.say(f"{NAME}: {jobs:,} jobs are due in {(due - now()).total_seconds():.0f} s")
        rest((due - now()).total_seconds(), running.sidecar, running.worker)
        _wait_drained(bench, running, jobs)
        found = fires(running.project, bench.valkey.url, due, due + timedelta(seconds=1))
        yield from _figures(bench, lateness(found, lambda run: run.accepted_at), "written", jobs)
        yield from _figures(bench, lateness(found, lambda run: run.ended_at), "run", jobs)


def _figures(bench: Bench, millis: list[float], done: str, jobs: int) -> Iterator[Figure]:
    if len(millis) < jobs:
        raise BenchError(f"{len(millis)} of {jobs} jobs were {done}")
    seconds = max(millis) / 1000
    bench.say(f"{NAME}: all {done} after {seconds:.2f} s")
    what = f"{jobs:,} due at once: {done}"
    yield Figure(measurement=NAME, what=what, who="horae", value=jobs / seconds, unit="/s", samples=jobs)


def _wait_drained(bench: Bench, running: Services, jobs: int) -> None:
    seen, changed_at = -1, time.monotonic()
    while seen < jobs:
        rest(0.1, running.sidecar, running.worker)
        settled = jobs_settled(bench.valkey.client)
        if settled != seen:
            seen, changed_at = settled, time.monotonic()
        if time.monotonic() - changed_at > STALLED_SECONDS:
            raise BenchError(f"stalled at {seen} of {jobs} jobs:\n{running.sidecar.last_words()}")
