"""Prefect on this machine: its server and a process worker as parts, their work pool, and the deployments."""

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
"""The longest that one file takes: each changed deployment may wait half a minute for a good moment."""
HEARTBEAT_SECONDS = 30
"""How often a flow run says that it lives."""
CRASHED_AFTER_SECONDS = 90
"""A flow run that was silent for so long is Crashed: else one whose process was killed stays Running for ever."""

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
    """What every process that talks to this Prefect needs: its own profile and home, so that nobody's are touched."""
    home = state / "prefect"
    found = {**SWITCHED_OFF, "PREFECT_HOME": str(home), "PREFECT_PROFILES_PATH": str(home / "profiles.toml")}
    found["PREFECT_API_URL"] = api_url
    found["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = str(HEARTBEAT_SECONDS)
    return found | ({"PREFECT_API_KEY": api_key} if api_key else {})


def server_part(project: Path, state: Path, port: int) -> Part:
    """The part `prefect-server`: API, UI and all its services in one process, on SQLite in `state/prefect`."""
    home = private_folder(state / "prefect")
    url = f"http://{LOOPBACK}:{port}/api"
    env = environment(state, url) | {
        # Whatever the user's shell says: this server is the embedded one.
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_UI_API_URL": url,
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # In memory, as by default, a restart forgets who holds a concurrency slot, and then nobody ever gives it back.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }
    command = (sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port))

    async def ready() -> bool:
        return await _healthy(port, "/api/health")

    return Part(name="prefect-server", command=command, cwd=project, env=env, ready=ready, ready_seconds=90)


def worker_part(
    project: Path, state: Path, pool: str, api_url: str, *, needs: tuple[str, ...] = (), api_key: str | None = None
) -> Part:
    """The part `prefect-worker`: a process worker of `pool` that looks for work every second.

    Flow runs are processes of their own session: killed alone, it leaves them working, and they end well without it.
    """
    health_port = free_port()
    env = environment(state, api_url, api_key) | {
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_WEBSERVER_HOST": LOOPBACK,
        "PREFECT_WORKER_WEBSERVER_PORT": str(health_port),
    }
    arguments = ("worker", "start", "--pool", pool, "--type", "process", "--name", "horae-up", "--with-healthcheck")
    command = (sys.executable, "-m", "prefect", *arguments)

    async def ready() -> bool:
        return await _healthy(health_port, "/health")

    return Part(name="prefect-worker", command=command, cwd=project, env=env, ready=ready, needs=needs)


async def prepare(api: PrefectApi, project: Path, pool: str, *, ours: bool) -> None:
    """Make the work pool, and the automation that ends flow runs whose process died.

    `ours`: the server is the embedded one, so an existing pool is brought up to date, and flow runs that an earlier
    `horae up` left behind are ended; a shared one is left alone.
    """
    template = process_template(await api.default_job_template("process"), project)
    await api.ensure_work_pool(pool, template, update=ours)
    if ours:
        # They would hold their deployment's concurrency slot for minutes, and the next run would be cancelled.
        await api.crash_unfinished("its process ended when its horae up ended")
    await api.ensure_automation(silent_runs_crash())


def process_template(default: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """The process pool's job template with this machine's defaults: flow runs work in the project folder, on this
    Python, and begin at once. So prefect.yaml names no path of any machine."""
    template = {key: dict(value) for key, value in default.items()}
    properties = {key: dict(value) for key, value in template["variables"]["properties"].items()}
    properties["working_dir"]["default"] = str(project)
    properties["command"]["default"] = f"{sys.executable} -m prefect.engine"
    template["variables"] = {**template["variables"], "properties": properties}
    return template


def silent_runs_crash() -> dict[str, Any]:
    """An automation: a flow run that sent a heartbeat and then neither another nor its end becomes Crashed."""
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
    """`prefect deploy --all` of the project's files of deployments; what it printed.

    What has not changed is not written, and a write waits past a near fire: see `horae.prefect.deployer`. `pool`: where
    deployments go that name no work pool. StartError, with the end of what it printed, if it fails; deployments before
    the failing one are then in place.
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
        # Also when we are cancelled.
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
    """Whether what listens on that port answers GET with 200. Asked often, so without the cost of an HTTP client."""
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
