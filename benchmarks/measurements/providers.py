"""Each queue provider with its real broker: Horae on it and its raw client, and how near Horae comes to the slower of
its raw client and Horae on redis.

The broker is never emptied: the pick-ups and the throughput leave no message behind, and the batches come last.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from benchmarks.bench import Bench
from benchmarks.brokers import STORE_ITSELF, contenders_on
from benchmarks.contender import Contender
from benchmarks.figures import RATIO, Figure, distribution, of_rounds
from benchmarks.measurements import enqueue, pickup, throughput

NAME = "providers"
HORAE, RAW = "horae", "raw"
THROUGHPUT, BATCH = f"no-op jobs, {throughput.PROCESSES[1]}", enqueue.VERBS["batch"]


def measure(bench: Bench) -> Iterator[Figure]:
    found: list[Figure] = []
    for provider in bench.options.providers:
        with bench.trying(f"{NAME}: {provider}"), contenders_on(bench, provider) as (horae, raw):
            for contender in (horae, raw):
                bench.make_place(contender)
                bench.on_providers.append(contender)
            both = {HORAE: horae, RAW: raw}
            found += _pickups(bench, provider, both)
            found += _rounds(bench, f"{provider}: {THROUGHPUT}", both, _throughput)
            found += _rounds(bench, f"{provider}: {BATCH}", both, _batch)
    for provider in bench.options.providers:
        own = [one for one in found if one.what.startswith(f"{provider}: ")]
        yield from own
        if provider != STORE_ITSELF:
            yield from _ratios(found, own)


def _pickups(bench: Bench, provider: str, both: dict[str, Contender]) -> Iterator[Figure]:
    for who, contender in both.items():
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
    both: dict[str, Contender],
    measured: Callable[[Bench, Contender], tuple[int, float]],
) -> Iterator[Figure]:
    """In turn, so that a slow minute of the machine does not fall on one of them."""
    rates: dict[str, list[float]] = defaultdict(list)
    samples: dict[str, int] = {}
    for turn in range(bench.options.rounds):
        for who, contender in both.items():
            with bench.trying(f"{what}, of {who}"):
                samples[who], rate = measured(bench, contender)
                rates[who].append(rate)
                bench.say(f"round {turn + 1}: {who}: {what}: {rate:,.0f} a second")
    for who, values in rates.items():
        yield of_rounds(NAME, what, who, values, "/s", samples[who])


def _ratios(found: Sequence[Figure], own: Sequence[Figure]) -> Iterator[Figure]:
    """How fast Horae is, as a share of the slower of the raw client and of Horae on redis. None without both."""
    values = {(one.what, one.who): one.value for one in found}
    for one in own:
        if one.who != HORAE:
            continue
        raw = values.get((one.what, RAW))
        redis = values.get((f"{STORE_ITSELF}: {one.what.partition(': ')[2]}", HORAE))
        if raw is None or redis is None:
            continue
        share = max(raw, redis) / one.value if one.unit == "ms" else one.value / min(raw, redis)
        yield Figure(measurement=NAME, what=f"{one.what}{RATIO}", who=HORAE, value=share, unit="×")
