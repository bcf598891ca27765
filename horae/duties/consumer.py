"""Receives no more than there are free slots, claims, acknowledges, and begins what was granted."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta

from horae.clock import monotonic
from horae.errors import QueueError, UnknownName
from horae.execution.work import Work
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.messages import Message
from horae.project.registry import Registry
from horae.queues.base import Consumer as Source
from horae.queues.base import Delivery
from horae.reasons import Reason, worded
from horae.store.base import Store
from horae.store.values import Answer, Claim, Policy, Wanted

log = logging.getLogger(__name__)
WAIT = timedelta(seconds=1)
LATE_SHARE = 2 / 3
"""Of the lease. The first renewal is within the last third."""
AT_ONCE = 100
"""Claimed in one step, however many slots are free: while the store works on some, the ones before them run."""


class Consumer:
    """One for each provider."""

    def __init__(
        self, name: str, source: Source, store: Store, registry: Registry, work: Work, worker: str, lease: timedelta
    ) -> None:
        self.name = name
        self._source, self._store, self._registry, self._work = source, store, registry, work
        self._worker, self._lease = worker, lease
        self._receiving: asyncio.Task[list[Delivery]] | None = None
        self._interrupted = False
        self._acking: asyncio.Task[None] | None = None

    async def step(self) -> float:
        try:
            await asyncio.wait_for(self._work.room(), WAIT.total_seconds())
        except TimeoutError:
            return 0.0
        self._receiving = asyncio.create_task(self._source.receive(min(self._work.free, AT_ONCE), WAIT))
        try:
            deliveries = await self._receiving
        except asyncio.CancelledError:
            if not self._interrupted:
                self._receiving.cancel()
                raise
            return 0.0
        if deliveries:
            await self._take(deliveries)
        return 0.0

    def interrupt(self) -> None:
        """End a receive that waits, for good; the step ends at once. A delivery on its way comes again later."""
        self._interrupted = True
        if self._receiving:
            self._receiving.cancel()

    async def _take(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.message is None:
                await self._bury(delivery, Reason.INVALID_MESSAGE, delivery.wrong)
        valid = [(delivery, delivery.message) for delivery in deliveries if delivery.message]
        if valid:
            wanted = [self._want(message) for _, message in valid]
            asked = monotonic()
            claims = await self._store.claims.claim(wanted, self._worker, self._lease)
            late = monotonic() - asked > self._lease.total_seconds() * LATE_SHARE
            for (delivery, message), claim in zip(valid, claims, strict=True):
                if claim.answer is Answer.TOO_OLD:
                    await self._bury(delivery, Reason.TOO_OLD, job=message.job)
                elif late and claim.answer is Answer.RUN:
                    self._leave(claim)
                else:
                    self._begin(claim)
        # Nobody waits for it: what is not acknowledged comes again, and the claim discards it.
        self._acking = asyncio.create_task(self._acknowledge(deliveries), name=f"{self.name} acknowledges")

    def _want(self, message: Message) -> Wanted:
        job = self._job(message.job)
        if job is None:
            return Wanted(message=message, policy=None)
        return Wanted(message=message, policy=policy_of(job), unique=job.uniqueness(message.context))

    def _job(self, name: str) -> Job | None:
        try:
            job = self._registry.get(name)
        except UnknownName:
            return None
        return job if job.tier is Tier.ONEIRIC else None

    def _begin(self, claim: Claim) -> None:
        job = self._job(claim.message.job)
        if claim.answer is Answer.RUN and job:
            self._work.begin(job, claim)
        elif log.isEnabledFor(logging.INFO):
            extra = {"action": "claim_answered", "job": claim.message.job, "run_id": claim.message.run_id}
            log.info("%s: %s %s", claim.message.job, claim.answer.value, claim.reason, extra=extra)

    def _leave(self, claim: Claim) -> None:
        """Do not begin it: the lease is that of the request, and may be gone before the first renewal."""
        extra = {"action": "claim_late", "job": claim.message.job, "run_id": claim.message.run_id}
        log.warning(
            "%s does not begin here: the store's answer came too late for the lease; another worker gets the run",
            claim.message.job,
            extra=extra,
        )

    async def _acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        try:
            await self._source.ack(deliveries)
        except QueueError as error:
            log.warning("cannot acknowledge deliveries: %s", error, extra={"action": "ack_failed"})

    async def _bury(self, delivery: Delivery, reason: Reason, note: str = "", job: str = "") -> None:
        letter = await self._store.dead_letters.bury(delivery.body, reason, note, job)
        why = worded(reason, note)
        log.error(
            "buried a message that is not a valid run: %s",
            why,
            extra={"action": "message_buried", "run_id": letter, "job": job},
        )


def policy_of(job: Job) -> Policy:
    """What a job's definition has to say at the claim."""
    return Policy(
        overlap=job.overlap,
        catch_up=job.catch_up,
        catch_up_window=job.catch_up_window,
        concurrency=job.concurrency,
    )
