"""Idle pick-up: from just before the enqueue to the job's first line. One job at a time, one idle worker."""

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.contender import Contender
from benchmarks.figures import Figure, distribution

NAME = "pickup"
WHAT = "idle pick-up"
AT_MOST_SECONDS = 20


def measure(bench: Bench) -> Iterator[Figure]:
    for contender in bench.contenders:
        with bench.trying(f"{NAME} of {contender.name}"):
            figures = distribution(NAME, WHAT, contender.name, millis_of(bench, contender), top=False)
            bench.say(f"{NAME}: {contender.name}: " + ", ".join(f"{one.what} {one.value:.2f} ms" for one in figures))
            yield from figures


def millis_of(bench: Bench, contender: Contender) -> list[float]:
    """Of each job, on an empty store; raises BenchError."""
    bench.valkey.empty()
    with bench.working(contender):
        millis: list[float] = bench.ask(contender, "pickup", bench.options.pickups, AT_MOST_SECONDS)["millis"]
    return millis
