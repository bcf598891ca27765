"""The claim on a run in the foreground, once the overlap of its job lets it begin."""

import asyncio
from collections.abc import Callable

from horae.duties.workplace import Workplace
from horae.execution.lines import stamped
from horae.jobs.job import Job
from horae.store.values import Answer, Claim, NewRun

LOOK_SECONDS = 0.5
"""How often it looks whether the run may begin."""
SWEPT = 100
"""Lapsed leases that it returns in one look."""


async def granted(place: Workplace, job: Job, new: NewRun, on_line: Callable[[str], None]) -> Claim:
    """Wait while other runs of the job are in the way, and say so once. Nothing is written before the run begins."""
    told = False
    while True:
        claim = await place.store.claims.begin(
            new, job.overlap, place.name, place.work.lease, concurrency=job.concurrency, waits=True
        )
        if claim.answer is not Answer.LATER:
            assert claim.answer is Answer.RUN, claim
            return claim
        if not told:
            text = f"another run of {job.name} is active or waits for a retry; `horae fires {job.name}` shows it"
            on_line(stamped("WAITS", text))
            told = True
        # The run in the way may be one whose process was killed, and no other process may be there to see that.
        await place.store.claims.sweep(SWEPT)
        await asyncio.sleep(LOOK_SECONDS)
