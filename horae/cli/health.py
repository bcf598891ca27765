"""`horae health`: asks the health page of a process on this machine, for the health check of a container."""

import http.client
import os
from enum import StrEnum
from typing import Annotated

import typer

from horae.cli.project import configured
from horae.errors import UsageError
from horae.settings import Settings

TIMEOUT_SECONDS = 4.0
ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""A process that listens on every address is asked on the loopback address."""
PREFECT_PORT = 8080
"""Prefect's default for PREFECT_WORKER_WEBSERVER_PORT."""


class Part(StrEnum):
    SIDECAR = "sidecar"
    WORKER = "worker"
    RECEIVER = "receiver"
    PREFECT_WORKER = "prefect-worker"


Parts = Annotated[
    Part | None,
    typer.Argument(metavar="PART", help=f"{', '.join(Part)}. Default: each of them that listens here."),
]
Ready = Annotated[bool, typer.Option("--ready", help="Ask whether it can work, not only whether it makes progress.")]


def command(context: typer.Context, part: Parts = None, ready: Ready = False) -> int:
    """Ask a process on this machine for its health. The exit status is 0 if it is well and 1 if it is not.

    Without PART, each process that listens must be well, and one must listen. Prefect's worker listens if it is
    started with --with-healthcheck; it has one page, so --ready changes nothing for it.

    \b
    horae health sidecar
    horae health worker --ready
    """
    settings = configured(context)
    asked = [part] if part else [Part.SIDECAR, Part.WORKER, Part.PREFECT_WORKER]
    answers = {one: _ask(*_address(one, settings), _page(one, ready)) for one in asked}
    listening = {one: answer for one, answer in answers.items() if answer is not None} if part is None else answers
    for one, answer in listening.items():
        print(f"{one}: {answer or 'no answer on ' + _named(_address(one, settings))}")
    if not listening:
        print(f"no process listens: {', '.join(_named(_address(one, settings)) for one in asked)}")
    return 0 if listening and all((answer or "").startswith("200 ") for answer in listening.values()) else 1


def _address(part: Part, settings: Settings) -> tuple[str, int]:
    """Raises UsageError if the port is 0, because then the process chooses it."""
    if part is Part.PREFECT_WORKER:
        host = os.environ.get("PREFECT_WORKER_WEBSERVER_HOST", "127.0.0.1")
        given = os.environ.get("PREFECT_WORKER_WEBSERVER_PORT", str(PREFECT_PORT))
        if not given.isdecimal():
            raise UsageError(f"PREFECT_WORKER_WEBSERVER_PORT is {given!r}; give a port number")
        port, name = int(given), "PREFECT_WORKER_WEBSERVER_PORT"
    else:
        table = "sidecar" if part is Part.SIDECAR else "worker"
        own = settings.sidecar if part is Part.SIDECAR else settings.worker
        host, port, name = own.health_host, own.health_port, f"HORAE_{table.upper()}__HEALTH_PORT"
    if port == 0:
        raise UsageError(f"{name} is 0, so the {part} listens on a port that is not known here; set a fixed port")
    return ANY_ADDRESS.get(host, host), port


def _page(part: Part, ready: bool) -> str:
    if part is Part.PREFECT_WORKER:
        return "/health"
    return "/health/ready" if ready else "/health/live"


def _ask(host: str, port: int, page: str) -> str | None:
    """The status and the body; None if nothing answers."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        return f"{answer.status} {answer.read(4096).decode(errors='replace').strip()}"
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error}"
    finally:
        connection.close()


def _named(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
