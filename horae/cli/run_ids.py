"""The run that somebody means: by its id, or by a beginning or end of it."""

import re

from horae import clock
from horae.errors import UnknownName, UsageError
from horae.runs import Run
from horae.store.base import Ledger

LEAST = 8
"""Characters of an id that may stand for it."""
LISTED = 20
NAMED = 5
WORD = re.compile(r"[0-9a-zA-Z_-]{1,64}")


async def identify(ledger: Ledger, given: str) -> Run:
    """Raises UnknownName, or UsageError for what is too short or could be several."""
    exact = await ledger.run(given)
    if exact is not None:
        return exact
    if WORD.fullmatch(given) and len(given) < LEAST:
        raise UsageError(f"{given!r} is too short for the id of a run: give at least {LEAST} characters")
    found = await ledger.find(given, LISTED + 1) if WORD.fullmatch(given) else []
    runs = await ledger.many(found)
    if not runs:
        newest = await ledger.ids(limit=NAMED)
        raise UnknownName("run", given, newest)
    if len(runs) > 1:
        listed = "".join(f"\n  {_line(run)}" for run in sorted(runs[:LISTED], key=_when, reverse=True))
        count = f"more than {LISTED}" if len(runs) > LISTED else str(len(runs))
        raise UsageError(f"{given!r} matches {count} runs; give more of the id:{listed}")
    return runs[0]


def _when(run: Run) -> str:
    at = run.scheduled_for or run.accepted_at
    return clock.isoformat(at.replace(microsecond=0)) if at else ""


def _line(run: Run) -> str:
    return f"{run.run_id}  {_when(run)}  {run.job} {run.state.value}"
