"""Plays a plan on a stage: enqueues, strikes, waits until everything has ended, and keeps a record."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from chaos.front_door import front_door
from chaos.journal import Journal, Line, Reader
from chaos.plan import Enqueue, Plan
from chaos.record import Accepted, Record
from chaos.stage import NAMESPACE, SIDECARS, WORKERS, Stage, left_behind, staged
from chaos.workload import TICK, write
from horae.clock import monotonic, now
from horae.errors import QueueError, StoreError
from horae.reasons import worded
from horae.runs import Run
from horae.scheduler.scheduler import Scheduler
from horae.store import Store
from tests.processes import HERE, Source
from tests.waiting import wait_until

SLOTS = 16
OUTSTANDING = 300
"""No more accepted and unended runs than this, so that a redelivered one does not wait behind a long queue."""
LETTERS = 10_000
PATIENCE_SECONDS = 60
"""Without any outstanding run ending for so long, the rest is lost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    accepted: int
    ended: int
    strikes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    journal: Journal
    record: Record
    runs: list[Run]
    """The ledger's rows of what was accepted, and of all fires in the window."""
    seconds: float


async def play(
    plan: Plan,
    folder: Path,
    say: Callable[[Progress], None] = lambda progress: None,
    home: Source = HERE,
    beside: Source | None = None,
) -> Played:
    """`folder`: an empty one, for the project, the store and the logs. The processes are started from `home`, and with
    `beside` half of them from that.
    """
    project = folder / "project"
    (folder / "store").mkdir()
    (project / "infra").mkdir(parents=True)
    write(project, *plan.jobs)
    began = monotonic()
    async with staged(plan, project, folder / "store", SLOTS, home, beside) as stage:
        played = await Driver(plan, project, stage, say).play()
    played.record.left = left_behind(project)
    return Played(journal=played.journal, record=played.record, runs=played.runs, seconds=monotonic() - began)


class Driver:
    def __init__(self, plan: Plan, project: Path, stage: Stage, say: Callable[[Progress], None]) -> None:
        self._plan, self._project, self._stage, self._say = plan, project, stage, say
        self._reader = Reader(project)
        self._open: dict[str, Line] = {}
        """Of each run its newest attempt that has begun and not ended. An older one may never end: with its lease a
        worker ends its child too."""
        self._outstanding: set[str] = set()
        self._ended = 0
        epoch = now().timestamp() - monotonic()
        self._record = Record(
            jobs=plan.jobs,
            window=(now(), now()),
            epoch=epoch,
            hits=stage.hits,
            starts=stage.starts,
            exits=stage.exits,
            stopped=stage.stopped,
        )

    async def play(self) -> Played:
        async with front_door(self._project, self._stage.front_door.url, NAMESPACE) as (scheduler, store):
            await self._stage.start()
            await wait_until(self._ticks, "the first fire", 30)
            first, began = now(), monotonic()
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch())
                await asyncio.gather(self._enqueue_all(scheduler, began), self._strike_all(began))
                self._record.window = (first, now())
                await self._settle_down(store)
                watching.cancel()
            runs = await self._runs(store)
            for letter in await store.dead_letters.newest(LETTERS):
                self._record.dead_letters[letter.run_id] = f"{letter.job}: {worded(letter.reason, letter.note)}"
        return Played(journal=self._reader.journal(), record=self._record, runs=runs, seconds=0)

    def _ticks(self) -> bool:
        return any(line.job == TICK.name for line in self._read())

    async def _enqueue_all(self, scheduler: Scheduler, began: float) -> None:
        for planned in self._plan.enqueues:
            await asyncio.sleep(max(0.0, began + planned.at - monotonic()))
            try:
                await wait_until(self._has_room, "the queue to become shorter", PATIENCE_SECONDS * 2)
            except AssertionError:
                return  # what is in it is lost, as the checker will say
            await self._enqueue(scheduler, planned)

    def _has_room(self) -> bool:
        return len(self._outstanding) < OUTSTANDING

    async def _enqueue(self, scheduler: Scheduler, planned: Enqueue) -> None:
        """Until it is accepted, always under the same run: what was refused may have been written all the same."""
        metadata = {"priority": planned.priority}
        if planned.delay:
            metadata["schedule_time"] = (now() + timedelta(seconds=planned.delay)).isoformat()
        self._outstanding.add(planned.run_id)
        while True:
            try:
                await scheduler.enqueue_workflow(planned.job, metadata=metadata, run_id=planned.run_id)
                break
            except (StoreError, QueueError):
                self._record.refused += 1
                await asyncio.sleep(0.1)
        self._record.accepted.append(Accepted(run_id=planned.run_id, job=planned.job, at=monotonic()))

    async def _strike_all(self, began: float) -> None:
        async with asyncio.TaskGroup() as group:
            for strike in self._plan.strikes:
                await asyncio.sleep(max(0.0, began + strike.at - monotonic()))
                group.create_task(self._stage.strike(strike))

    async def _watch(self) -> None:
        while True:
            self._read()
            self._say(Progress(accepted=len(self._record.accepted), ended=self._ended, strikes=len(self._record.hits)))
            await asyncio.sleep(0.1)

    def _read(self) -> Sequence[Line]:
        fresh = self._reader.fresh()
        for line in fresh:
            newest = self._open.get(line.run_id)
            if line.what == "begin":
                if newest is None or newest.token < line.token:
                    self._open[line.run_id] = line
            else:
                if newest and newest.token <= line.token:
                    del self._open[line.run_id]
                if line.effect == "done" and line.run_id in self._outstanding:
                    self._outstanding.discard(line.run_id)
                    self._ended += 1
        return fresh

    async def _settle_down(self, store: Store) -> None:
        """Wait for what was accepted and for what fired in the window; end the sidecars; let the rest run out."""
        await self._all_ended(store)
        await self._fires_ended(store)
        await self._stage.end(SIDECARS)
        await self._run_out()
        await self._stage.end(WORKERS)

    async def _all_ended(self, store: Store) -> None:
        """Or given up by rule, which the ledger knows; or lost, which patience tells."""
        left, since = len(self._outstanding), monotonic()
        while self._outstanding and monotonic() - since < PATIENCE_SECONDS:
            await asyncio.sleep(0.2)
            if len(self._outstanding) < left:
                left, since = len(self._outstanding), monotonic()
            elif monotonic() - since > 2 and await _all_settled(store, list(self._outstanding)):
                return

    async def _fires_ended(self, store: Store) -> None:
        """Or patience does: the checker says which are missing, here it is only waited for them."""
        end, since = self._record.window[1], monotonic()
        while monotonic() - since < PATIENCE_SECONDS:
            found = [run for job in self._scheduled() for run in await store.ledger.runs(job=job, until=end, limit=200)]
            if all(run.verdict for run in found):
                return
            await asyncio.sleep(0.3)

    async def _run_out(self) -> None:
        """Or a worker that ends hands back what is left, and the checker says what it was."""
        with suppress(AssertionError):
            await wait_until(self._idle, "the last attempts to end", PATIENCE_SECONDS / 2)

    def _scheduled(self) -> list[str]:
        return [job.name for job in self._plan.jobs if job.schedule]

    def _idle(self) -> bool:
        self._read()
        return not any(line.worker in self._stage.alive for line in self._open.values())

    async def _runs(self, store: Store) -> list[Run]:
        found: list[Run] = []
        begin, end = self._record.window
        for job in self._scheduled():
            rows = await store.ledger.runs(job=job, since=begin, until=end, limit=100_000)
            found += [run for run in rows if run.scheduled_for and begin < run.scheduled_for <= end]
        for start in range(0, len(self._record.accepted), 50):
            chunk = self._record.accepted[start : start + 50]
            found += [run for run in await asyncio.gather(*(store.ledger.run(one.run_id) for one in chunk)) if run]
        return found


async def _all_settled(store: Store, run_ids: list[str]) -> bool:
    found = [await store.ledger.run(run) for run in run_ids]
    return all(run is not None and run.verdict is not None for run in found)
