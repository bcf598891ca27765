"""What the jobs themselves saw, outside the store: each attempt writes a line when it begins and one when it ends.

The job side (`attempt`) is imported by the generated job files and runs in workers and their children; the reading side
is the checker's. All processes are on one machine, so the monotonic instants of one compare with those of another.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from chaos.fence import Entry, Fence, entries

try:
    from horae.jobs.context import RunContext, current_run
except ImportError:  # in a process of the release before, where the module has another name
    from horae.run_context import RunContext, current_run  # type: ignore[import-not-found,no-redef]

PROCESS = "CHAOS_PROCESS"
"""The variable that tells a worker, and through it its children, what the driver calls it."""
FILE, FENCE_FILE = "journal.jsonl", "effects.sqlite"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of the journal."""

    what: str
    """begin or end."""
    job: str
    run_id: str
    scheduled_for: str | None
    """ISO 8601; None for a run that no schedule caused."""
    attempt: int
    token: int
    worker: str
    """The worker process that claimed it; a child has its parent's."""
    pid: int
    at: float
    """CLOCK_MONOTONIC, in seconds."""
    wall: float
    """Seconds since the Unix epoch."""
    effect: str = ""
    """Of an end: done, refused (a newer attempt had begun), raised (as planned), or stopped (cancelled)."""


class Planned(Exception):
    """This attempt was to fail."""


@contextmanager
def attempt(*, raises_first: bool = False) -> Iterator[None]:
    """The body of a generated job; its protected effect comes last. `raises_first`: the first attempt raises."""
    run = current_run()
    fence = Fence(run.project / FENCE_FILE)
    assert run.token is not None, "a durable run has a claim"
    _write(run, "begin")
    fence.begin(run.run_id, run.token)
    try:
        yield
        if raises_first and run.attempt == 1:
            raise Planned
    except BaseException as error:
        _write(run, "end", "raised" if isinstance(error, Planned) else "stopped")
        raise
    _write(run, "end", "done" if fence.effect(run.run_id, run.token) else "refused")


def _write(run: RunContext, what: str, effect: str = "") -> None:
    line = Line(
        what=what,
        job=run.job,
        run_id=run.run_id,
        scheduled_for=run.scheduled_for.isoformat() if run.scheduled_for else None,
        attempt=run.attempt,
        token=run.token or 0,
        worker=os.environ.get(PROCESS, ""),
        pid=os.getpid(),
        at=time.monotonic(),
        wall=time.time(),
        effect=effect,
    )
    # Appended by one write: a kill leaves the whole line or none, and lines of two processes do not mix.
    file = os.open(run.project / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, json.dumps(asdict(line)).encode() + b"\n")
    finally:
        os.close(file)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """A begin, and its end if there was one."""

    begin: Line
    end: Line | None = None

    @property
    def raised(self) -> bool:
        """As planned: its retry is no extra run."""
        return self.end is not None and self.end.effect == "raised"


@dataclass(kw_only=True, slots=True)
class Journal:
    """The whole of it, by run; a run's attempts in the order of their claims, which is that of their tokens."""

    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    effects: list[Entry] = field(default_factory=list)
    """What the fence saw, in its own order."""

    @property
    def done(self) -> set[str]:
        """The runs whose effect was done, even if the process died before it could write the end."""
        return {entry.run_id for entry in self.effects if entry.what == "done"}

    def fires(self) -> dict[tuple[str, datetime], list[str]]:
        """The runs of each fire (job, instant) that a run names."""
        found: dict[tuple[str, datetime], list[str]] = defaultdict(list)
        for run, attempts in self.attempts.items():
            begin = attempts[0].begin
            if begin.scheduled_for:
                found[begin.job, datetime.fromisoformat(begin.scheduled_for)].append(run)
        return found


def journal_of(lines: list[Line], effects: list[Entry]) -> Journal:
    ends = {(line.run_id, line.token, line.worker): line for line in lines if line.what == "end"}
    attempts: dict[str, list[Attempt]] = defaultdict(list)
    for line in sorted((line for line in lines if line.what == "begin"), key=lambda line: (line.token, line.at)):
        attempts[line.run_id].append(Attempt(begin=line, end=ends.get((line.run_id, line.token, line.worker))))
    return Journal(attempts=dict(attempts), effects=effects)


class Reader:
    """Reads on from where it stopped."""

    def __init__(self, project: Path) -> None:
        self._project, self._offset = project, 0
        self.lines: list[Line] = []

    def fresh(self) -> list[Line]:
        """The lines since the last call."""
        path = self._project / FILE
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        found = [Line(**json.loads(text)) for text in whole.splitlines()]
        self.lines += found
        return found

    def journal(self) -> Journal:
        self.fresh()
        return journal_of(self.lines, entries(self._project / FENCE_FILE))
