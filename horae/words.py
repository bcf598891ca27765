"""Text for states, durations and instants. The command line, `horae up` and the web page share it."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from horae.clock import isoformat
from horae.reasons import worded

if TYPE_CHECKING:
    from horae.runs import Run

COLOURS = {
    "ran": "green",
    "failed": "red",
    "skipped": "yellow",
    "missed": "yellow",
    "cancelled": "yellow",
    "retrying": "magenta",
    "error": "red",
    "warning": "yellow",
    "hint": "cyan",
}
"""Of states and levels; any other state is on its way."""
ON_ITS_WAY = "cyan"
UNKNOWN_JOB = "does not know the job"
"""How the note of a hand-back ends, as the store's claims write it."""
WAITING = frozenset({"pending", "retrying"})
"""States of a run that waits for its time."""


def colour_of(state: str) -> str:
    """The name of a terminal colour."""
    return COLOURS.get(state, ON_ITS_WAY)


def state_words(run: "Run") -> str:
    """The state of a run, with its reason: `running`, `skipped: overlap`, `pending, due 2026-12-01T02:00:00Z`."""
    why = worded(run.reason, run.note)
    if why:
        return f"{run.state.value}: {why}"
    if unknown_to_workers(run):
        return f"{run.state.value}: no running worker knows the job; start them again, or wait for the deploy"
    if run.not_before and run.state.value in WAITING:
        return f"{run.state.value}, due {isoformat(run.not_before.replace(microsecond=0))}"
    return run.state.value


def unknown_to_workers(run: "Run") -> bool:
    """Whether the last worker that was given the run handed it back because it does not know the job."""
    if run.state.value not in (*WAITING, "queued"):
        return False
    last = next((event for event in reversed(run.story) if event.what != "published"), None)
    return last is not None and last.what == "handed back" and last.note.endswith(UNKNOWN_JOB)


def runs_wait(count: int) -> str:
    return "1 run waits" if count == 1 else f"{count} runs wait"


def took(seconds: float | None) -> str:
    """A measured duration: `120 ms`, `3.4 s`, `12 min`. Empty for None."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else roughly(timedelta(seconds=seconds))


def offset(seconds: float) -> str:
    """Since the beginning of a story: to the millisecond within a minute."""
    return f"{seconds:.3f} s" if seconds < 60 else roughly(timedelta(seconds=seconds))


def roughly(duration: timedelta) -> str:
    """A duration in its two largest units: `45 s`, `12 min`, `7 h 5 min`, `3 d 2 h`."""
    seconds = int(duration.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    units = ((seconds // 86400, "d"), (seconds % 86400 // 3600, "h"), (seconds % 3600 // 60, "min"))
    found = [f"{number} {unit}" for number, unit in units if number]
    return " ".join(found[:2])


def relative(instant: datetime, now: datetime) -> str:
    """An instant relative to `now`: `in 7 h 5 min`, or `12 min ago`."""
    return f"in {roughly(instant - now)}" if instant >= now else f"{roughly(now - instant)} ago"
