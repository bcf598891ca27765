"""The child process that runs synchronous jobs, and suspects, one at a time: `python -m horae.execution.child PROJECT`.

JSON lines: requests on stdin, replies on what was stdout: {"log"}, {"progress"}, and one {"result"} or {"error"} for
each request. The child ends with its worker: when stdin closes, it kills its own process group, so that a run never
goes on beside the one that replaces it.
"""

import asyncio
import inspect
import json
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from horae.clock import parse_instant
from horae.execution.capture import capturing, to_sink
from horae.execution.failures import MESSAGE_LIMIT_CHARACTERS, kinds_of, traceback_of
from horae.execution.results import summary, words_of
from horae.jobs.context import RunContext, running
from horae.project.loading import job_settings, load
from horae.project.registry import Registry
from horae.settings import Settings
from horae.settings import load as load_settings

type Reply = Callable[[dict[str, Any]], None]


def _read_requests(requests: "queue.Queue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    os.killpg(0, signal.SIGKILL)  # the worker is gone


def _context(request: dict[str, Any], registry: Registry, settings: Settings, reply: Reply) -> RunContext:
    run, scheduled = request["run"], request["run"].get("scheduled_for")
    return RunContext(
        job=request["job"],
        run_id=run["run_id"],
        project=settings.project,
        attempt=run["attempt"],
        token=run["token"],
        scheduled_for=parse_instant(scheduled) if scheduled else None,
        settings=job_settings(settings, registry.get(request["job"])),
        report=lambda text: reply({"progress": str(text)}),
    )


def _serve(request: dict[str, Any], registry: Registry, settings: Settings, reply: Reply) -> None:
    try:
        context = _context(request, registry, settings, reply)
        function = registry.get(request["job"]).function
        assert function, f"{request['job']} has no function"
        with running(context), to_sink(lambda line: reply({"log": line})):
            result = function(**request["context"])
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
        reply({"result": summary(result)})
    except BaseException as error:
        # SystemExit and KeyboardInterrupt too: what a job raises is its verdict, never the end of the child.
        reply(
            {
                "error": {
                    "type": type(error).__name__,
                    "message": words_of(error)[:MESSAGE_LIMIT_CHARACTERS],
                    "traceback": traceback_of(error),
                    "kinds": kinds_of(error),
                }
            }
        )


def main() -> None:
    replies, own = os.fdopen(os.dup(1), "w", buffering=1), os.getpid()
    os.dup2(2, 1)  # what a subprocess of a job writes must not end up among the replies
    lock = threading.Lock()

    def reply(message: dict[str, Any]) -> None:
        if os.getpid() != own:
            if "log" in message or "progress" in message:
                return
            os._exit(0)  # the job forked, and this is the fork's end: its answer would be taken for the next run's
        with lock:
            replies.write(json.dumps(message) + "\n")

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's to handle
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    logging.getLogger().setLevel(logging.INFO)
    settings = load_settings(Path(sys.argv[1]))
    registry = load(settings)
    with capturing():
        reply({"ready": os.getpid()})
        while True:
            _serve(requests.get(), registry, settings, reply)


if __name__ == "__main__":
    main()
