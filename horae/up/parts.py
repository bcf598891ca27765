"""The processes that `horae up` runs: started, watched, restarted when they die, and stopped to the last one.

async with Parts(settings.state, on_event=print) as parts:
    await parts.start(valkey)
    await asyncio.gather(parts.start(worker), parts.start(sidecar))
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from horae import clock
from horae.errors import StartError
from horae.up.leftovers import MARK, PART, kill_group, kill_leftovers
from horae.up.part_logs import open_log, tail

STOP_SECONDS = 9.0
"""All parts end within this time. The promise is 10 s; the rest is for `horae up` to exit."""
SERVERS_KEEP_SECONDS = 2.5
"""The part of that time for parts that others need, after those have ended."""
DRAIN_SECONDS = STOP_SECONDS - SERVERS_KEEP_SECONDS - 2.0
"""The longest drain of a part that still stops in time."""
RESTART_MARGIN_SECONDS = 2.0
"""Added to the drain of a part that is restarted."""
PROBE_SECONDS = 0.1
PROBE_LIMIT_SECONDS = 5.0
LOOK_SECONDS = 5.0
"""The interval of probes of a running part."""
HUNG_SECONDS = 60.0
"""A part that does not answer for this long is killed and restarted."""
BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""The wait before the first, second, … restart in succession."""
HEALTHY_SECONDS = 30.0
"""If a part dies after it was ready for this long, the waits begin again with the first."""

# This program becomes the part itself. On Linux it first requests a SIGTERM for the death of its parent, so that a
# `kill -9` of `horae up` leaves no process. A fork hook in the parent could deadlock, because the parent has threads.
LAUNCH = """
import os, sys
parent, command = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 15)
    if os.getppid() != parent:
        sys.exit("horae up died before this part began")
try:
    os.execvp(command[0], command)
except OSError as error:
    sys.exit(f"cannot run {command[0]}: {error.strerror}")
"""


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    """Unique. It is also the name of its log file."""
    command: tuple[str, ...]
    cwd: Path
    ready: Callable[[], Awaitable[bool]]
    """Called repeatedly after each start. No answer within 5 s, or an exception, counts as not ready."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of `horae up`."""
    needs: tuple[str, ...] = ()
    """Parts that must be stopped after this one."""
    ready_seconds: float = 60.0
    """A part that is not ready within this time is killed and counts as dead."""
    what_to_do: Callable[[str], str] = lambda log: ""
    """What to do about its death, from the end of its log; empty if unknown."""
    stop_signal: signal.Signals = signal.SIGTERM
    ends_all: bool = False
    """All processes that it started end with it, also those in other sessions."""


class What(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DIED = "died"
    STOPPED = "stopped"
    KILLED = "killed"


@dataclass(frozen=True, kw_only=True)
class PartEvent:
    part: str
    what: What
    at: datetime
    detail: str = ""
    """The reason, as a sentence for people."""


@dataclass(frozen=True, kw_only=True)
class PartStatus:
    name: str
    what: What
    """The last event of the part."""
    since: datetime
    pid: int | None
    restarts: int
    """How often it died and was restarted."""
    log: Path


@dataclass(kw_only=True)
class _Entry:
    part: Part
    log: Path
    process: asyncio.subprocess.Process | None = None
    watcher: asyncio.Task[None] | None = None
    what: What = What.STARTING
    since: datetime = field(default_factory=clock.now)
    restarts: int = 0


class Parts:
    """Leaving the context stops all parts within `STOP_SECONDS`, with all their processes."""

    def __init__(self, state: Path, on_event: Callable[[PartEvent], None] = lambda event: None) -> None:
        """`state`: the folder of the logs. `on_event` is called on the event loop and must not block."""
        self._state, self._on_event = state.resolve(), on_event
        self._entries: dict[str, _Entry] = {}
        self._stopping = False

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(kill_leftovers, str(self._state))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C, or a cancelled caller, must not leave processes.
        await asyncio.shield(asyncio.ensure_future(self._stop_all()))

    def status(self) -> list[PartStatus]:
        """Every part, in the order of their starts."""
        return [
            PartStatus(
                name=name,
                what=entry.what,
                since=entry.since,
                pid=entry.process.pid if entry.process and entry.process.returncode is None else None,
                restarts=entry.restarts,
                log=entry.log,
            )
            for name, entry in self._entries.items()
        ]

    async def start(self, part: Part) -> None:
        """Start a part and wait until it is ready. Raises StartError with the reason and the end of its log. From then
        on, the part is restarted whenever it dies.
        """
        if part.name in self._entries:
            raise ValueError(f"the part {part.name!r} already exists")
        entry = _Entry(part=part, log=self._state / "logs" / f"{part.name}.log")
        self._entries[part.name] = entry
        why = await self._launch(entry)
        if why:
            await self._end(entry, 0)
            log = tail(entry.log)
            raise StartError(f"{part.name} did not start: {why}.{log}" + "\n".join(["", *_hint(part, log)]))
        entry.watcher = asyncio.create_task(self._watch(entry), name=f"watch {part.name}")

    async def restart(self, name: str) -> None:
        """Stop a part with SIGTERM and start it again. If it does not become ready, it is treated as a part that
        died.
        """
        entry = self._entries[name]
        if entry.watcher:
            entry.watcher.cancel()
            await asyncio.gather(entry.watcher, return_exceptions=True)
        await self._end(entry, DRAIN_SECONDS + RESTART_MARGIN_SECONDS)
        why = await self._launch(entry)
        if why:
            self._say(entry, What.DIED, why)
        entry.watcher = asyncio.create_task(self._watch(entry), name=f"watch {name}")

    async def _launch(self, entry: _Entry) -> str | None:
        """Start the process and wait until it is ready. Returns None, or the reason why it is not ready."""
        part = entry.part
        self._say(entry, What.STARTING)
        launcher = (sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid()))
        with open_log(entry.log) as log:
            entry.process = process = await asyncio.create_subprocess_exec(
                *launcher,
                *part.command,
                cwd=part.cwd,
                env={**os.environ, **part.env, MARK: str(self._state), PART: self._mark(part)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ended = asyncio.ensure_future(process.wait())
        deadline = clock.monotonic() + part.ready_seconds
        while not await _answers(part):
            await asyncio.wait([ended], timeout=PROBE_SECONDS)
            if ended.done():
                return _how(process.returncode)
            if clock.monotonic() > deadline:
                return f"it was not ready within {part.ready_seconds:g} s"
        if ended.done():  # another process answered the probe
            return _how(process.returncode)
        self._say(entry, What.READY)
        return None

    async def _watch(self, entry: _Entry) -> None:
        in_a_row = 0
        while True:
            began = clock.monotonic()
            why = await self._lost(entry)
            in_a_row = 0 if clock.monotonic() - began > HEALTHY_SECONDS else in_a_row
            while why:
                # Processes of a dead part would work beside its successor.
                await self._end(entry, 0)
                wait = BACKOFF_SECONDS[min(in_a_row, len(BACKOFF_SECONDS) - 1)]
                again = f"{why}; restarting" + (f" in {wait:g} s" if wait else "")
                self._say(entry, What.DIED, ". ".join([again, *_hint(entry.part, tail(entry.log))]))
                await asyncio.sleep(wait)
                entry.restarts += 1
                in_a_row += 1
                try:
                    why = await self._launch(entry) or ""
                except OSError as error:
                    why = f"cannot start it: {error}"

    async def _lost(self, entry: _Entry) -> str:
        """Wait until the part has died, or has not answered for `HUNG_SECONDS`; returns which of the two."""
        assert entry.process
        ended = asyncio.ensure_future(entry.process.wait())
        answered = clock.monotonic()
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=LOOK_SECONDS)
                if await _answers(entry.part):
                    answered = clock.monotonic()
                elif clock.monotonic() - answered > HUNG_SECONDS:
                    return f"it has not answered for {HUNG_SECONDS:g} s"
            return _how(ended.result())
        finally:
            ended.cancel()

    async def _stop_all(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        end = clock.monotonic() + STOP_SECONDS - 0.5
        gone = {name: asyncio.Event() for name in self._entries}
        await asyncio.gather(*(self._stop(entry, gone, end) for entry in self._entries.values()))
        await asyncio.to_thread(kill_leftovers, str(self._state))

    async def _stop(self, entry: _Entry, gone: Mapping[str, asyncio.Event], end: float) -> None:
        name = entry.part.name
        try:
            if entry.watcher:
                entry.watcher.cancel()
                await asyncio.gather(entry.watcher, return_exceptions=True)
            users = [other.part.name for other in self._entries.values() if name in other.part.needs]
            for user in users:
                await gone[user].wait()
            await self._end(entry, end - clock.monotonic() - (SERVERS_KEEP_SECONDS if entry.part.needs else 0))
        finally:
            gone[name].set()

    async def _end(self, entry: _Entry, patience: float) -> None:
        """End the process group of a part: with SIGTERM and a wait of `patience` seconds if that is positive, then with
        SIGKILL.
        """
        process = entry.process
        if process is None:
            return
        if process.returncode is None and patience > 0:
            with suppress(ProcessLookupError):
                process.send_signal(entry.part.stop_signal)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience)
        killed = process.returncode is None
        kill_group(process.pid)
        await process.wait()
        if entry.part.ends_all:
            await asyncio.to_thread(kill_leftovers, self._mark(entry.part), PART)
        if self._stopping:
            detail = "it did not stop in time" if killed and patience > 0 else ""
            self._say(entry, What.KILLED if detail else What.STOPPED, detail)

    def _mark(self, part: Part) -> str:
        return f"{part.name}@{self._state}"

    def _say(self, entry: _Entry, what: What, detail: str = "") -> None:
        entry.what, entry.since = what, clock.now()
        self._on_event(PartEvent(part=entry.part.name, what=what, at=entry.since, detail=detail))


async def _answers(part: Part) -> bool:
    """Whether it is ready. A probe that hangs or raises counts as not ready."""
    try:
        async with asyncio.timeout(PROBE_LIMIT_SECONDS):
            return await part.ready()
    except Exception:
        return False


def _hint(part: Part, log: str) -> list[str]:
    return [hint] if (hint := part.what_to_do(log)) else []


def _how(status: int | None) -> str:
    if status is not None and status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    return f"it ended with exit status {status}"
