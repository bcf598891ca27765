"""Finds the runs in the ledger whose state has changed since the last look."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from horae import clock
from horae.errors import StoreUnavailable
from horae.runs import Run, State
from horae.settings import Settings
from horae.store.base import Ledger, Store
from horae.store.values import Only
from horae.terminal import one_line

LOOKED_AT = 5_000
"""How many of the newest runs each look searches for new ones."""
LOOK_SECONDS = 0.5
AWAY_SECONDS = 1.0
OPEN = frozenset(state for state in State if not state.settled)


class Following:
    """`changes` returns each run whose state changed since the last look, the oldest first. If a look raises
    StoreUnavailable, nothing is lost: the next look returns those changes.
    """

    def __init__(self, ledger: Ledger, job: str | None, since: datetime | None, only: Only) -> None:
        self._ledger, self._job, self._since, self._only = ledger, job, since, only
        self._settled: set[str] = set()
        self._open: dict[str, tuple[State, int]] = {}

    async def begin(self) -> None:
        """Note the present runs as known."""
        run_ids = await self._ledger.ids(job=self._job, since=self._since, limit=LOOKED_AT)
        # Include old runs, because a run may wait for a retry for a long time.
        unsettled = await self._ledger.runs(job=self._job, since=self._since, only=Only(states=OPEN), limit=LOOKED_AT)
        self._open = {run.run_id: _mark(run) for run in unsettled}
        self._settled = set(run_ids) - self._open.keys()

    async def changes(self) -> list[Run]:
        run_ids = await self._ledger.ids(job=self._job, since=self._since, limit=LOOKED_AT)
        unknown = [run_id for run_id in reversed(run_ids) if run_id not in self._settled and run_id not in self._open]
        runs = await self._ledger.many([*self._open, *unknown])
        changed = [run for run in runs if self._open.get(run.run_id) != _mark(run)]
        # Verdicts never change, so settled runs are not read again.
        self._settled = (self._settled & set(run_ids)) | {run.run_id for run in runs if run.state.settled}
        self._open = {run.run_id: _mark(run) for run in runs if not run.state.settled}
        return [run for run in changed if self._only.holds(run.state, run.cause, run.tier)]


def _mark(run: Run) -> tuple[State, int]:
    return run.state, run.attempts


async def keep_following(settings: Settings, question: "Question", say: Callable[[Run], str]) -> None:
    """Run for ever. If the store does not answer, report it once and wait."""
    from horae.store import connect

    async with connect(settings) as store:
        following, begun, away = Following(store.ledger, question.job, question.since, question.only), False, False
        while True:
            try:
                if begun:
                    runs = await following.changes()
                else:
                    await following.begin()
                    runs, begun = list(reversed(await question.ask(store))), True
            except StoreUnavailable as error:
                if not away:
                    print(f"horae: waiting: {error.message}", file=sys.stderr, flush=True)
                away = True
                await asyncio.sleep(AWAY_SECONDS)
                continue
            if away:
                print("horae: the store answers again", file=sys.stderr, flush=True)
            away = False
            for run in runs:
                print(say(run), flush=True)
            await asyncio.sleep(LOOK_SECONDS)


def json_line(run: Run) -> str:
    from horae.shapes.runs import run_shape

    return json.dumps(run_shape(run), ensure_ascii=False)


def line(run: Run) -> str:
    from horae.cli.output import paint, state_of
    from horae.words import took

    at = run.story[-1].at if run.story else run.ended_at or run.started_at or run.accepted_at
    when = clock.isoformat(at.replace(microsecond=0)) if at else ""
    parts = [when, f"{run.job:<20}", f"{run.cause.value:<8}", paint(*state_of(run))]
    parts += [
        took(run.duration_seconds) if run.state.settled else "",
        paint(run.run_id, "dim"),
        one_line(run.failure.words) if run.failure else "",
    ]
    return "  ".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """The filter for runs."""

    job: str | None
    since: datetime | None
    until: datetime | None
    only: Only
    limit: int

    async def ask(self, store: Store) -> list[Run]:
        if self.limit == 0:
            return []
        return await store.ledger.runs(
            job=self.job, since=self.since, until=self.until, only=self.only, limit=self.limit
        )
