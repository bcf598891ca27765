"""The main API: schedule an internal task, enqueue a durable job, deploy a flow, run a job now."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from horae.apscheduler.triggers import schedule_of
from horae.duties.relay import publish
from horae.errors import InvalidJob, MessageTooLarge, QueueError, UsageError
from horae.jobs.job import Job
from horae.jobs.policies import Scope, Tier
from horae.messages import Message, Priority
from horae.project.loading import load as load_registry
from horae.project.registry import Registry
from horae.redis.keys import OWN
from horae.runs import Cause, Run, new_run_id, replay_id
from horae.scheduler.granted import granted
from horae.scheduler.opened import OpenScheduler, opened
from horae.scheduler.options import PriorityName, due_of, instant_of, priority_of
from horae.scheduler.replays import AS_IT_WAS, Edit, Replay, letter_of, message_of, metadata_of, refused
from horae.scheduler.worker import is_own
from horae.schedules.kinds import Schedule
from horae.settings import Settings
from horae.store.base import DeadLetters, Ledger
from horae.store.values import Accepted, DeadLetter, NewRun

log = logging.getLogger(__name__)
HOLD = timedelta(seconds=5)
"""The relay ignores a newly enqueued message for this long, because the caller publishes it directly."""


class Scheduler:
    """Use it inside `lifecycle()`.

    The store is the configured one, else the store of a `horae up` that runs in the project, else an embedded Valkey
    that keeps its data in the state folder. With an embedded store this process also runs the durable jobs. This
    process always runs the durable jobs that this program declares outside the project's files.

    async with scheduler.lifecycle():
        await scheduler.enqueue("database-backup", {"databases": ["app.db"]}, priority="high")
    """

    def __init__(self, settings: Settings | None = None, registry: Registry | None = None) -> None:
        self.settings = settings if settings is not None else Settings(project=Path.cwd())
        self.registry = registry if registry is not None else load_registry(self.settings)
        self._open: OpenScheduler | None = None

    @asynccontextmanager
    async def lifecycle(self, *, receives: bool = True) -> AsyncIterator[Self]:
        """Connect, fire internal tasks while the scheduler is open, and wait for the runs of this process at the end.

        The log names the runs that are still open at the end. `receives=False`: this process runs only what `run_now`
        starts. Raises StartError, UnsafeStore or StoreUnavailable if the embedded store cannot be used.
        """
        async with AsyncExitStack() as stack:
            self._open = await opened(self.settings, self.registry, stack, receives=receives)
            try:
                yield self
            finally:
                await self._open.drain()
                self._open = None

    @property
    def _here(self) -> OpenScheduler:
        if self._open is None:
            raise UsageError("the scheduler is not open; use it inside `async with scheduler.lifecycle():`")
        return self._open

    @property
    def _settings(self) -> Settings:
        """The settings; while the scheduler is open, with the store that was found on this machine."""
        return self._open.place.settings if self._open else self.settings

    @property
    def ledger(self) -> Ledger:
        """The runs and their verdicts."""
        return self._here.place.store.ledger

    @property
    def dead_letters(self) -> DeadLetters:
        """The dead letters of failed durable runs."""
        return self._here.place.store.dead_letters

    async def schedule_internal_task(
        self, func: Callable[..., Any], trigger_type: str, *, id: str, **trigger_args: Any
    ) -> Job:
        """Let APScheduler fire `func` in this process while the scheduler is open.

        `trigger_type` is `interval`, `cron` or `date`, with APScheduler's arguments; `id` is the job's name. Raises
        InvalidSchedule, or InvalidJob when the id is taken or malformed.
        """
        job = Job(
            name=id,
            tier=Tier.APSCHEDULER,
            function=func,
            schedule=schedule_of(trigger_type, **trigger_args),
            scope=Scope.EACH,
            description=(func.__doc__ or "").strip().partition("\n")[0],
        )
        here = self._here
        self.registry.add(job)
        here.internal.add(job)
        return job

    async def enqueue(
        self,
        job: str | Job,
        context: Mapping[str, Any] | None = None,
        *,
        at: datetime | None = None,
        priority: Priority | PriorityName = Priority.NORMAL,
        provider: str | None = None,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        cause: Cause = Cause.ENQUEUE,
    ) -> Accepted:
        """Accept a run of a durable job. When this returns, the run is in the store, and a queue worker will run it.

        `job` is the job or its name (`_` is accepted for `-`); `context` is its keyword arguments. `at` (aware) is the
        earliest time of the run; None: now. `run_id` sets the id: a second call with the same id makes no second run.
        If the job has a uniqueness key and an open run holds it, that run is returned. Horae stores `metadata` with the
        run and does not interpret it.
        Raises UnknownName, NotConfigured (the provider's setting is missing), InvalidJob, UsageError, MessageTooLarge
        or StoreUnavailable. After an error no run was accepted, except after StoreUncertain: the run that it names may
        have been accepted.
        """
        name = job if isinstance(job, str) else job.name
        new = self._new_run(
            name, context or {}, provider, run_id, cause, metadata or {}, instant_of(at), priority_of(priority)
        )
        [accepted] = await self._accept([new])
        return accepted

    async def enqueue_workflow(
        self,
        workflow_key: str,
        queue_provider: str | None = None,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        cause: Cause = Cause.ENQUEUE,
    ) -> Accepted:
        """`enqueue` with the parameters of the specification.

        `metadata` holds `schedule_time` (ISO 8601 with an offset) and `priority`.
        """
        at, priority = due_of(metadata or {}), (metadata or {}).get("priority", Priority.NORMAL)
        return await self.enqueue(
            workflow_key,
            context,
            at=at,
            priority=priority,
            provider=queue_provider,
            run_id=run_id,
            metadata=metadata,
            cause=cause,
        )

    async def enqueue_many(
        self,
        workflow_key: str,
        contexts: Iterable[Mapping[str, Any]],
        queue_provider: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> list[Accepted]:
        """Accept one run for each context, a few hundred in one atomic step; `metadata` as in `enqueue_workflow`.

        Raises the errors of `enqueue`. All contexts are validated before the first run is accepted. If the store stops
        answering between two steps, the runs of the earlier steps are accepted.
        """
        more = metadata or {}
        due, priority = due_of(more), priority_of(more.get("priority", Priority.NORMAL))
        news = [
            self._new_run(workflow_key, context, queue_provider, None, Cause.ENQUEUE, more, due, priority)
            for context in contexts
        ]
        return await self._accept(news)

    def _new_run(
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
        new.message.encode(self.settings.queue.message_limit_bytes)
        return new

    def _provider(self, job: Job, asked: str | None) -> str:
        """The provider for a run, unless a move record names another one; always `OWN` for a job that only this program
        can run. Raises NotConfigured or UnknownName for one that the call asked for.
        """
        router = self._here.place.queues.router
        chosen = router.known(asked) if asked else job.provider or router.choose()
        return OWN if is_own(job) else chosen

    async def _refuse_unserved(self, news: Sequence[NewRun]) -> None:
        """Raises NotConfigured or UnknownName for a provider that is not configured, unless a record moves the run."""
        router = self._here.place.queues.router
        refused = [new for new in news if new.provider != OWN and router.refusal(new.provider)]
        moves = await self._here.place.store.moves.all() if refused else {}
        for new in refused:
            if not (moves.get(new.job) or moves.get(None)):
                router.known(new.provider)

    async def replay(
        self, run_id: str, context: Mapping[str, Any] | None = None, *, without: Collection[str] = (), reason: str = ""
    ) -> Accepted:
        """Replay the dead letter of a failed run: a new run with the cause `replay` names the failed run.

        Run and letter change in one atomic step, so two simultaneous replays make one run. `context` replaces or
        extends the old context values; `without` names keys to remove. Raises UnknownName, NotReplayable (with the
        remedy) or StoreUnavailable.
        """
        letter = await letter_of(self.ledger, self.dead_letters, run_id)
        planned = self.planned(letter, Edit(context=context or {}, without=without, reason=reason))
        if planned.refused:
            raise planned.refused
        [accepted] = await self.replay_all([planned])
        return accepted

    def planned(self, letter: DeadLetter, edit: Edit = AS_IT_WAS) -> Replay:
        """The run that would replay the letter, or the reason why none can. Writes nothing."""
        try:
            message = message_of(letter, self.settings.queue.message_limit_bytes)
            # Choose the provider again: the one that carried the old run may no longer be configured.
            new = self._new_run(
                message.job,
                edit.applied(message.context),
                None,
                replay_id(letter.run_id),
                Cause.REPLAY,
                metadata_of(letter, message, edit.reason),
                priority=message.priority,
            )
            if new.provider != OWN:
                self._here.place.queues.router.known(new.provider)
        except (UsageError, MessageTooLarge) as error:
            return Replay(letter=letter, new=None, refused=refused(letter, error))
        return Replay(letter=letter, new=replace(new, replays=letter.run_id))

    async def replay_all(self, replays: Sequence[Replay]) -> list[Accepted]:
        """Accept the planned replays that were not refused. `new` is false if this call did not replay the letter."""
        return await self._accept([one.new for one in replays if one.new])

    async def _accept(self, news: Sequence[NewRun]) -> list[Accepted]:
        here = self._here
        for new in news:
            here.worker.include(self.registry.get(new.job))
        await self._refuse_unserved(news)
        accepted = await here.place.store.outbox.accept(news, HOLD)
        at_once = [(one, new) for new, one in zip(news, accepted, strict=True) if one.new and not one.published]
        if at_once:
            now = await here.place.store.now()
            messages: dict[str, list[Message]] = defaultdict(list)
            for one, new in at_once:
                if new.due is None or new.due <= now:
                    messages[one.provider].append(new.message)
            await asyncio.gather(*(self._publish(*of_one) for of_one in messages.items()))
        return accepted

    async def _publish(self, provider: str, messages: Sequence[Message]) -> None:
        place = self._here.place
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
        name = key if key in self.registry else key.replace("_", "-")
        job = self.registry.get(name)
        if job.tier is not Tier.ONEIRIC:
            lives = (
                "a flow, and Prefect runs it"
                if job.tier is Tier.PREFECT
                else "an internal job, and the sidecar runs it"
            )
            raise InvalidJob(f"{name!r} cannot be enqueued, because it is {lives}; `horae run {name}` runs it now")
        return job

    async def schedule_deployment(self, flow: Any, *, name: str, schedule: Schedule | None = None) -> str:
        """Deploy a flow of the project to the configured work pool of Prefect; returns the deployment's id.

        Use `prefect.yaml` and `prefect deploy` for deployments that are known beforehand.
        """
        from horae.prefect.deploying import deploy_flow

        return await deploy_flow(self._settings, flow, name, schedule)

    async def run_now(
        self,
        name: str,
        context: Mapping[str, Any] | None = None,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> Run:
        """Run a job in the foreground, in this process. Prefect runs a flow; this method waits until the flow run ends.

        While other runs of the job are active, it waits as the job's `overlap` says. Retries are made here too.
        `on_line` receives each line that the job logs or prints. Returns the settled run.
        """
        job = self.registry.get(name)
        if job.tier is Tier.PREFECT:
            from horae.prefect.flow_runs import run_flow

            return await run_flow(self._settings, job, context or {}, on_line)
        job.accepts(context or {})
        here, run_id = self._here, new_run_id()
        new = NewRun(run_id=run_id, job=job.name, tier=job.tier, cause=Cause.MANUAL, context=dict(context or {}))
        task = here.place.work.begin(job, await granted(here.place, job, new, on_line), on_line, foreground=True)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await here.place.work.cancel(run_id)
            raise
        run = await here.place.store.ledger.run(run_id)
        assert run
        return run
