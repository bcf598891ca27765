"""Receives at most as many messages as there are free slots, claims and acknowledges them, and begins granted runs."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from horae.clock import monotonic
from horae.errors import QueueError, StoreError, StoreUnavailable, UnknownName, UnsafeStore
from horae.execution.work import Work
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.messages import Message
from horae.project.registry import Registry
from horae.queues.base import Consumer as Source
from horae.queues.base import Delivery, Refusing
from horae.queues.ready import ReadyList
from horae.queues.reopening import Reopening
from horae.reasons import Reason, worded
from horae.signing import Signing
from horae.store.base import Store
from horae.store.values import Answer, Claim, Policy, Wanted

log = logging.getLogger(__name__)
WAIT = timedelta(seconds=1)
SHORT_WAIT = timedelta(seconds=0.1)
"""The wait while another consumer needs the slots that this one reserved."""
LATE_SHARE = 1 / 2
"""Of the lease. The first renewal follows within a third, so a sixth is left for the store to answer it."""
MOST_CLAIMS = 3
"""A message becomes a dead letter when the claim of it alone has failed so often."""
NOT_THE_MESSAGE = (StoreUnavailable, UnsafeStore)
"""Errors of a claim that no message causes."""
AT_ONCE = 100
"""The most messages in one claim. While the store handles one claim, the runs of the claim before begin."""


class Consumer:
    """The duty of one provider."""

    def __init__(
        self,
        name: str,
        source: Source,
        store: Store,
        registry: Registry,
        work: Work,
        worker: str,
        lease: timedelta,
        ready: ReadyList | None = None,
        signing: Signing | None = None,
    ) -> None:
        """`ready`: where to put messages that arrive while no slot is free. Without it they stay at the broker.
        `signing`: verifies messages without a row. Without it such messages need no signature.
        """
        self.name = self.provider = name
        self._source, self._store, self._registry, self._work = source, store, registry, work
        self._worker, self._lease, self._ready, self._signing = worker, lease, ready, signing
        self._receiving: asyncio.Timeout | None = None
        self._interrupted = False
        self._more = True
        """Whether the source probably has several messages."""
        self._unclaimable: Counter[str] = Counter()
        """How often the claim of a run failed, although the store answered."""
        self._early: list[Delivery] = []
        """The deliveries of this step whose runs are not due."""
        work.slots.join()
        self._acking: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str:
        """Why the source was opened again, until it gets messages."""
        return self._source.trouble if isinstance(self._source, Reopening) else ""

    async def step(self) -> float:
        slots = self._work.slots
        try:
            most = AT_ONCE if self._more or not slots.shared else 1
            reserved = await asyncio.wait_for(slots.reserve(most), WAIT.total_seconds())
        except TimeoutError:
            await self._keep()
            return 0.0
        try:
            deliveries = await self._receive(reserved, SHORT_WAIT if slots.wanted else WAIT)
            self._more = len(deliveries) == reserved
            if deliveries:
                await self._take(deliveries)
        finally:
            slots.release(reserved)
        return 0.0

    async def _keep(self) -> None:
        """Without a free slot for `WAIT`: put what has arrived into the ready list, for a worker that has one."""
        if self._ready is None or self._interrupted:
            return
        if room := await self._ready.room():
            deliveries = await self._receive(min(room, AT_ONCE), timedelta(0))
            await self._bury_unreadable(deliveries)
            await self._ready.put([one for one in deliveries if one.message])
            await self._acknowledge(deliveries)

    async def _receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        if self._interrupted:
            return []
        # No task of its own: the request leaves at once, so the broker works on its answer while claimed runs begin.
        try:
            async with asyncio.timeout(None) as self._receiving:
                return await self._source.receive(limit, wait)
        except TimeoutError:
            if not self._interrupted:
                raise
            return []
        finally:
            self._receiving = None

    def interrupt(self) -> None:
        """End a waiting receive for good; the step ends at once. The broker delivers a message on its way again."""
        self._interrupted = True
        if self._receiving and not self._receiving.expired():
            self._receiving.reschedule(0)

    async def _take(self, deliveries: Sequence[Delivery]) -> None:
        await self._bury_unreadable(deliveries)
        self._early = early = list[Delivery]()
        await self._take_valid([one for one in deliveries if one.message])
        # No step waits for the acknowledgement. If it fails, the message comes again, and the claim discards it.
        self._acking = asyncio.create_task(self._answer(deliveries, early), name=f"{self.name} acknowledges")

    async def _answer(self, deliveries: Sequence[Delivery], early: Sequence[Delivery]) -> None:
        """Acknowledge deliveries, but not the early ones: the broker must deliver them again."""
        taken = [one for one in deliveries if not any(one is other for other in early)]
        if taken:
            await self._acknowledge(taken)
        if early and isinstance(self._source, Refusing):
            await self._source.refuse(early)

    async def _take_valid(self, deliveries: Sequence[Delivery]) -> None:
        """Claim all together. If that fails, claim each alone, so that a bad message does not keep back the others."""
        if not deliveries:
            return
        try:
            await self._claim(deliveries)
        except NOT_THE_MESSAGE:
            raise
        except Exception as error:
            if len(deliveries) == 1:
                await self._unclaimed(deliveries[0], error)
            else:
                await self._take_each(deliveries)

    async def _take_each(self, deliveries: Sequence[Delivery]) -> None:
        failed: list[tuple[Delivery, Exception]] = []
        for delivery in deliveries:
            try:
                await self._claim([delivery])
            except NOT_THE_MESSAGE:
                raise
            except Exception as error:
                failed.append((delivery, error))
        if len(failed) == len(deliveries):
            raise StoreError(f"{len(deliveries)} runs cannot be claimed: {failed[0][1]}") from failed[0][1]
        for delivery, why in failed:
            await self._bury(delivery, Reason.INVALID_MESSAGE, f"it cannot be claimed: {why}")

    async def _unclaimed(self, delivery: Delivery, error: Exception) -> None:
        """Let the broker deliver it again, a few times: the message or the store may be at fault."""
        assert delivery.message
        run_id = delivery.message.run_id
        self._unclaimable[run_id] += 1
        if self._unclaimable[run_id] < MOST_CLAIMS:
            raise StoreError(f"run {run_id} cannot be claimed: {error}") from error
        await self._bury(delivery, Reason.INVALID_MESSAGE, f"it cannot be claimed: {error}")
        del self._unclaimable[run_id]

    async def _claim(self, deliveries: Sequence[Delivery]) -> None:
        """Without signing, a message without a row is accepted as a run. With it, such a message is verified first."""
        strangers = await self._claim_known(deliveries, adopt=self._signing is None)
        if strangers and self._signing:
            faults = [(one, self._signing.fault(one.message)) for one in strangers if one.message]
            for delivery, fault in faults:
                if fault and delivery.message:
                    await self._bury(delivery, Reason.UNVERIFIED, fault, delivery.message.job)
            if verified := [delivery for delivery, fault in faults if not fault]:
                await self._claim_known(verified, adopt=True)

    async def _claim_known(self, deliveries: Sequence[Delivery], *, adopt: bool) -> list[Delivery]:
        """Claim, and begin granted runs. Returns the deliveries without a row, which only `adopt` accepts."""
        valid = [(delivery, delivery.message) for delivery in deliveries if delivery.message]
        wanted = [self._want(message, delivery.body, adopt=adopt) for delivery, message in valid]
        strangers, asked = [], monotonic()
        claims = await self._store.claims.claim(wanted, self._worker, self._lease)
        late = monotonic() - asked > self._lease.total_seconds() * LATE_SHARE
        for (delivery, message), claim in zip(valid, claims, strict=True):
            if claim.answer is Answer.NO_ROW:
                strangers.append(delivery)
            elif claim.answer is Answer.EARLY:
                self._early.append(delivery)
            elif claim.answer is Answer.TOO_OLD:
                await self._bury(delivery, Reason.TOO_OLD, job=message.job)
            elif late and claim.answer is Answer.RUN:
                self._leave(claim)
            else:
                self._begin(claim)
        return strangers

    def _want(self, message: Message, body: bytes, *, adopt: bool) -> Wanted:
        job = self._job(message.job)
        if job is None:
            # Unknown here: `disown` in claims.lua hands the run to another worker, and fails it after ten minutes.
            return Wanted(message=message, policy=None, adopt=adopt, body=body)
        policy, unique = policy_of(job), job.uniqueness(message.context)
        return Wanted(message=message, policy=policy, unique=unique, adopt=adopt, body=body)

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
            "%s does not begin here, because the store's answer came too late for the lease; another worker gets "
            "the run",
            claim.message.job,
            extra=extra,
        )

    async def _acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        try:
            await self._source.ack(deliveries)
        except QueueError as error:
            log.warning("cannot acknowledge deliveries: %s", error, extra={"action": "ack_failed"})

    async def _bury_unreadable(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.message is None:
                await self._bury(delivery, Reason.INVALID_MESSAGE, delivery.wrong)

    async def _bury(self, delivery: Delivery, reason: Reason, note: str = "", job: str = "") -> None:
        letter = await self._store.dead_letters.bury(delivery.body, reason, note, job)
        why = worded(reason, note)
        log.error(
            "buried a message that is not a valid run: %s",
            why,
            extra={"action": "message_buried", "run_id": letter, "job": job},
        )


def policy_of(job: Job) -> Policy:
    """The parts of a job's definition that the claim uses."""
    return Policy(
        overlap=job.overlap,
        catch_up=job.catch_up,
        catch_up_window=job.catch_up_window,
        concurrency=job.concurrency,
    )
