"""Runs in the foreground: the process that runs one also tries it again, and no worker takes it up."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from horae.errors import StoreUnavailable
from horae.execution.run_logs import RunLogs
from horae.execution.runner import Active, Runner
from horae.reasons import Reason, worded
from horae.runs import Failure, Verdict
from horae.store.base import Claims
from horae.store.limits import DEATHS
from horae.store.values import Settlement

REST = timedelta(seconds=1)
"""Before a run is tried again that no process could be started for."""


class Foreground:
    """Runs a claim until it has its verdict. The claim is kept while the run waits for its next attempt."""

    def __init__(self, runner: Runner, claims: Claims, logs: RunLogs) -> None:
        self._runner, self._claims, self._logs = runner, claims, logs

    async def run(self, active: Active) -> Settlement | None:
        """How it ended; None when its lease is lost: the settling is somebody else's."""
        lost = 0
        while True:
            settlement = await self._runner.run(active)
            if settlement is None or settlement.verdict or active.stop:
                return settlement
            failed = settlement.retry_after is not None and not settlement.died
            lost += not failed
            if lost >= DEATHS:
                return _given_up(settlement, lost)
            await self._rest(active, settlement)
            if active.stop:
                return self._runner.stopped(active)
            if not await self._again(settlement):
                return None
            claim = active.claim
            active.claim = replace(claim, attempts=claim.attempts + 1, failures=claim.failures + failed)

    async def _rest(self, active: Active, settlement: Settlement) -> None:
        """Wait for the next attempt, or until somebody asks for an end."""
        wait = REST if settlement.retry_after is None else settlement.retry_after
        with self._logs.open(active.claim.message.run_id) as log:
            log.log("RETRY", f"in {wait.total_seconds():.1f} s: {worded(settlement.reason, settlement.note)}")
        active.timed_out = active.ended = False
        body = active.body = asyncio.create_task(asyncio.sleep(wait.total_seconds()), name="rest")
        try:
            await asyncio.wait([body])
        finally:
            body.cancel()

    async def _again(self, settlement: Settlement) -> bool:
        while True:
            try:
                return await self._claims.again(settlement)
            except StoreUnavailable:
                await asyncio.sleep(REST.total_seconds())


def _given_up(settlement: Settlement, times: int) -> Settlement:
    """As the store gives up a run that kills its processes."""
    if settlement.died:
        reason, note, failure = Reason.KILLED_ITS_PROCESS, str(times), settlement.failure
    else:
        reason, note, failure = Reason.PROCESS_DIED, "", Failure(type="NotBegun", message=settlement.note)
    return Settlement(claim=settlement.claim, verdict=Verdict.FAILED, reason=reason, note=note, failure=failure)
