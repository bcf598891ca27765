"""How late internal jobs begin: many, each once a minute, spread over it, claimed in the store (scope "one")."""

from collections.abc import Iterator
from datetime import timedelta

from benchmarks.bench import Bench
from benchmarks.errors import BenchError
from benchmarks.figures import Figure, distribution
from benchmarks.horae_ledger import fires, lateness
from benchmarks.horae_project import INTERNAL
from benchmarks.services import rest, services
from horae.clock import now

NAME = "internal"
AT_MOST_SECONDS = 5.0
"""Before the window and after it."""


def measure(bench: Bench) -> Iterator[Figure]:
    jobs = bench.options.internal_jobs
    files = {"internal/many.py": INTERNAL.replace("COUNT", str(jobs))}
    with bench.trying(NAME), services(bench, NAME, files) as running:
        around = min(AT_MOST_SECONDS, bench.options.seconds)
        rest(around, running.sidecar)
        since = now()
        rest(bench.options.seconds + around, running.sidecar)
        until = since + timedelta(seconds=bench.options.seconds)
        found = fires(running.project, bench.valkey.url, since, until)
        millis = lateness(found, lambda run: run.started_at)
        if not millis:
            raise BenchError(f"no internal job ran:\n{running.sidecar.last_words()}")
        bench.say(f"{NAME}: {len(millis)} fires in {bench.options.seconds} s")
        yield from distribution(NAME, f"{jobs:,} internal jobs: begun", "horae", millis)
