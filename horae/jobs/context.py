"""What a job may know about the run that it is in."""

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
    """The run that this code is part of. What the job logs through `logging`, or prints, reaches `horae logs RUN`."""

    job: str
    run_id: str
    project: Path
    attempt: int = 1
    """Counted from 1; grows each time the run is handed out again."""
    token: int | None = None
    """The fencing token of the claim: a later claim on any run has a higher one. None without a claim."""
    scheduled_for: datetime | None = None
    """The fire that caused the run; None for a run that no schedule caused."""
    settings: Any = None
    """The job's own table of horae.toml, as the model that the job declared."""
    report: Callable[[str], None] = field(default=_to_log)
    """Says how far the run is; the last line shows in the table."""


_current: ContextVar[RunContext | None] = ContextVar("horae_run", default=None)
_whole_process: list[RunContext] = []
"""The run that this process is for, if it is for one: whatever thread asks, and in its forks too."""


def current_run() -> RunContext:
    """The run that the calling code is part of; raises LookupError outside of one."""
    run = _current.get() or (_whole_process[-1] if _whole_process else None)
    if run is None:
        raise LookupError("no run is going on here; `horae run JOB` starts one in the foreground")
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
    """From now on this whole process is that run."""
    _whole_process[:] = [context]
