"""How answers are printed: JSON, tables, durations and instants. Rich is imported only when something is drawn."""

import json
import os
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from horae.runs import Run

WIDTH_ELSEWHERE = 200
"""Columns where the output is no terminal: lines for other programs are not folded."""
COLOURS = {
    "ran": "green",
    "failed": "red",
    "skipped": "yellow",
    "missed": "yellow",
    "cancelled": "yellow",
    "error": "red",
    "warning": "yellow",
}


def print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def console() -> "Console":
    """Where text goes: plain and wide unless stdout is a terminal."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH_ELSEWHERE
    return Console(width=wide, highlight=False, markup=False, emoji=False)


def table(*columns: str) -> "Table":
    """An open table, its cells on one line each where they fit."""
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    return drawn


def coloured(word: str, shown: str | None = None) -> Any:
    """A verdict, state or level in its colour."""
    from rich.text import Text

    return Text(shown or word, style=COLOURS.get(word, "cyan"))


def state_of(run: "Run") -> Any:
    """Where a run is, and why."""
    state = run.state.value
    return coloured(state, f"{state}: {run.reason}" if run.reason else state)


def took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else roughly(timedelta(seconds=seconds))


def roughly(duration: timedelta) -> str:
    """In its two largest units: `45 s`, `12 min`, `7 h 5 min`, `3 d 2 h`."""
    seconds = int(duration.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    units = ((seconds // 86400, "d"), (seconds % 86400 // 3600, "h"), (seconds % 3600 // 60, "min"))
    found = [f"{number} {unit}" for number, unit in units if number]
    return " ".join(found[:2])


def relative(instant: datetime, now: datetime) -> str:
    """`in 7 h 5 min`, or `12 min ago`."""
    return f"in {roughly(instant - now)}" if instant >= now else f"{roughly(now - instant)} ago"
