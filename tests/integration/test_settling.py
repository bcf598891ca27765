"""A run counts here only if the store took its settlement."""

import asyncio
import logging
from datetime import timedelta

import pytest

from horae.execution.work import Work
from horae.jobs.job import Job
from horae.jobs.policies import Overlap, Tier
from horae.metrics.process import Metrics
from horae.reasons import Reason
from horae.runs import Cause, Verdict, new_run_id
from horae.settings import Settings
from horae.store.values import NewRun, Settlement
from tests.model import ModelStore

LEASE = timedelta(seconds=5)


@pytest.mark.parametrize("refused", [False, True])
async def test_a_settlement_that_was_refused_is_not_counted(refused: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store, metrics, go_on = ModelStore(), Metrics(), asyncio.Event()

    async def waits() -> str:
        await go_on.wait()
        return "done"

    job = Job(name="waits", tier=Tier.ONEIRIC, function=waits)
    async with Work(Settings(), store, metrics, 10, LEASE) as work:
        new = NewRun(run_id=new_run_id(), job="waits", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE)
        claim = await store.claims.begin(new, Overlap.ALLOW, "w1", LEASE)
        task = work.begin(job, claim)
        if refused:  # another worker was quicker
            await store.claims.settle([Settlement(claim=claim, verdict=Verdict.FAILED, reason=Reason.RAISED)])
        go_on.set()
        settlement = await task
    labels = {"job": "waits", "tier": "oneiric", "verdict": "ran"}
    actions = {getattr(record, "action", "") for record in caplog.records}
    assert (settlement is None) == refused
    assert metrics.registry.get_sample_value("horae_runs_total", labels) == (None if refused else 1.0)
    assert ("run_settled" in actions, "settlement_refused" in actions) == (not refused, refused)
