"""What the template process of the worker `horae-warm` prepares, and what its forks do: flow runs, and crash hooks.

The template has imported Prefect and the flow. A fork starts Prefect's engine exactly as `python -m prefect.engine`
does, in the environment and the folder of its request. The engine loads the flow again, which is quick, because all
that the flow imports is already there.
"""

import atexit
import json
import os
import runpy
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from horae.execution.channel import Channel
from horae.execution.template import Serve, Unfit, why_unfit

ENGINE = "prefect.engine"
IMPORTED = ("prefect.flow_engine", "prefect.flows", "prefect.deployments.steps.core", "prefect.client.orchestration")
"""Modules that every flow run needs."""
IMPORTED_LATE = ("anyio._backends._asyncio", "pydantic.v1", "encodings.idna", "rich._emoji_codes")
"""Modules that the libraries of Prefect import only when a flow run begins, which would take each run 50 ms."""
CANCEL = signal.SIGUSR1
"""Cancels a flow run."""
type Stamp = tuple[int, int]


def prepare(arguments: Sequence[str], without: frozenset[str]) -> Serve:
    """Import Prefect, and the flow of the entrypoint `arguments[0]` if there is one.

    Raises Unfit for a flow that cannot be imported, or that makes forking unsafe. Its runs then import it themselves.
    """
    [entrypoint] = arguments
    for name in IMPORTED:
        import_module(name)
    for name in IMPORTED_LATE:
        with suppress(ImportError):
            import_module(name)
    if entrypoint and entrypoint not in without:
        _import_flow(entrypoint)
    own = {name: _stamp(module) for name, module in sys.modules.items() if _is_own(module)}

    def serve(request: bytes, channel: Channel) -> None:
        order = json.loads(request)
        os.environ.update(order["env"])
        os.chdir(order["folder"])
        if any(_stamp(sys.modules[name]) != stamp for name, stamp in own.items() if name in sys.modules):
            for name in own:  # the code has changed: the engine imports all of it again
                sys.modules.pop(name, None)
        _end(_hooks() if order["crashed"] else _engine())

    return serve


def _import_flow(entrypoint: str) -> None:
    from prefect.flows import load_flow_from_entrypoint

    try:
        load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    except BaseException as error:  # a flow file may raise anything
        raise Unfit(entrypoint, f"its import fails: {type(error).__name__}: {error}") from error
    if why := why_unfit():
        raise Unfit(entrypoint, why)


def _is_own(module: ModuleType) -> bool:
    """Whether it is code of the user, not of an installed package."""
    file = getattr(module, "__file__", None)
    return bool(file) and module.__name__ != "__main__" and not _installed(Path(str(file)))


def _installed(file: Path) -> bool:
    return any(file.is_relative_to(prefix) for prefix in (sys.prefix, sys.base_prefix)) or "site-packages" in file.parts


def _stamp(module: ModuleType) -> Stamp:
    try:
        status = os.stat(str(module.__file__))
    except OSError:
        return (0, 0)
    return status.st_mtime_ns, status.st_size


def _heed_cancellation() -> None:
    """On CANCEL, send SIGTERM to the flow run and its processes. Prefect's engine then reports the run as Cancelled and
    runs its hooks, instead of reporting a crash, because its listener knows of the cancellation first. Prefect has no
    public way to say so. Where this one is gone, the run is Crashed first, and the worker makes it Cancelled.
    """
    listener: dict[str, Any] = {}
    with suppress(ImportError):
        listener = vars(import_module("prefect._internal.control_listener"))

    def cancelled(*_: object) -> None:
        # One signal, not two: the SIGTERM of somebody else could be handled before this has said why it comes.
        listener["_intent"] = "cancel"
        os.killpg(os.getpgrp(), signal.SIGTERM)

    signal.signal(CANCEL, cancelled)


def _engine() -> int:
    """Run the engine; returns the exit status that its own process would have."""
    sys.argv = [ENGINE]
    _heed_cancellation()
    try:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # it is already imported
            runpy.run_module(ENGINE, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _hooks() -> int:
    from horae.warm.crashed import run_hooks

    return run_hooks()


def _end(status: int) -> NoReturn:
    """End this process as the interpreter ends one: join threads, call exit functions, write buffers."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)
