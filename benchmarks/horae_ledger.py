"""What Horae's ledger holds of the fires in a window, by its public door."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from horae.runs import Run
from horae.settings import StoreSettings, load
from horae.store import connect

SLICE = timedelta(seconds=5)
LIMIT = 100_000


def fires(project: Path, url: str, since: datetime, until: datetime) -> list[Run]:
    """Every run scheduled from `since` to `until`, in no order."""
    return asyncio.run(_fires(project, url, since, until))


async def _fires(project: Path, url: str, since: datetime, until: datetime) -> list[Run]:
    settings = load(project, {}).model_copy(update={"store": StoreSettings(url=SecretStr(url))})
    found: dict[str, Run] = {}
    async with connect(settings) as store:
        # In slices: the ledger answers with whole rows, and hundreds at a time are quick.
        while since < until:
            end = min(since + SLICE, until)
            runs = await store.ledger.runs(since=since, until=end, limit=LIMIT)
            found |= {run.run_id: run for run in runs if run.scheduled_for}
            since = end
    return list(found.values())


def lateness(runs: list[Run], instant: Callable[[Run], datetime | None]) -> list[float]:
    """Milliseconds from when each was scheduled to that instant of it; those that have none yet are left out."""
    waits = []
    for run in runs:
        at = instant(run)
        if at and run.scheduled_for:
            waits.append((at - run.scheduled_for) / timedelta(milliseconds=1))
    return waits
