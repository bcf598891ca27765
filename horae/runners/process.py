"""What every long-running process has: store, queues, work, duties, health, signals, and an end that loses nothing."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

from horae.duties.duty import Duty, Progresses, keep_doing
from horae.duties.workplace import Workplace, open_workplace
from horae.errors import HoraeError, StartError, StoreUnavailable
from horae.execution.guardian import RESTART_WANTED, Guard, guarded
from horae.execution.loop import JobLoop
from horae.execution.watch import Watch
from horae.metrics.process import Metrics
from horae.project.loading import load
from horae.project.probing import left_out, probe
from horae.project.registry import Registry
from horae.runners.health import Health, HealthServer
from horae.runners.logs import configure
from horae.settings import Settings
from horae.store import claims_of

log = logging.getLogger(__name__)
WATCH_SECONDS = 0.5
TAKERS_WAIT_SECONDS = 3.0
"""A taking duty ends after its step: a look at the broker takes a second."""

LEFT_WAIT_SECONDS = 1.0


@dataclass(kw_only=True, slots=True)
class Process:
    """The parts that the duties of one process share."""

    place: Workplace
    registry: Registry
    progresses: Progresses
    health: Health
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: take nothing new, finish what there is."""


def process_name(kind: str, guard: Guard | None) -> str:
    return f"{kind}@{socket.gethostname()}:{guard.pid if guard else os.getpid()}"


@asynccontextmanager
async def opened(settings: Settings, kind: str, slots: int, guard: Guard | None) -> AsyncIterator[Process]:
    """A process with everything open; raises StartError, or UnsafeStore. A store that is away is waited for later."""
    if settings.store.url is None:
        raise StartError(
            f"the {kind} needs a state store that exists independently of it: run `horae up`, or set "
            "HORAE_STORE__URL (redis://host:port/0) or store.url in horae.toml"
        )
    probed, metrics = probe(settings), Metrics()
    registry = load(settings, probed)
    for problem in registry.problems:
        extra = {"action": "job_file_problem", "code": problem.code, "file": problem.file}
        log.error("%s: %s", problem.file, problem.message, extra=extra)
    progresses = Progresses(metrics)
    name, without = process_name(kind, guard), left_out(settings, probed)
    async with open_workplace(settings, name, slots, metrics, guard, without) as place:
        try:
            await place.store.check()
        except StoreUnavailable as error:
            log.warning("starting although the store does not answer: %s", error, extra={"action": "store_away"})
        yield Process(place=place, registry=registry, progresses=progresses, health=Health(progresses, metrics))


async def serve(
    process: Process, taking: Sequence[Duty], moving: Sequence[Duty], listener: HealthServer, grace_seconds: float
) -> int:
    """Do the duties until SIGTERM or Ctrl-C; returns the exit status.

    `taking` duties bring in new work and end at once; `moving` ones go on until the last run is settled.
    """
    _stop_on_signals(process)
    ended = asyncio.Event()
    takers = [asyncio.create_task(keep_doing(duty, process.progresses, process.stopping)) for duty in taking]
    tasks = [*takers, *(asyncio.create_task(keep_doing(duty, process.progresses, ended)) for duty in moving)]
    with listener:
        process.health.obstacles.pop("start", None)
        log.info("%s started, %s/health", process.place.name, listener.url, extra={"action": "process_up"})
        status = await _until_stopped(process, tasks)
        process.health.obstacles["drain"] = "draining"
        log.info(
            "%s accepts no more work and waits for its runs", process.place.name, extra={"action": "process_drains"}
        )
        process.stopping.set()
        # What is handed back comes up at once: nobody here may take it again.
        await asyncio.gather(_end_of(takers), process.place.work.finish(grace_seconds))
        await process.place.work.drain(0)
        ended.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    log.info("%s stopped", process.place.name, extra={"action": "process_down"})
    return status


async def _end_of(tasks: Sequence["asyncio.Task[None]"]) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=TAKERS_WAIT_SECONDS)


async def _until_stopped(process: Process, tasks: Sequence["asyncio.Task[None]"]) -> int:
    while not process.stopping.is_set():
        for task in tasks:
            if task.done():
                task.result()  # a duty never ends by itself: this raises its error
        if process.place.work.runner.abandoned:
            process.health.obstacles["abandoned"] = (
                "a run exceeded its time limit and cannot be stopped; this process will restart"
            )
            log.error(
                "a run exceeded its time limit and cannot be stopped; this process restarts",
                extra={"action": "process_restarts"},
            )
            return RESTART_WANTED
        process.progresses.went_round("event loop")
        with suppress(TimeoutError):
            await asyncio.wait_for(process.stopping.wait(), WATCH_SECONDS)
    return 0


def _stop_on_signals(process: Process) -> None:
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, process.stopping.set)


def _watch(settings: Settings) -> Watch:
    return Watch(claims_of(settings).renew, timedelta(seconds=settings.worker.lease_seconds))


async def _to_end(running: Coroutine[Any, Any, int]) -> int:
    """Its exit status. A job that heeds no cancellation would keep the event loop, and so the process, for ever."""
    status = await running
    left = asyncio.all_tasks() - {task for task in [asyncio.current_task()] if task}
    for task in left:
        task.cancel()
    if left and (await asyncio.wait(left, timeout=LEFT_WAIT_SECONDS))[1]:
        log.error("a run does not end; this process ends without it", extra={"action": "run_left_behind"})
        logging.shutdown()
        os._exit(status)
    return status


def run_to_end(kind: str, settings: Settings, run: Callable[[Guard | None], Coroutine[Any, Any, int]]) -> NoReturn:
    """Run a process and end it with its exit status; what is in the way of its start is a sentence, and status 1."""
    configure(kind)
    guard = guarded(lambda: _watch(settings)) if settings.store.url else None
    try:
        status = asyncio.run(_to_end(run(guard)), loop_factory=JobLoop)
    except HoraeError as error:
        log.critical("%s", error, extra={"action": "process_refused"})
        status = 1
    if status == RESTART_WANTED:
        logging.shutdown()
        os._exit(status)  # a thread that was left behind would keep an ordinary exit waiting
    raise SystemExit(status)
