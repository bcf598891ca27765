"""The worker type `horae-warm` of Prefect: each flow run is a fork of a process that has imported Prefect and the flow.

It uses the public contract of Prefect's workers only: `BaseWorker`, its job configuration, and the client. Its job
variables are those of the worker type `process`.
"""

import asyncio
import os
import shlex
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from anyio.abc import TaskStatus
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound
from prefect.states import Cancelled, Crashed
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult
from pydantic import Field, PrivateAttr

from horae.errors import NotBegun
from horae.execution.tree import LINUX
from horae.warm.news import News
from horae.warm.processes import Forked, Plain, Running
from horae.warm.templates import OF_THE_RUN, Kind, Templates

ENGINE = (sys.executable, "-m", "prefect.engine")
HOOKS = (sys.executable, "-m", "horae.warm.crashed")
CANCEL_SECONDS = 2.0
"""How often the worker asks which of its flow runs are to be cancelled."""
POOL_SECONDS = 1.0
HOOK_SECONDS = 300.0
"""How long the `on_crashed` hooks of a flow run may take."""
GRACE_SECONDS = 30
"""How long a cancelled flow run may take to end before it is killed."""
SET_FOLDER = "prefect.deployments.steps.set_working_directory"


class WarmVariables(BaseVariables):
    stream_output: bool = Field(
        default=True, description="Whether the output of flow runs appears in the output of the worker."
    )
    working_dir: Path | None = Field(
        default=None,
        title="Working Directory",
        description="The working folder of flow runs. Default: a temporary folder for each.",
    )


class WarmConfiguration(BaseJobConfiguration):
    stream_output: bool = Field(default=True)
    working_dir: Path | None = Field(default=None)
    _own_command: bool = PrivateAttr(default=False)
    _entrypoint: str = PrivateAttr(default="")
    _code: Path | None = PrivateAttr(default=None)

    def prepare_for_flow_run(self, flow_run: FlowRun, deployment: Any = None, *args: Any, **kwargs: Any) -> None:
        """Add the worker's own environment, and find out where the code of the flow is."""
        self._own_command = self.command is not None
        super().prepare_for_flow_run(flow_run, deployment, *args, **kwargs)
        self.env = {**os.environ, **self.env}
        if deployment is not None:
            self._code = _code_of(deployment, self.working_dir)
            self._entrypoint = deployment.entrypoint or ""


class WarmResult(BaseWorkerResult):
    """The exit status of a flow run's process."""


class WarmWorker(BaseWorker[WarmConfiguration, WarmVariables, WarmResult]):
    type = "horae-warm"
    job_configuration = WarmConfiguration
    job_configuration_variables = WarmVariables
    _display_name = "Horae warm"
    _description = "Runs each flow run in a fork of a process that has imported Prefect and the flow."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._templates = Templates()
        self._active: dict[UUID, Running] = {}
        self._cancelled: set[UUID] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._label_lock = asyncio.Lock()
        self._labelling: set[asyncio.Task[None]] = set()

    async def setup(self) -> None:
        await super().setup()
        news = News()
        self._tasks = [
            asyncio.create_task(self._watch_cancellations(), name="cancellations"),
            asyncio.create_task(news.listen(self._pool_id), name="news"),
            asyncio.create_task(self._ask_at_news(news), name="asks"),
        ]
        if LINUX:
            self._templates.warm(Kind.without_flow(os.environ | WarmConfiguration._base_environment()))

    async def teardown(self, *exc_info: Any) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            await super().teardown(*exc_info)
        finally:
            await self._templates.close()

    async def run(
        self, flow_run: FlowRun, configuration: WarmConfiguration, task_status: TaskStatus[Any] | None = None
    ) -> WarmResult:
        """Run it to the end of its process. A cancelled call ends the process first."""
        with _folder(configuration) as folder:
            async with self._process(flow_run, configuration, folder) as running:
                identifier = f"{socket.gethostname()}:{running.pid}"
                self._active[flow_run.id] = running
                if task_status:
                    task_status.started(identifier)
                try:
                    status = await running.wait()
                finally:
                    del self._active[flow_run.id]
        if flow_run.id in self._cancelled:
            self._cancelled.discard(flow_run.id)
            status = 0
        if status and not configuration._own_command and await self._crashed(flow_run, status):
            await self._run_hooks(flow_run, configuration)
        return WarmResult(status_code=status, identifier=identifier)

    async def _crashed(self, flow_run: FlowRun, status: int) -> bool:
        """Whether the process ended before its flow run: then the flow run is Crashed from now on."""
        state: State[Any] = Crashed(message=f"the process of the flow run ended with status {status}")
        try:
            found = await self.client.read_flow_run(flow_run.id)
            if found.state is None or found.state.is_final():
                return False
            result = await self.client.set_flow_run_state(flow_run.id, state)
        except Exception as error:  # the server is away: the base class says so again and again
            self._logger.debug("cannot say that a flow run crashed: %s", error)
            return False
        return result.status is SetStateStatus.ACCEPT

    async def _run_hooks(self, flow_run: FlowRun, configuration: WarmConfiguration) -> None:
        """The hooks of a crashed flow run, in a process of their own."""
        with _folder(configuration) as folder:
            try:
                async with self._process(flow_run, configuration, folder, crashed=True) as running:
                    async with asyncio.timeout(HOOK_SECONDS):
                        await running.wait()
            except (OSError, TimeoutError) as error:
                self.get_flow_run_logger(flow_run).warning(f"the on_crashed hooks did not run to their end: {error}")

    @asynccontextmanager
    async def _process(
        self, flow_run: FlowRun, given: WarmConfiguration, folder: Path, *, crashed: bool = False
    ) -> AsyncIterator[Running]:
        env = {name: value for name, value in given.env.items() if value is not None}
        command = shlex.split(given.command) if given._own_command and given.command else None
        if command is None and LINUX:
            code = given._code
            kind = Kind.of(given._entrypoint, code, env) if code else Kind.without_flow(env)
            request = {"folder": str(folder), "env": _of_the_run(env), "crashed": crashed}
            try:
                async with Forked.begun(self._templates, kind, request, given.stream_output) as running:
                    yield running
                return
            except NotBegun as error:
                self.get_flow_run_logger(flow_run).warning(f"no fork for this flow run, so it starts cold: {error}")
        async with Plain.begun(command or (HOOKS if crashed else ENGINE), folder, env, given.stream_output) as running:
            yield running

    async def kill_infrastructure(
        self, infrastructure_pid: str, configuration: WarmConfiguration, grace_seconds: int = GRACE_SECONDS
    ) -> None:
        """End the process of a flow run that this worker runs."""
        host, _, pid = infrastructure_pid.rpartition(":")
        if host and host != socket.gethostname():
            raise InfrastructureNotAvailable(f"the flow run's process is on {host}, not on {socket.gethostname()}")
        for running in list(self._active.values()):
            if str(running.pid) == pid:
                return await running.end(grace_seconds)
        raise InfrastructureNotFound(f"this worker runs no process {infrastructure_pid}")

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """In the background, one at a time: on SQLite, Prefect often answers this request with 503, and its client then
        waits for two seconds. If the base class has no such method, nothing calls this one.
        """
        labelled = asyncio.create_task(self._label(flow_run_id), name="labels")
        self._labelling.add(labelled)
        labelled.add_done_callback(self._labelled)

    async def _label(self, flow_run_id: UUID) -> None:
        async with self._label_lock:
            await super()._give_worker_labels_to_flow_run(flow_run_id)

    def _labelled(self, done: asyncio.Task[None]) -> None:
        self._labelling.discard(done)
        if not done.cancelled() and (error := done.exception()):
            self._logger.debug("cannot label a flow run: %s", error)

    async def _pool_id(self) -> str:
        """Once the worker has read its work pool."""
        while True:
            with suppress(RuntimeError):
                return str(self.work_pool.id)
            await asyncio.sleep(POOL_SECONDS)

    async def _ask_at_news(self, news: News) -> None:
        while True:
            await news.wait()
            try:
                await self.get_and_submit_flow_runs()
            except Exception as error:  # the regular question follows soon
                self._logger.debug("cannot ask for flow runs: %s", error)

    async def _watch_cancellations(self) -> None:
        while True:
            await asyncio.sleep(CANCEL_SECONDS)
            if not self._active:
                continue
            wanted = FlowRunFilter(
                id=FlowRunFilterId(any_=list(self._active)),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CANCELLING])),
            )
            try:
                found = await self.client.read_flow_runs(flow_run_filter=wanted)
            except Exception as error:  # the server is away: ask again
                self._logger.debug("cannot ask for flow runs to cancel: %s", error)
                continue
            await asyncio.gather(*(self._cancel(one) for one in found if one.id in self._active))

    async def _cancel(self, flow_run: FlowRun) -> None:
        self._cancelled.add(flow_run.id)
        with suppress(KeyError):
            await self._active[flow_run.id].cancel(GRACE_SECONDS)
        async with get_client() as client:
            found = await client.read_flow_run(flow_run.id)
            if found.state and found.state.is_cancelled():
                return  # the engine said so, and ran the hooks
            state: State[Any] = Cancelled(message="the worker ended the process of the flow run")
            await client.set_flow_run_state(flow_run.id, state, force=True)


@contextmanager
def _folder(configuration: WarmConfiguration) -> Iterator[Path]:
    if configuration.working_dir:
        yield Path(configuration.working_dir).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="horae-flow-run-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


def _code_of(deployment: Any, working_dir: Path | None) -> Path | None:
    """The folder of the flow's code, if it is known before the flow run's pull steps are executed."""
    base = Path(deployment.path or ".")
    for step in deployment.pull_steps or []:
        if set(step) - {SET_FOLDER}:
            return None
        base = Path(step[SET_FOLDER]["directory"])
    folder = (working_dir or Path("/")) / base
    return folder if folder.is_dir() and (working_dir or base.is_absolute()) else None


def _of_the_run(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(OF_THE_RUN)}
