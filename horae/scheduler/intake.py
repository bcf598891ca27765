"""Accepts new runs of durable jobs: checks the request, writes the run to the outbox, and publishes its message."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from horae.duties.relay import publish
from horae.errors import InvalidJob, QueueError
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.messages import Message, Priority
from horae.project.registry import Registry
from horae.redis.keys import OWN
from horae.runs import Cause, new_run_id
from horae.scheduler.opened import OpenScheduler
from horae.scheduler.worker import is_own
from horae.store.values import Accepted, NewRun

log = logging.getLogger(__name__)
HOLD = timedelta(seconds=5)
"""The relay ignores a newly enqueued message for this long, because the caller publishes it directly."""


class Intake:
    def __init__(self, open: OpenScheduler, registry: Registry, limit_bytes: int) -> None:
        """`limit_bytes`: the largest size of a message."""
        self._open, self._registry, self._limit_bytes = open, registry, limit_bytes

    def new_run(
        self,
        name: str,
        context: Mapping[str, Any],
        provider: str | None,
        run_id: str | None,
        cause: Cause,
        metadata: Mapping[str, Any],
        due: datetime | None = None,
        priority: Priority = Priority.NORMAL,
    ) -> NewRun:
        job = self._durable(name)
        job.accepts(context)
        new = NewRun(
            run_id=run_id or new_run_id(),
            job=job.name,
            tier=Tier.ONEIRIC,
            cause=cause,
            due=due,
            priority=priority,
            provider=self._provider(job, provider),
            pinned=provider is not None,
            context=context,
            metadata=metadata,
            unique=job.uniqueness(context),
        )
        new.message.checked(new.text, self._limit_bytes)
        return new

    def _provider(self, job: Job, asked: str | None) -> str:
        """The provider for a run, unless a move record names another one; always `OWN` for a job that only this program
        can run. Raises NotConfigured or UnknownName for one that the call asked for.
        """
        router = self._open.place.queues.router
        chosen = router.known(asked) if asked else router.of(job)
        return OWN if is_own(job) else chosen

    async def _refuse_unserved(self, news: Sequence[NewRun]) -> None:
        """Raises NotConfigured or UnknownName for a provider that is not configured, unless a record moves the run."""
        router = self._open.place.queues.router
        refused = [new for new in news if new.provider != OWN and router.refusal(new.provider)]
        moves = await self._open.place.store.moves.all() if refused else {}
        for new in refused:
            if not (moves.get(new.job) or moves.get(None)):
                router.known(new.provider)

    async def accept(self, news: Sequence[NewRun]) -> list[Accepted]:
        here = self._open
        for new in news:
            here.worker.include(self._registry.get(new.job))
        await self._refuse_unserved(news)
        accepted = await here.place.store.outbox.accept(news, HOLD)
        at_once = [(one, new) for new, one in zip(news, accepted, strict=True) if one.new and not one.published]
        if at_once:
            # Runs without a due time need no answer from the store's clock.
            now = await here.place.store.now() if any(new.due for _, new in at_once) else None
            messages: dict[str, list[Message]] = defaultdict(list)
            for one, new in at_once:
                if new.due is None or (now and new.due <= now):
                    messages[one.provider].append(new.message)
            await asyncio.gather(*(self._publish(*of_one) for of_one in messages.items()))
        return accepted

    async def _publish(self, provider: str, messages: Sequence[Message]) -> None:
        place = self._open.place
        try:
            # A move record may name a provider that only other processes have settings for.
            if not place.queues.router.refusal(provider):
                await publish(place.store.outbox, place.queues.router, provider, messages)
        except QueueError as error:
            log.warning(
                "the run is accepted, and the relay will publish its message: %s",
                error,
                extra={"action": "publish_left"},
            )

    def _durable(self, key: str) -> Job:
        name = key if key in self._registry else key.replace("_", "-")
        job = self._registry.get(name)
        if job.tier is not Tier.ONEIRIC:
            lives = (
                "a flow, and Prefect runs it"
                if job.tier is Tier.PREFECT
                else "an internal job, and the sidecar runs it"
            )
            raise InvalidJob(f"{name!r} cannot be enqueued, because it is {lives}; `horae run {name}` runs it now")
        return job
