"""Horae's sidecar and queue workers for the measurements of Horae alone."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.errors import BenchError
from benchmarks.horae_project import SLOTS, command, make, variables
from benchmarks.processes import Process

START_SECONDS = 300.0
LOOK_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Services:
    project: Path
    sidecar: Process
    worker: Process


@contextmanager
def services(bench: Bench, name: str, files: Mapping[str, str], slots: int = SLOTS) -> Iterator[Services]:
    """A project with these job files, on an empty store, with a sidecar and a queue worker that are up."""
    bench.valkey.empty()
    project = make(bench.folder / name, files)
    environment = variables(bench.valkey.url, slots)
    started: list[Process] = []
    try:
        for kind in ("worker", "sidecar"):
            started.append(bench.processes.start(f"horae {kind}", command(kind), project, environment))
        for process in started:
            wait_up(process)
        yield Services(project=project, worker=started[0], sidecar=started[1])
    finally:
        bench.processes.end(*started)


def wait_up(process: Process) -> None:
    """Until it says that it is up; raises BenchError if it ends or does not."""
    deadline = time.monotonic() + START_SECONDS
    while b'"process_up"' not in process.log.read_bytes():
        process.must_live()
        if time.monotonic() > deadline:
            raise BenchError(f"{process.name} was not up within {START_SECONDS:.0f} s:\n{process.last_words()}")
        time.sleep(LOOK_SECONDS)


def rest(seconds: float, *processes: Process) -> None:
    """Let the clock run, while they live."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for process in processes:
            process.must_live()
        time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))
