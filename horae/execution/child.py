"""A run of a job in its own process: what the template process prepares, and what each fork of it does."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from threading import get_ident
from typing import Any

from horae.clock import monotonic, parse_instant
from horae.execution.calling import called
from horae.execution.capture import belongs_to, capturing
from horae.execution.channel import Channel
from horae.execution.failures import exits_well, raised
from horae.execution.lines import LINE_LIMIT
from horae.execution.results import summary
from horae.execution.template import Serve, Unfit, why_unfit
from horae.jobs.context import RunContext, is_the_run
from horae.jobs.policies import Tier
from horae.project.loading import job_files, job_settings, load_file, own_packages
from horae.project.registry import Registry
from horae.settings import Settings
from horae.settings import load as load_settings

TIER = Tier.ONEIRIC
TEXT_LIMIT = 10_000
"""The most characters in one message. JSON needs at most six bytes for each."""
SEND_SECONDS = 0.1
"""The interval at which text without a line end is sent."""


def prepare(arguments: Sequence[str], without: frozenset[str]) -> Serve:
    """Import the durable jobs of the project `arguments[0]`, but not the files named in `without`.

    Raises Unfit for a file that makes forking unsafe.
    """
    settings, registry = load_settings(Path(arguments[0])), Registry()
    own_packages(settings.project.resolve(), settings.folders.all)
    for folder, path in job_files(settings):
        file = path.relative_to(settings.project).as_posix()
        if folder == settings.folders.of(TIER) and file not in without:
            load_file(registry, settings.project, folder, path, TIER)
            if why := why_unfit():
                raise Unfit(file, why)

    def serve(request: bytes, channel: Channel) -> None:
        _serve(json.loads(request), registry, settings, channel)

    return serve


class ChannelOutput:
    """The output of this process, sent to the process that requested the run. Forks of this process send too."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._unsent: dict[tuple[str, int], str] = {}
        """By stream and thread, because lines of two threads must not mix."""
        self._sent_at = 0.0
        os.register_at_fork(after_in_child=self._unsent.clear)  # the parent process sends it

    def log(self, level: str, text: str) -> None:
        self.flush()
        self._send({"log": level, "text": text[: 2 * TEXT_LIMIT]})

    def write(self, stream: str, text: str) -> None:
        key = (stream, get_ident())
        text = self._unsent.pop(key, "") + text
        if "\n" in text or len(text) > LINE_LIMIT or monotonic() - self._sent_at > SEND_SECONDS:
            for start in range(0, len(text), TEXT_LIMIT):
                self._write(key, text[start : start + TEXT_LIMIT])
            self._sent_at = monotonic()
        else:
            self._unsent[key] = text

    def descriptor(self, stream: str) -> None:
        """The stdout and stderr of this process are the run's own."""

    def flush(self) -> None:
        for key in list(self._unsent):
            self._write(key, self._unsent.pop(key, ""))

    def report(self, text: str) -> None:
        self.flush()
        self._send({"progress": str(text)[:LINE_LIMIT]})

    def _write(self, key: tuple[str, int], text: str) -> None:
        stream, thread = key
        self._send({"write": stream, "of": f"{os.getpid()}.{thread}", "text": text})

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._channel.send(message)
        except OSError:
            os._exit(1)  # the process that requested the run has ended


def _serve(request: dict[str, Any], registry: Registry, settings: Settings, channel: Channel) -> None:
    own, output = os.getpid(), ChannelOutput(channel)
    belongs_to(output)
    with capturing():
        answer = _answer(request, registry, settings, output)
        if os.getpid() != own:
            os._exit(0)  # the job forked, and this is the end of the fork: the run has its own end
        output.flush()
    channel.send(answer)


def _answer(request: dict[str, Any], registry: Registry, settings: Settings, output: ChannelOutput) -> dict[str, Any]:
    own = os.getpid()
    try:
        if request["job"] not in registry:  # the template process left out its file, which makes forking unsafe
            path = settings.project / request["file"]
            load_file(registry, settings.project, settings.folders.of(TIER), path, TIER)
        is_the_run(_context(request, registry, settings, output))
        result = called(registry.get(request["job"]).function, request["context"])
        if os.getpid() == own:
            _exit_functions()
        return {"result": summary(result)}
    except BaseException as error:
        # Also SystemExit and KeyboardInterrupt, because every exception of a job fails the run.
        if exits_well(error):
            return {"result": None}
        told = raised(error)
        return {
            "error": {"type": told.kind, "message": told.said, "traceback": told.traceback, "kinds": list(told.kinds)}
        }


def _exit_functions() -> None:
    """Run what the job registered for the end of its process, while its output is still captured."""
    import atexit

    atexit._run_exitfuncs()


def _context(request: dict[str, Any], registry: Registry, settings: Settings, output: ChannelOutput) -> RunContext:
    run, scheduled = request["run"], request["run"].get("scheduled_for")
    return RunContext(
        job=request["job"],
        run_id=run["run_id"],
        project=settings.project,
        attempt=run["attempt"],
        token=run["token"],
        scheduled_for=parse_instant(scheduled) if scheduled else None,
        settings=job_settings(settings, registry.get(request["job"])),
        report=output.report,
    )
