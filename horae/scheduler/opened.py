"""What an open scheduler holds: the store, the queues, the runs that go on here, and the fires of internal tasks."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from horae.apscheduler.fires import InternalFires
from horae.duties.consumer import Consumer
from horae.duties.duty import Duty, Progresses, keep_doing
from horae.duties.relay import Relay
from horae.duties.sweeper import Sweeper
from horae.execution.capture import capturing
from horae.execution.work import Work
from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.queues.opened import Queues, open_queues
from horae.runs import new_run_id
from horae.settings import Settings
from horae.store import Store, connect

if TYPE_CHECKING:
    from horae.apscheduler.scheduler import InternalScheduler

SLOTS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenScheduler:
    """What an open scheduler holds."""

    name: str
    store: Store
    queues: Queues
    work: Work
    internal: "InternalScheduler"


async def opened(settings: Settings, registry: Registry, stack: AsyncExitStack) -> OpenScheduler:
    from horae.apscheduler.scheduler import InternalScheduler

    metrics, name = Metrics(), f"scheduler:{new_run_id()[-12:]}"
    lease = timedelta(seconds=settings.worker.lease_seconds)
    store = await stack.enter_async_context(connect(settings))
    stack.enter_context(capturing())
    work = await stack.enter_async_context(Work(settings, store, metrics, SLOTS, lease))
    queues = open_queues(settings)
    stack.push_async_callback(queues.router.close)
    fires = InternalFires(store, work, name)
    internal = await stack.enter_async_context(InternalScheduler(fires.fire))
    if settings.store.url is None:
        # Nobody else can see this memory, so this process is the queue worker too.
        duties: list[Duty] = [Relay(store, queues.router, metrics), Sweeper(store, metrics, lease)]
        for provider, source in queues.open_consumers(name).items():
            duties.append(Consumer(provider, source, store, registry, work, name, lease))
            stack.push_async_callback(source.close)
        _keep_doing(duties, metrics, stack)
    return OpenScheduler(name=name, store=store, queues=queues, work=work, internal=internal)


def _keep_doing(duties: list[Duty], metrics: Metrics, stack: AsyncExitStack) -> None:
    progresses, stopping = Progresses(metrics), asyncio.Event()
    for duty in duties:
        task = asyncio.create_task(keep_doing(duty, progresses, stopping))
        stack.push_async_callback(_ended, task)


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
