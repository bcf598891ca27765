"""Each queue provider with its real broker: Horae on it, its raw client, and Horae on redis beside them; and how near
Horae comes to the slower of the other two.

The broker is never emptied: the pick-ups and the throughput leave no message behind, and the batches come last.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks.bench import Bench
from benchmarks.brokers import HORAE, RAW, REDIS, contenders_on
from benchmarks.contender import Contender
from benchmarks.figures import RATIO, Figure, distribution, of_rounds
from benchmarks.measurements import enqueue, pickup, throughput

NAME = "providers"
THROUGHPUT, BATCH = f"no-op jobs, {throughput.PROCESSES[1]}", enqueue.VERBS["batch"]


def measure(bench: Bench) -> Iterator[Figure]:
    for provider in bench.options.providers:
        with bench.trying(f"{NAME}: {provider}"), contenders_on(bench, provider) as contenders:
            for contender in contenders.values():
                if contender.name not in bench.places:
                    bench.make_place(contender)
                    bench.on_providers.append(contender)
            found = [
                *_pickups(bench, provider, contenders),
                *_rounds(bench, f"{provider}: {THROUGHPUT}", contenders, _throughput),
                *_rounds(bench, f"{provider}: {BATCH}", contenders, _batch),
            ]
            yield from found
            yield from _ratios(found)


def _pickups(bench: Bench, provider: str, contenders: Mapping[str, Contender]) -> Iterator[Figure]:
    for who, contender in contenders.items():
        with bench.trying(f"{provider}: {pickup.WHAT} of {who}"):
            millis = pickup.millis_of(bench, contender)
            figures = distribution(NAME, f"{provider}: {pickup.WHAT}", who, millis, top=False)
            bench.say(f"{who}: " + ", ".join(f"{one.what} {one.value:.2f} ms" for one in figures))
            yield from figures


def _throughput(bench: Bench, contender: Contender) -> tuple[int, float]:
    return throughput.jobs_of(bench, contender), throughput.rate_of(bench, contender, 1).jobs_a_second


def _batch(bench: Bench, contender: Contender) -> tuple[int, float]:
    return enqueue.rate_of(bench, contender, "batch")


def _rounds(
    bench: Bench,
    what: str,
    contenders: Mapping[str, Contender],
    measured: Callable[[Bench, Contender], tuple[int, float]],
) -> Iterator[Figure]:
    """In turn, so that a slow minute of the machine does not fall on one of them."""
    rates: dict[str, list[float]] = defaultdict(list)
    samples: dict[str, int] = {}
    for turn in range(bench.options.rounds):
        for who, contender in contenders.items():
            with bench.trying(f"{what}, of {who}"):
                samples[who], rate = measured(bench, contender)
                rates[who].append(rate)
                bench.say(f"round {turn + 1}: {who}: {what}: {rate:,.0f} a second")
    for who, values in rates.items():
        yield of_rounds(NAME, what, who, values, "/s", samples[who])


def _ratios(found: Sequence[Figure]) -> Iterator[Figure]:
    """How fast Horae is, as a share of the slower of the raw client and Horae on redis. None without all three."""
    values = {(one.what, one.who): one.value for one in found}
    for one in found:
        others = [values[one.what, who] for who in (RAW, REDIS) if (one.what, who) in values]
        if one.who == HORAE and len(others) == 2:
            share = max(others) / one.value if one.unit == "ms" else one.value / min(others)
            yield Figure(measurement=NAME, what=f"{one.what}{RATIO}", who=HORAE, value=share, unit="×")
