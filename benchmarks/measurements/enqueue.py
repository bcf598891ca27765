"""Enqueues a second: awaited one by one, and in the fastest way for many that the client has. No worker runs."""

from collections import defaultdict
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.contender import Contender
from benchmarks.figures import Figure, of_rounds

NAME = "enqueue"
VERBS = {"single": "enqueues, one by one", "batch": "enqueues, in a batch"}
SINGLE_SHARE = 0.1
LEAST = 100


def measure(bench: Bench) -> Iterator[Figure]:
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    counts: dict[tuple[str, str], int] = {}
    for turn in range(bench.options.rounds):
        for contender in bench.contenders:
            for verb in VERBS:
                with bench.trying(f"{NAME} of {contender.name}, {verb}"):
                    count, rate = rate_of(bench, contender, verb)
                    rates[contender.name, verb].append(rate)
                    counts[contender.name, verb] = count
                    bench.say(f"{NAME}, round {turn + 1}: {contender.name}, {verb}: {rate:,.0f} a second")
    for (who, verb), found in rates.items():
        yield of_rounds(NAME, VERBS[verb], who, found, "/s", counts[who, verb])


def rate_of(bench: Bench, contender: Contender, verb: str) -> tuple[int, float]:
    """How many enqueues, and how many a second, on an empty store; raises BenchError."""
    share = SINGLE_SHARE if verb == "single" else contender.share
    count = max(min(LEAST, bench.options.jobs), int(bench.options.jobs * share))
    bench.valkey.empty()
    return count, count / bench.ask(contender, verb, count)["seconds"]
