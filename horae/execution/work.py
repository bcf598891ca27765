"""The active runs of this process: begun by a claim, ended by a settlement."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

from horae.clock import monotonic, now
from horae.errors import StoreError
from horae.execution.children import Children
from horae.execution.foreground import Foreground
from horae.execution.guardian import Guard
from horae.execution.lines import Sink
from horae.execution.renewer import GuardedRenewer, Renewer, ThreadRenewer
from horae.execution.run_logs import RunLogs
from horae.execution.runner import Active, Runner
from horae.execution.settler import Settler
from horae.execution.slots import Slots
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.metrics.process import Metrics
from horae.runs import Verdict
from horae.settings import Settings
from horae.store.base import Store
from horae.store.values import Claim, Settlement, Stop

log = logging.getLogger(__name__)
SLOW_INTERNAL_SECONDS = 5.0
"""Specification, validation checklist: "Fast execution (< 5 seconds)"."""

LAST_WAIT_SECONDS = 4.0
"""How long a draining process waits for jobs that ignore their cancellation, and for a store that does not answer."""
SAID_A_SECOND = 20
"""The most successful runs that are logged each second. The others are counted in one line."""


class Work:
    """Use it as a context manager; leaving it cancels active runs. Consumers share its `slots`."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        metrics: Metrics,
        slots: int,
        lease: timedelta,
        guard: Guard | None = None,
        left_out: Sequence[str] = (),
    ) -> None:
        """`guard`: the guardian that keeps the leases; without one, this process does. `left_out`: job files that must
        not be imported.
        """
        self._metrics = metrics
        self.slots = Slots(slots)
        """Reserve slots here before receiving messages."""
        self.lease = lease
        self._children = Children(settings.project, left_out)
        self._logs = RunLogs(store.ledger)
        self._settler = Settler(store.claims)
        self.runner = Runner(settings, store.claims, self._logs, self._children)
        self._foreground = Foreground(self.runner, store.claims, self._logs)
        self._renewer: Renewer = GuardedRenewer(guard) if guard else ThreadRenewer(store.claims, lease)
        self._active: dict[Active, asyncio.Task[Settlement | None]] = {}
        self._given_up: set[asyncio.Task[Settlement | None]] = set()
        self._second = self._said = 0
        self._stack = AsyncExitStack()
        metrics.active.set_function(lambda: len(self._active))

    async def __aenter__(self) -> "Work":
        await self._stack.enter_async_context(self._children)
        await self._stack.enter_async_context(self._renewer)
        flushing = asyncio.create_task(self._logs.keep_flushing(), name="run logs")
        self._stack.callback(flushing.cancel)
        self._stack.push_async_callback(self.drain, 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def begin(
        self, job: Job, claim: Claim, on_line: Sink | None = None, *, foreground: bool = False
    ) -> "asyncio.Task[Settlement | None]":
        """Run a granted claim. The task ends when the run is settled, and returns the settlement; None if it does not
        count, because the lease was lost or the store refused it. A claim without a token has no lease: the caller
        records its settlement. `on_line` gets each line that the run logs or prints. `foreground`: the run is retried
        here until it has its verdict.
        """
        if on_line:
            self._logs.listen(claim.message.run_id, on_line)
        active = Active(claim=claim, job=job)
        if claim.token:
            self._renewer.hold(active)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s begins", job.name, extra=_who(active, "run_began") | {"token": claim.token})
        task = asyncio.create_task(self._run(active, self._foreground if foreground else self.runner))
        self._active[active] = task
        self.slots.use()
        return task

    async def _run(self, active: Active, runner: Runner | Foreground) -> Settlement | None:
        began = monotonic()
        self._metrics.began(active.job.tier, active.claim.message.scheduled_for, now)
        try:
            settlement = await runner.run(active)
            seconds = monotonic() - began
            if active.job.tier is Tier.APSCHEDULER and seconds > SLOW_INTERNAL_SECONDS:
                self._report_slow(active, seconds)
            if self._logs.has(active.claim.message.run_id):
                await self._logs.end(active.claim.message.run_id)
            if settlement and active.claim.token and not await self._settle(active, settlement):
                settlement = None
        finally:
            self._renewer.drop(active)
            del self._active[active]
            self.slots.end()
        if settlement and settlement.verdict:
            self._say_settled(active, settlement.verdict, seconds)
        return settlement

    async def _settle(self, active: Active, settlement: Settlement) -> bool:
        """Whether the settlement counts. The lease is kept until the store has it."""
        try:
            kept = await self._settler.settle(settlement)
        except StoreError as error:
            log.error("cannot settle a run; it will run again: %s", error, extra=_who(active, "settlement_failed"))
            return False
        if not kept:
            log.warning(
                "%s ended in this process as %s, but the settlement came too late and does not count",
                active.job.name,
                settlement.verdict.value if settlement.verdict else "not settled",
                extra=_who(active, "settlement_refused"),
            )
        return kept

    def _say_settled(self, active: Active, verdict: Verdict, seconds: float) -> None:
        self._metrics.ended(active.job.name, active.job.tier, verdict, seconds)
        if verdict is not Verdict.RAN or self._may_say():
            extra = _who(active, "run_settled") | {"verdict": verdict.value}
            log.info("%s %s in %.3f s", active.job.name, verdict.value, seconds, extra=extra)

    def _may_say(self) -> bool:
        second = int(monotonic())
        if second != self._second:
            unsaid, self._second, self._said = self._said - SAID_A_SECOND, second, 0
            if unsaid > 0:
                log.info("%d more runs succeeded", unsaid, extra={"action": "runs_settled", "runs": unsaid})
        self._said += 1
        return self._said <= SAID_A_SECOND

    def _report_slow(self, active: Active, seconds: float) -> None:
        self._metrics.slow(active.job.name)
        log.warning(
            "internal job %s took %.1f s; move a job that takes over 5 s to the durable jobs",
            active.job.name,
            seconds,
            extra=_who(active, "internal_job_slow"),
        )

    async def cancel(self, run_id: str) -> None:
        """Ask a run to end as `cancelled`, and wait until it is settled."""
        for active, task in list(self._active.items()):
            if active.claim.message.run_id == run_id:
                active.cancel(Stop.REQUESTED)
                await asyncio.wait([task])

    async def finish(self, grace_seconds: float) -> None:
        """Let the runs continue for this long."""
        if self._active and grace_seconds > 0:
            await asyncio.wait(list(self._active.values()), timeout=grace_seconds)

    async def drain(self, grace_seconds: float) -> None:
        """Let the runs continue for this long, then hand back the rest."""
        await self.finish(grace_seconds)
        for active in list(self._active):
            active.cancel(Stop.DRAINING)
        if waited_for := set(self._active.values()) - self._given_up:
            _, late = await asyncio.wait(waited_for, timeout=LAST_WAIT_SECONDS)
            self._given_up |= late
            for task in late:
                log.error("cannot settle a run; it will run again", extra={"action": "settlement_given_up"})
                task.cancel()


def _who(active: Active, action: str) -> dict[str, object]:
    return {"action": action, "job": active.job.name, "run_id": active.claim.message.run_id}
