"""No-op jobs a second of a queue filled beforehand, from the first finished job to the last, seen from outside.

Beside it the CPU time of worker and Valkey for each job, which scatters less than the rate on a machine that is shared.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.contender import Contender
from benchmarks.errors import BenchError
from benchmarks.figures import Figure, of_rounds
from benchmarks.processes import Process
from benchmarks.resources import use_of

NAME = "throughput"
LOOK_SECONDS = 0.005
STALLED_SECONDS = 60.0
PROCESSES = {1: "one process", 2: "two processes"}
LEAST_JOBS = 200


@dataclass(frozen=True, kw_only=True)
class Rate:
    jobs_a_second: float
    cpu_micros: tuple[float, ...]
    """For each job: of all workers together, and of Valkey; empty where it cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Look:
    done: int
    at: float
    cpu_seconds: tuple[float, ...]
    """Of all workers together, and of Valkey."""


def measure(bench: Bench) -> Iterator[Figure]:
    rates: dict[tuple[str, int], list[Rate]] = defaultdict(list)
    # Round by round and not contender by contender, so that a slow minute of the machine does not fall on one of them.
    for turn in range(bench.options.rounds):
        for contender in bench.contenders:
            for count in PROCESSES:
                with bench.trying(f"{NAME} of {contender.name}, {PROCESSES[count]}"):
                    rate = rate_of(bench, contender, count)
                    rates[contender.name, count].append(rate)
                    told = f"{contender.name}, {PROCESSES[count]}: {rate.jobs_a_second:,.0f} jobs/s"
                    bench.say(f"{NAME}, round {turn + 1}: {told}")
    for (who, count), found in rates.items():
        samples = jobs_of(bench, next(one for one in bench.contenders if one.name == who))
        a_second = [rate.jobs_a_second for rate in found]
        yield of_rounds(NAME, f"no-op jobs, {PROCESSES[count]}", who, a_second, "/s", samples)
    for (who, count), found in rates.items():
        if count == 1 and all(rate.cpu_micros for rate in found):
            for place, of in enumerate(("the worker", "Valkey")):
                micros = [rate.cpu_micros[place] for rate in found]
                yield of_rounds(NAME, f"CPU of {of}, each no-op job", who, micros, "µs")


def jobs_of(bench: Bench, contender: Contender) -> int:
    """How many jobs are filled for it."""
    return max(min(LEAST_JOBS, bench.options.jobs), int(bench.options.jobs * contender.share))


def rate_of(bench: Bench, contender: Contender, count: int) -> Rate:
    """Of so many of its worker processes, on an empty store; raises BenchError."""
    bench.valkey.empty()
    jobs = jobs_of(bench, contender)
    bench.ask(contender, "fill", jobs)
    if contender.finished(bench.valkey.client, jobs):
        raise BenchError("jobs were finished before a worker was started, so the count is wrong")
    with bench.working(contender, count) as workers:
        return rate(lambda: contender.finished(bench.valkey.client, jobs), jobs, workers, bench.valkey.process)


def rate(finished: Callable[[], int], jobs: int, workers: Sequence[Process], valkey: Process) -> Rate:
    """Between the first look that saw a job finished and the first that saw them all; raises BenchError."""
    seen, changed_at = 0, time.monotonic()
    first: Look | None = None
    while True:
        done, now = finished(), time.monotonic()
        if done != seen:
            seen, changed_at = done, now
        if done and first is None:
            first = Look(done=done, at=now, cpu_seconds=_cpu(workers, valkey))
        if done >= jobs:
            break
        if now - changed_at > STALLED_SECONDS:
            raise BenchError(f"stalled at {done} of {jobs} jobs:\n{workers[0].last_words()}")
        for worker in workers:
            worker.must_live()
        time.sleep(LOOK_SECONDS)
    if first is None or first.done == jobs:
        raise BenchError(f"{jobs} jobs were finished between two measurements; enqueue more with --jobs")
    between = jobs - first.done
    spent = zip(first.cpu_seconds, _cpu(workers, valkey), strict=True)
    return Rate(
        jobs_a_second=between / (now - first.at),
        cpu_micros=tuple(1e6 * (later - earlier) / between for earlier, later in spent),
    )


def _cpu(workers: Sequence[Process], valkey: Process) -> tuple[float, ...]:
    uses = [use_of(process.pid) for process in (*workers, valkey)]
    seconds = [use.cpu_seconds for use in uses if use]
    return (sum(seconds[:-1]), seconds[-1]) if len(seconds) == len(uses) else ()
