"""`horae up`: starts and watches everything on this machine. A service with a configured URL is used and not
started.
"""

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import SecretStr

from horae import clock
from horae.checks.project import check_project
from horae.errors import StartError
from horae.findings import Level
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.local import endpoints
from horae.local.embedded import FOLDER
from horae.local.endpoints import Endpoints
from horae.local.ports import LOOPBACK, choose_port, free_port
from horae.local.valkey import url_of
from horae.prefect.deployed import leftovers
from horae.prefect.flow_runs import prefect_of
from horae.prefect.rules import NO_DEPLOYMENT
from horae.prefect.yaml import read
from horae.project.loading import load as load_registry
from horae.project.probed import Probed
from horae.project.probing import probe
from horae.project.registry import Registry
from horae.queues.configured import configured, has_receivers
from horae.runs import Run, Verdict, new_run_id, start_id
from horae.settings import Settings
from horae.store import connect
from horae.up.board import Board
from horae.up.lock import project_lock
from horae.up.parts import Parts
from horae.up.prefect_parts import NOT_INSTALLED, deploy, installed, prepare, server_part, worker_part
from horae.up.reload import Reload
from horae.up.run_on_start import ran
from horae.up.service_parts import service_part
from horae.up.store_part import broker_part, store_part

POLL_SECONDS = 0.5
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
"""Error codes of the system for a disk that is full, over its quota, or read-only."""
ERRORS_TOLD = 5


@dataclass(kw_only=True, slots=True)
class Up:
    """A start in progress. `settings` includes the addresses of the started parts."""

    settings: Settings
    registry: Registry
    parts: Parts
    board: Board
    start: str
    """The name of this start. The ids of the runs that it requests follow from the name."""
    addresses: Endpoints | None = None
    """The addresses for commands in this project."""
    asked: dict[str, "asyncio.Task[Run | None]"] = field(default_factory=dict)
    """The runs of the jobs with run_on_start, by job."""

    def took(self, registry: Registry) -> None:
        """Use these jobs from now on."""
        assert self.addresses
        self.registry = registry
        self.addresses = replace(self.addresses, jobs=registry.names)
        self.addresses.write(self.settings.state)


def main(settings: Settings, *, once: bool = False, as_json: bool = False, reloads: bool = True) -> int:
    """`reloads`: load changed job files. Returns the exit status: 0 if it was asked to stop, or with `once` if all jobs
    ran; 1 if one did not. Raises StartError if something prevents the start.
    """
    try:
        return asyncio.run(_run(settings, once=once, as_json=as_json, reloads=reloads))
    except KeyboardInterrupt:
        return 130 if once else 0
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise StartError(
            f"cannot write {error.filename or f'to {settings.state}'}: {error.strerror}. Horae stores its state there: "
            "free space, make the folder writable for this user, or choose another folder with HORAE_STATE_DIR"
        ) from error


async def _run(settings: Settings, *, once: bool, as_json: bool, reloads: bool) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stopping.set)
    with project_lock(settings.state):
        probed = probe(settings)
        board = Board(load_registry(settings, probed), live=sys.stdout.isatty() and not once)
        _tell_errors(settings, board, probed)
        working = asyncio.create_task(_work(settings, board, once=once, as_json=as_json, reloads=reloads))
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not working.done():
            board.say("stopping")
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
            return 130 if once else 0
        return working.result()


def _tell_errors(settings: Settings, board: Board, probed: Mapping[str, Probed]) -> None:
    """Report the errors of `horae check`. The start continues."""
    findings = check_project(settings, clock.now(), probed=probed).findings
    errors = [finding for finding in findings if finding.level is Level.ERROR]
    for finding in errors[:ERRORS_TOLD]:
        board.say(f"{finding.code} {finding.file or settings.project}:{finding.line or 1}: {finding.message}", "red")
    if errors:
        board.say(f"`horae check` explains how to correct {'it' if len(errors) == 1 else f'all {len(errors)}'}", "red")


async def _work(settings: Settings, board: Board, *, once: bool, as_json: bool, reloads: bool) -> int:
    async with _started(settings, board) as up:
        if once:
            return await _once(up, as_json)
        async with connect(up.settings) as store:
            reload = Reload(up.settings, up.parts, board, up.took) if reloads else None
            with board:
                while True:
                    await board.refresh(store, up.parts.status())
                    if reload:
                        await reload.look()
                    await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def _started(settings: Settings, board: Board) -> AsyncIterator[Up]:
    """Start everything and request the jobs with run_on_start. Leaving the context stops everything. Raises
    StartError.
    """
    async with Parts(settings.state, on_event=board.event) as parts:
        up = Up(settings=settings, registry=board.registry, parts=parts, board=board, start=new_run_id())
        try:
            await _together(_start_store(up), _start_brokers(up), _start_prefect_server(up))
            up.settings = _with_health_ports(up.settings)
            await _together(_start_services(up), _start_flows(up))
            up.addresses = board.addresses = _endpoints(up.settings)
            up.took(up.registry)
            up.asked = {job.name: asyncio.create_task(_asked(up, job)) for job in up.registry if job.run_on_start}
            try:
                yield up
            finally:
                for task in up.asked.values():
                    task.cancel()
                await asyncio.gather(*up.asked.values(), return_exceptions=True)
        finally:
            endpoints.remove(settings.state)


async def _together(*steps: Coroutine[Any, Any, None]) -> None:
    """Run the steps at the same time. Raises the first error without waiting for the others."""
    tasks = [asyncio.create_task(step) for step in steps]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _start_store(up: Up) -> None:
    if up.settings.store.url is None:
        port = choose_port(up.settings.store.port, "the embedded Valkey", "store.port")
        await up.parts.start(store_part(up.settings.state, port))
        _change(up, "store", url=SecretStr(url_of(up.settings.state / FOLDER, port)))
    async with connect(up.settings) as store:
        await store.check()


async def _start_brokers(up: Up) -> None:
    """Start the brokers that the settings ask for."""
    for one in configured(up.settings):
        if server := one.embedded():
            choose_port(server.port, f"the embedded {one.provider.title}", server.setting)
            await up.parts.start(broker_part(server))


async def _start_prefect_server(up: Up) -> None:
    """Start the server if there are flows and Prefect is installed. Without Prefect, the other tiers run."""
    if not up.registry.by_tier(Tier.PREFECT):
        return
    if not installed():
        up.board.say(NOT_INSTALLED, "red")
    elif up.settings.prefect.api_url is None:
        port = choose_port(up.settings.prefect.port, "the Prefect server", "prefect.port")
        await up.parts.start(server_part(up.settings.project, up.settings.state, port))
        _change(up, "prefect", api_url=SecretStr(f"http://{LOOPBACK}:{port}/api"))


async def _start_services(up: Up) -> None:
    needs = tuple(status.name for status in up.parts.status() if status.name != "prefect-server")
    receivers = (
        [up.parts.start(service_part("receiver", up.settings, free_port(), needs))]
        if has_receivers(up.settings)
        else []
    )
    await _together(
        *receivers,
        up.parts.start(service_part("queue-worker", up.settings, up.settings.worker.health_port, needs)),
        up.parts.start(
            service_part("sidecar", up.settings, up.settings.sidecar.health_port, needs, "--start", up.start)
        ),
    )


async def _start_flows(up: Up) -> None:
    """Create the work pool and the deployments, and start the worker. The pool of a shared Prefect is not changed."""
    if not up.registry.by_tier(Tier.PREFECT) or not installed():
        if up.settings.prefect.api_url:
            await _tell_leftovers(up)
        return
    prefect, project, state = up.settings.prefect, up.settings.project, up.settings.state
    assert prefect.api_url
    key = prefect.api_key.get_secret_value() if prefect.api_key else None
    url = prefect.api_url.get_secret_value()
    ours = any(status.name == "prefect-server" for status in up.parts.status())
    async with prefect_of(up.settings) as api:
        worker = await prepare(api, project, prefect.work_pool, ours=ours, worker=prefect.worker_type)
    up.board.say("deploying the flows of prefect.yaml")
    needs = ("prefect-server",) if ours else ()
    await _together(
        _deploy(up, key),
        up.parts.start(worker_part(project, state, prefect.work_pool, url, needs=needs, api_key=key, worker=worker)),
    )


async def _deploy(up: Up, key: str | None) -> None:
    prefect, project = up.settings.prefect, up.settings.project
    assert prefect.api_url
    url = prefect.api_url.get_secret_value()
    files = read(project, prefect.files, up.settings.folders.flows).files
    await deploy(project, up.settings.state, url, key, pool=prefect.work_pool, files=files)
    await _tell_leftovers(up)


async def _tell_leftovers(up: Up) -> None:
    """Report deployments and schedules that are only in Prefect, and flows without a deployment."""
    here = [problem for problem in up.registry.problems if problem.code == NO_DEPLOYMENT.code]
    there = await asyncio.to_thread(leftovers, up.settings, up.registry.deployments)
    for finding in (*here, *there):
        if finding.code not in up.settings.check.ignore:
            up.board.say(f"{finding.code} {finding.message}", "yellow")


def _change(up: Up, table: str, **values: Any) -> None:
    changed = getattr(up.settings, table).model_copy(update=values)
    up.settings = up.settings.model_copy(update={table: changed})


def _with_health_ports(settings: Settings) -> Settings:
    """Replace port 0 by free ports."""
    worker = choose_port(settings.worker.health_port, "the queue worker's /health", "worker.health_port")
    sidecar = choose_port(settings.sidecar.health_port, "the sidecar's /health", "sidecar.health_port")
    return settings.model_copy(
        update={
            "worker": settings.worker.model_copy(update={"health_port": worker}),
            "sidecar": settings.sidecar.model_copy(update={"health_port": sidecar}),
        }
    )


def _endpoints(settings: Settings) -> Endpoints:
    assert settings.store.url
    return Endpoints(
        pid=os.getpid(),
        store_url=settings.store.url.get_secret_value(),
        store_access=settings.store.plain,
        prefect_api_url=settings.prefect.api_url.get_secret_value() if settings.prefect.api_url else None,
        sidecar_url=f"http://{settings.sidecar.health_host}:{settings.sidecar.health_port}",
        worker_url=f"http://{settings.worker.health_host}:{settings.worker.health_port}",
    )


async def _asked(up: Up, job: Job) -> Run | None:
    return await ran(up.settings, up.registry, up.board, job, start_id(up.start, job.name))


async def _once(up: Up, as_json: bool) -> int:
    runs = await asyncio.gather(*up.asked.values())
    up.board.verdicts([run for run in runs if run], as_json)
    return 0 if all(run and run.verdict is Verdict.RAN for run in runs) else 1
