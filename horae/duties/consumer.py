"""Receives no more than there are free slots, claims, acknowledges, and begins what was granted."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta

from horae.errors import QueueError, UnknownName
from horae.execution.work import Work
from horae.jobs import CatchUp, Job, Overlap, Tier
from horae.messages import Message
from horae.queues.base import Consumer as Source
from horae.queues.base import Delivery
from horae.registry import Registry
from horae.store.base import Answer, Claim, Store, Wanted

log = logging.getLogger(__name__)
WAIT = timedelta(seconds=1)


class Consumer:
    """One for each provider."""

    def __init__(
        self, name: str, source: Source, store: Store, registry: Registry, work: Work, worker: str, lease: timedelta
    ) -> None:
        self.name = name
        self._source, self._store, self._registry, self._work = source, store, registry, work
        self._worker, self._lease = worker, lease

    async def step(self) -> float:
        try:
            await asyncio.wait_for(self._work.room(), WAIT.total_seconds())
        except TimeoutError:
            return 0.0
        deliveries = await self._source.receive(self._work.free, WAIT)
        if deliveries:
            await self._take(deliveries)
        return 0.0

    async def _take(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.message is None:
                await self._bury(delivery)
        valid = [(delivery, delivery.message) for delivery in deliveries if delivery.message]
        if not valid:
            return
        wanted = [self._want(message) for _, message in valid]
        claims = await self._store.claims.claim(wanted, self._worker, self._lease)
        for claim in claims:
            self._begin(claim)
        await asyncio.gather(*(self._acknowledge(delivery) for delivery, _ in valid))

    def _want(self, message: Message) -> Wanted:
        job = self._job(message.job)
        return Wanted(
            message=message,
            tier=Tier.ONEIRIC,
            overlap=job.overlap if job else Overlap.ALLOW,
            catch_up=job.catch_up if job else CatchUp.LATEST,
            known=job is not None,
        )

    def _job(self, name: str) -> Job | None:
        try:
            job = self._registry.get(name)
        except UnknownName:
            return None
        return job if job.tier is Tier.ONEIRIC else None

    def _begin(self, claim: Claim) -> None:
        extra = {"action": "claim_answered", "job": claim.message.job, "run": claim.message.run}
        job = self._job(claim.message.job)
        if claim.answer is Answer.RUN and job:
            log.info("%s begins", claim.message.job, extra=extra | {"action": "run_began", "token": claim.token})
            self._work.begin(job, claim)
        else:
            log.info("%s: %s %s", claim.message.job, claim.answer.value, claim.reason, extra=extra)

    async def _acknowledge(self, delivery: Delivery) -> None:
        try:
            await delivery.ack()
        except QueueError as error:
            # It comes again, and the claim discards it.
            log.warning("a delivery is not acknowledged: %s", error, extra={"action": "ack_failed"})

    async def _bury(self, delivery: Delivery) -> None:
        letter = await self._store.dead_letters.bury(delivery.body, delivery.wrong)
        log.error("a message is no run: %s", delivery.wrong, extra={"action": "message_buried", "run": letter})
        await self._acknowledge(delivery)
