"""Prefect on this machine: its server and a worker as parts, the work pool, and the deployments."""

import asyncio
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from horae.errors import StartError
from horae.files import private_folder
from horae.local.ports import LOOPBACK, free_port
from horae.prefect.api import PrefectApi
from horae.prefect.yaml import PrefectFile, read
from horae.up.parts import Part
from horae.urls import cleaned

DEPLOY_SECONDS = 600.0
"""The longest time to deploy one file. Each changed deployment may wait half a minute for a safe moment."""
HEARTBEAT_SECONDS = 30
"""The interval of a flow run's heartbeats."""
CRASHED_AFTER_SECONDS = 90
"""A flow run without a heartbeat for this long is Crashed. Otherwise a run whose process was killed stays Running."""

PROCESS = "process"
"""Prefect's own type of worker: each flow run is a new process."""

SWITCHED_OFF = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_CLI_COLORS": "false",
    "DO_NOT_TRACK": "1",
    "PYTHONUNBUFFERED": "1",
}


NOT_INSTALLED = (
    "the flows of prefect.yaml do not run, because Prefect is not installed here. Run `pip install "
    "'horae[prefect]'`, then start `horae up` again"
)


def installed() -> bool:
    """Whether this Python has Prefect, the extra `horae[prefect]`."""
    return importlib.util.find_spec("prefect") is not None


def environment(state: Path, api_url: str, api_key: str | None = None) -> dict[str, str]:
    """The environment of every process that uses this Prefect: its own profile and home, so that it changes nothing of
    the user's Prefect.
    """
    home = state / "prefect"
    found = {**SWITCHED_OFF, "PREFECT_HOME": str(home), "PREFECT_PROFILES_PATH": str(home / "profiles.toml")}
    found["PREFECT_API_URL"] = api_url
    found["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = str(HEARTBEAT_SECONDS)
    return found | ({"PREFECT_API_KEY": api_key} if api_key else {})


def server_part(project: Path, state: Path, port: int) -> Part:
    """The part `prefect-server`: API, UI and all its services in one process, with SQLite in `state/prefect`."""
    home = private_folder(state / "prefect")
    url = f"http://{LOOPBACK}:{port}/api"
    env = environment(state, url) | {
        # Ignore the variables of the user's shell, because this server is the embedded one.
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_UI_API_URL": url,
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # By default, leases are in memory. A restart would lose them, and the slots of their runs would never be free
        # again.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }
    command = (sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port))

    async def ready() -> bool:
        return await _healthy(port, "/api/health")

    return Part(name="prefect-server", command=command, cwd=project, env=env, ready=ready, ready_seconds=90)


def worker_part(
    project: Path,
    state: Path,
    pool: str,
    api_url: str,
    *,
    needs: tuple[str, ...] = (),
    api_key: str | None = None,
    worker: str = PROCESS,
) -> Part:
    """The part `prefect-worker`: a worker of `pool`, of the type `worker`, that looks for work every second, or every
    two seconds if it hears of new flow runs anyway. Each flow run has its own session, so if only the worker is killed,
    its flow runs continue to their end.
    """
    health_port = free_port()
    env = environment(state, api_url, api_key) | {
        "PREFECT_WORKER_QUERY_SECONDS": "1" if worker == PROCESS else "2",
        "PREFECT_WORKER_WEBSERVER_HOST": LOOPBACK,
        "PREFECT_WORKER_WEBSERVER_PORT": str(health_port),
    }
    arguments = ("worker", "start", "--pool", pool, "--type", worker, "--name", "horae-up", "--with-healthcheck")
    command = (sys.executable, "-m", "prefect", *arguments)

    async def ready() -> bool:
        return await _healthy(health_port, "/health")

    return Part(name="prefect-worker", command=command, cwd=project, env=env, ready=ready, needs=needs)


async def prepare(api: PrefectApi, project: Path, pool: str, *, ours: bool, worker: str = PROCESS) -> str:
    """Create the work pool, and the automation that ends flow runs whose process died. `ours`: the server is the
    embedded one. Then an existing pool is updated, and flow runs that an earlier `horae up` left are ended. A shared
    server is not changed. `worker`: the wanted type of worker. Returns the type to start, which is `process` for an
    existing pool of another type on a shared server.
    """
    template = job_template(await api.default_job_template("process"), project, worker)
    found = await api.ensure_work_pool(pool, template, pool_type=worker, update=ours)
    if ours:
        # Otherwise they keep the concurrency slot of their deployment for minutes, and the next run is cancelled.
        await api.crash_unfinished("its process ended when its horae up ended")
    await api.ensure_automation(silent_runs_crash())
    return worker if ours or found == worker else PROCESS


def job_template(default: Mapping[str, Any], project: Path, worker: str = PROCESS) -> dict[str, Any]:
    """The process pool's job template with defaults of this machine: flow runs use the project folder and this Python,
    and begin at once. So prefect.yaml needs no path of a machine. A warm worker has the same job variables.
    """
    template = {key: dict(value) for key, value in default.items()}
    properties = {key: dict(value) for key, value in template["variables"]["properties"].items()}
    properties["working_dir"]["default"] = str(project)
    if worker == PROCESS:
        properties["command"]["default"] = f"{sys.executable} -m prefect.engine"
    template["variables"] = {**template["variables"], "properties": properties}
    return template


def silent_runs_crash() -> dict[str, Any]:
    """An automation: a flow run that sent a heartbeat, and then neither another heartbeat nor its end, becomes
    Crashed.
    """
    ends = ["Completed", "Failed", "Cancelled", "Crashed"]
    return {
        "name": "horae: silent flow runs crash",
        "description": f"Marks a flow run as Crashed after {CRASHED_AFTER_SECONDS} s without a heartbeat. Made by "
        "horae up.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "match": {"prefect.resource.id": ["prefect.flow-run.*"]},
            "for_each": ["prefect.resource.id"],
            "after": ["prefect.flow-run.heartbeat"],
            "expect": ["prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in ends)],
            "threshold": 1,
            "within": CRASHED_AFTER_SECONDS,
        },
        "actions": [
            {
                "type": "change-flow-run-state",
                "state": "CRASHED",
                "message": f"no heartbeat for {CRASHED_AFTER_SECONDS} s: the process of the flow run has ended",
            }
        ],
    }


async def deploy(
    project: Path,
    state: Path,
    api_url: str,
    api_key: str | None = None,
    *,
    pool: str = "",
    files: Sequence[PrefectFile] | None = None,
) -> str:
    """Run `prefect deploy --all` for the project's deployment files; returns the output. Unchanged deployments are not
    written, and a write waits until no fire is near: see `horae.prefect.deployer`. `pool`: the work pool of deployments
    that name none. Raises StartError with the end of the output if it fails; deployments before the failing one are
    then written.
    """
    given = read(project).files if files is None else files
    return "".join([await _deploy_file(file, state, api_url, api_key, pool) for file in given])


async def _deploy_file(file: PrefectFile, state: Path, api_url: str, api_key: str | None, pool: str) -> str:
    env = environment(state, api_url, api_key)
    if pool:
        env["PREFECT_DEFAULT_WORK_POOL_NAME"] = pool
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "horae.prefect.deployer", "--all", "--prefect-file", str(file.path)),
        cwd=file.base,
        env={**os.environ, **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), DEPLOY_SECONDS)
    except TimeoutError as error:
        raise StartError(f"prefect deploy of {file.path.name} did not end within {DEPLOY_SECONDS:g} s") from error
    finally:
        # also if this task is cancelled
        with suppress(ProcessLookupError):
            process.kill()
    text = cleaned(output.decode(errors="replace"), api_url)
    if process.returncode:
        last = "\n".join(f"    {line}" for line in text.strip().splitlines()[-25:])
        raise StartError(
            f"prefect deploy --all failed with exit status {process.returncode}; `horae check` shows what is wrong "
            f"in {file.path.name}. Its last output:\n{last}"
        )
    return text


async def _healthy(port: int, path: str) -> bool:
    """Whether a server on that port answers GET with 200. Called often, so it does not use an HTTP client."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
