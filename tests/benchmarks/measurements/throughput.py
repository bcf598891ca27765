"""No-op jobs a second of a queue filled beforehand, from the first finished job to the last, seen from outside."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from tests.benchmarks.bench import Bench
from tests.benchmarks.contender import Contender
from tests.benchmarks.errors import BenchError
from tests.benchmarks.figures import Figure, of_rounds
from tests.benchmarks.processes import Process

NAME = "throughput"
LOOK_SECONDS = 0.005
STALLED_SECONDS = 60.0
PROCESSES = {1: "one process", 2: "two processes"}
LEAST_JOBS = 200


def measure(bench: Bench) -> Iterator[Figure]:
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    # Round by round and not contender by contender, so that a slow minute of the machine does not fall on one of them.
    for turn in range(bench.options.rounds):
        for contender in bench.contenders:
            for count in PROCESSES:
                with bench.trying(f"{NAME} of {contender.name}, {PROCESSES[count]}"):
                    rate = _rate(bench, contender, count)
                    rates[contender.name, count].append(rate)
                    bench.say(f"{NAME}, round {turn + 1}: {contender.name}, {PROCESSES[count]}: {rate:,.0f} jobs/s")
    for (who, count), found in rates.items():
        samples = _jobs(bench, next(one for one in bench.contenders if one.name == who))
        yield of_rounds(NAME, f"no-op jobs a second, {PROCESSES[count]}", who, found, "/s", samples)


def _jobs(bench: Bench, contender: Contender) -> int:
    return max(min(LEAST_JOBS, bench.options.jobs), int(bench.options.jobs * contender.share))


def _rate(bench: Bench, contender: Contender, count: int) -> float:
    bench.valkey.empty()
    jobs = _jobs(bench, contender)
    bench.ask(contender, "fill", jobs)
    if contender.finished(bench.valkey.client, jobs):
        raise BenchError("jobs were finished before a worker was started: its count is wrong")
    with bench.working(contender, count) as workers:
        return rate(lambda: contender.finished(bench.valkey.client, jobs), jobs, workers)


def rate(finished: Callable[[], int], jobs: int, workers: Sequence[Process]) -> float:
    """Jobs a second between the first look that saw one finished and the first that saw them all; raises BenchError."""
    seen, changed_at = 0, time.monotonic()
    first: tuple[int, float] | None = None
    while True:
        done, now = finished(), time.monotonic()
        if done != seen:
            seen, changed_at = done, now
        if done and first is None:
            first = (done, now)
        if done >= jobs:
            break
        if now - changed_at > STALLED_SECONDS:
            raise BenchError(f"stalled at {done} of {jobs} jobs:\n{workers[0].last_words()}")
        for worker in workers:
            worker.must_live()
        time.sleep(LOOK_SECONDS)
    if first is None or first[0] == jobs:
        raise BenchError(f"{jobs} jobs were finished between two looks; give it more with --jobs")
    return (jobs - first[0]) / (now - first[1])
