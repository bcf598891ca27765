"""Mirrors flow runs from Prefect's API into the ledger: Prefect fires flows, the ledger says what became of them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched

from horae.clock import monotonic
from horae.errors import PrefectUnavailable, UsageError
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.prefect.api import PrefectApi
from horae.prefect.rows import deleted, rows_of
from horae.prefect.values import FlowRun
from horae.project.registry import Registry
from horae.runs import Run, State
from horae.store.base import Store
from horae.store.values import Only

POLL_SECONDS = 2.0
WAITING_SECONDS = 30.0
"""How often runs are asked for that were to start long ago and have not."""
DEPLOYMENTS_SECONDS = 60.0
"""How often known deployments are looked up: one that was made anew has another id."""
RECALL_SECONDS = 60.0
"""How often the ledger is searched for open runs that this mirror does not ask for yet."""
RECALL_AFTER = timedelta(minutes=1)
"""Younger rows are left to the looks at Prefect."""
RECALL_BACK = timedelta(hours=1)
"""How far back such a search goes; the first one, and the first after an outage of Prefect, goes all the way."""
LOOK_BACK = timedelta(days=2)
"""How far back the first look goes at least: what happened while no sidecar looked."""
OVERLAP = timedelta(minutes=5)
"""Each look begins so long before the last one; also the most that the clocks of store and Prefect may differ."""
ENOUGH = 1000
"""Flow runs of one look; more take several."""
OPEN_ROWS = 5000
"""Open rows that one search takes up."""
OPEN = Only(
    states=frozenset(state for state in State if not state.settled),
    tiers=frozenset({Tier.PREFECT}),
)
BATCH = 100
"""Rows of one write: it blocks everybody else at the store."""


@dataclass(slots=True)
class Open:
    """A flow run without a verdict, as it was last recorded."""

    job: Job
    row: Run
    asked: float
    """On the monotonic clock, in seconds."""


class FlowMirror:
    """A fire is named by its deployment and expected start; a run that no schedule caused keeps Prefect's own id.

    `keep`: the ledger's retention, the longest that the first look goes back.
    """

    name = "flow mirror"

    def __init__(self, store: Store, registry: Registry, prefect: PrefectApi, keep: timedelta) -> None:
        self._store, self._prefect, self._keep = store, prefect, keep
        self._flows = {job.deployment: job for job in registry.by_tier(Tier.PREFECT) if job.deployment}
        self._ids: dict[str, str] = {}
        self._deployments: dict[str, Job] = {}
        """By id, those from before a deployment was made anew too: Prefect may still have their runs."""
        self._looked_up = 0.0
        self._since: datetime | None = None
        self._seen: dict[str, tuple[str, str, int]] = {}
        self._open: dict[str, Open] = {}
        self._recalled: float | None = None

    async def step(self) -> float:
        try:
            await self._find_deployments()
            return 0.0 if await self._mirror() else POLL_SECONDS
        except PrefectUnavailable:
            self._looked_up, self._recalled = 0.0, None  # it may come back with another database
            raise
        except UsageError as error:
            raise PrefectUnavailable(f"Prefect does not return its flow runs: {error}") from error

    async def _find_deployments(self) -> None:
        all_again = monotonic() - self._looked_up >= DEPLOYMENTS_SECONDS or not self._looked_up
        for name, job in self._flows.items():
            if name in self._ids and not all_again:
                continue
            if found := await self._prefect.deployment_by_name(name):
                self._ids[name] = found.id
                self._deployments[found.id] = job
            else:
                self._ids.pop(name, None)
        if all_again:
            self._looked_up = monotonic()

    async def _mirror(self) -> bool:
        """One look; True when there is more to see at once."""
        now = await self._store.now()
        since = self._since or await self._resume(now)
        await self._recall(now)
        ids = list(self._deployments)
        listed = await self._prefect.flow_runs(ids, since=since, until=now, enough=ENOUGH)
        if len(listed) >= ENOUGH and listed[-1].expected_start > since:
            await self._take(listed, now)
            self._since = listed[-1].expected_start
            return True
        # What begins long after it was due, and what has been open for longer than the look reaches back.
        belated = await self._prefect.flow_runs(ids, until=since, started_since=since)
        await self._take([*listed, *belated], now)
        await self._ask_for_open({one.id for one in (*listed, *belated)}, now)
        self._since = now - OVERLAP
        near = {one.id for one in (*listed, *belated)} | self._open.keys()
        self._seen = {id: mark for id, mark in self._seen.items() if id in near}
        return False

    async def _resume(self, now: datetime) -> datetime:
        """Since when to look: by what the ledger has last."""
        latest = await self._store.ledger.latest([job.name for job in self._flows.values()])
        newest = (one.newest.scheduled_for or one.newest.accepted_at for one in latest.values() if one.newest)
        last = max((at for at in newest if at), default=now)
        return max(now - self._keep, min(now - LOOK_BACK, last - OVERLAP))

    async def _recall(self, now: datetime) -> None:
        """Take up the open rows that another process wrote, and those of flows that are no longer declared.

        Prefect may have lost their runs, so that no look lists them.
        """
        if self._recalled is not None and monotonic() - self._recalled < RECALL_SECONDS:
            return
        since = None if self._recalled is None else now - RECALL_BACK
        ledger, jobs = self._store.ledger, {job.name: job for job in self._flows.values()}
        for row in await ledger.runs(since=since, until=now - RECALL_AFTER, only=OPEN, limit=OPEN_ROWS):
            id = row.metadata.get("flow_run")
            if id and id not in self._open:
                job = jobs.get(row.job) or Job(name=row.job, tier=Tier.PREFECT)
                self._open[id] = Open(job, row, asked=-WAITING_SECONDS)
        self._recalled = monotonic()

    async def _take(self, flow_runs: Iterable[FlowRun], now: datetime) -> None:
        """Record what is new or has changed."""
        rows: list[Run] = []
        marks: dict[str, tuple[str, str, int]] = {}
        for one in flow_runs:
            # An open run keeps the name that its row has; its deployment may be no more.
            job = self._open[one.id].job if one.id in self._open else self._deployments[one.deployment_id or ""]
            made = rows_of(self._store.namespace, job, one, missed_by=now - OVERLAP)
            state = made[-1].state
            if state.settled:
                self._open.pop(one.id, None)
            else:
                self._open[one.id] = Open(job, made[-1], monotonic())
            mark = (state.value, one.state_name, one.run_count)
            if self._seen.get(one.id) != mark:
                rows += made
                marks[one.id] = mark
        await self._record(rows)
        self._seen |= marks

    async def _ask_for_open(self, listed: Collection[str], now: datetime) -> None:
        """What became of open runs that the look no longer reaches: those that run now, those that wait by and by."""
        asked = [
            id
            for id, one in self._open.items()
            if id not in listed and (one.row.started_at or monotonic() - one.asked >= WAITING_SECONDS)
        ]
        found = {one.id: one for one in await self._prefect.flow_runs_by_id(asked)}
        await self._record([deleted(self._open[id].row, now) for id in asked if id not in found])
        for id in asked:
            if id not in found:
                del self._open[id]
        await self._take(found.values(), now)

    async def _record(self, rows: Sequence[Run]) -> None:
        for batch in batched(rows, BATCH, strict=False):
            await self._store.ledger.record(batch)
