"""Gives a job access to its current run."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

log = logging.getLogger("horae.run")


def _to_log(text: str) -> None:
    log.info(text)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """The current run. `horae logs RUN` shows what the job prints and logs through `logging`."""

    job: str
    run_id: str
    project: Path
    attempt: int = 1
    """Counted from 1. Grows by one each time work on the run begins again."""
    token: int | None = None
    """The fencing token of the claim. Every later claim, on any run, has a higher token. None without a claim."""
    scheduled_for: datetime | None = None
    """The fire that caused the run; None for a run that no schedule caused."""
    settings: Any = None
    """The table `[jobs.<name>]` of horae.toml as the model that the job declares."""
    report: Callable[[str], None] = field(default=_to_log)
    """Report progress. The tables of runs show the last reported line."""


_current: ContextVar[RunContext | None] = ContextVar("horae_run", default=None)
_whole_process: list[RunContext] = []
"""The run that this whole process executes, if it has one: valid in all its threads and forks."""


def current_run() -> RunContext:
    """The run that the calling code is part of; raises LookupError outside a run."""
    run = _current.get() or (_whole_process[-1] if _whole_process else None)
    if run is None:
        raise LookupError("no run is active here; `horae run JOB` starts a run in the foreground")
    return run


@contextmanager
def running(context: RunContext) -> Iterator[RunContext]:
    """Make `context` the current run of this task or thread."""
    mark = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(mark)


def is_the_run(context: RunContext) -> None:
    """Make `context` the current run of this whole process, in every thread."""
    _whole_process[:] = [context]
