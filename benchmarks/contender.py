"""A contender: Horae, a peer, or the raw client. What the bench must know of it, beside its app.

An app (`benchmarks/apps/`) runs in the contender's own environment and declares the jobs `noop` and `stamp`. The
bench calls its verbs as a process, starts the contender's own worker command, and looks at the store from outside.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import redis

APPS = "benchmarks.apps"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a contender lives during a bench."""

    folder: Path
    """Its own, empty at first, gone afterwards."""
    url: str
    """Of the store."""
    python: Path
    """Of its environment."""

    def program(self, name: str) -> str:
        """A command of its environment."""
        return str(self.python.parent / name)


def nothing(place: Place) -> None: ...


def no_variables(place: Place) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Contender:
    name: str
    app: str
    """Module of its app, in APPS."""
    setup: str
    """How it is configured to be fast with no-op jobs, and what it keeps of each; a sentence for the report."""
    worker: Callable[[Place], list[str]]
    """The command of one worker process."""
    finished: Callable[["redis.Redis", int], int]
    """How many of so many filled jobs are finished, by what the store holds."""
    share: float = 1.0
    """How much of `--jobs` to fill: a slow one shows its rate with fewer, a fast one needs more to take a while."""
    peer: bool = True
    """One to be compared with, in an environment of its own by `requirements/NAME.txt`."""
    prepare: Callable[[Place], None] = nothing
    """Before anything else, once."""
    environment: Callable[[Place], Mapping[str, str]] = no_variables
    """Variables for its app and its workers."""


def number(answer: object) -> int:
    """A count that the client gave."""
    assert isinstance(answer, int), answer
    return answer
