"""One run of the bench: the store, the contenders' places, and how a measurement reaches them."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contender import APPS, Contender, Place
from benchmarks.environments import ROOT, python_of
from benchmarks.errors import BenchError
from benchmarks.options import Options
from benchmarks.processes import Process, Processes
from benchmarks.valkey import Valkey

VERB_SECONDS = 900.0


@dataclass(kw_only=True)
class Bench:
    options: Options
    folder: Path
    """Temporary."""
    processes: Processes
    valkey: Valkey
    contenders: list[Contender] = field(default_factory=list)
    on_providers: list[Contender] = field(default_factory=list)
    """Horae and the raw clients of the measurement `providers`, which no other measurement uses."""
    places: dict[str, Place] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """What could not be measured, and why, in a sentence each."""
    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Progress, to stderr."""
        say(text, self.began)

    def settle_in(self, contenders: Sequence[Contender]) -> None:
        """Make each its place and, if need be, its environment; who cannot have one takes no part."""
        for contender in contenders:
            with self.trying(f"the environment of {contender.name}"):
                self.make_place(contender)
                self.contenders.append(contender)

    def make_place(self, contender: Contender) -> None:
        """Raises BenchError if its environment cannot be made."""
        python = python_of(contender.name, self.say) if contender.peer else Path(sys.executable)
        place = Place(folder=self.folder / contender.name, url=self.valkey.url, python=python)
        place.folder.mkdir()
        contender.prepare(place)
        self.places[contender.name] = place

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """One thing that may fail while all the others are measured."""
        try:
            yield
        except BenchError as error:
            self.say(f"{what} failed: {error}")
            self.failures.append(f"{what}: {error}")

    def ask(self, contender: Contender, verb: str, *numbers: int) -> dict[str, Any]:
        """Have its app do a verb, in a process of its own; raises BenchError."""
        place = self.places[contender.name]
        words = [str(place.python), "-m", f"{APPS}.{contender.app}", verb, *map(str, numbers)]
        name = f"{contender.name} {verb}"
        return self.processes.answer(name, words, place.folder, self._environment(contender), VERB_SECONDS)

    @contextmanager
    def working(self, contender: Contender, count: int = 1) -> Iterator[list[Process]]:
        """So many of its worker processes, from start to end."""
        place = self.places[contender.name]
        with ExitStack() as stack:
            started: list[Process] = []
            stack.callback(lambda: self.processes.end(*started))
            for _ in range(count):
                name = f"{contender.name} worker"
                started.append(
                    self.processes.start(name, contender.worker(place), place.folder, self._environment(contender))
                )
            yield started

    def _environment(self, contender: Contender) -> dict[str, str]:
        place = self.places[contender.name]
        own = contender.environment(place)
        return {
            "BENCH_URL": place.url,
            "BENCH_STAMPS": str(place.folder / "stamps"),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            **own,
        }


def say(text: str, began: float) -> None:
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    print(f"{minutes:02}:{seconds:02} {text}", file=sys.stderr, flush=True)
