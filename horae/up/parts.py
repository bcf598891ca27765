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
"""From the order to stop until the last process is gone: the ten that are promised, but for `horae up` itself."""
SERVERS_KEEP_SECONDS = 2.5
"""What remains of that for the parts that others need, once those are gone."""
DRAIN_SECONDS = STOP_SECONDS - SERVERS_KEEP_SECONDS - 2.0
"""How long a part may let its work go on when it is told to stop, and still stop in time."""
RESTART_MARGIN_SECONDS = 2.0
"""Beside its drain, for a part that is started again."""
PROBE_SECONDS = 0.1
PROBE_LIMIT_SECONDS = 5.0
LOOK_SECONDS = 5.0
"""How often a running part is asked whether it still answers."""
HUNG_SECONDS = 60.0
"""One that has not answered for so long is killed and started again."""
BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Before the first, second, … restart in a row."""
HEALTHY_SECONDS = 30.0
"""A part that was ready for so long and dies begins the row anew."""

# Becomes the part itself. On Linux it first asks to be sent SIGTERM when its parent dies, so that a `kill -9` of
# `horae up` orphans nothing; a fork hook in the parent could deadlock, since the parent has threads.
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
    """Unique; also names its log file."""
    command: tuple[str, ...]
    cwd: Path
    ready: Callable[[], Awaitable[bool]]
    """Asked again and again after each start; not to answer within 5 s, or to raise, counts as a no."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Laid over the environment of `horae up`."""
    needs: tuple[str, ...] = ()
    """Parts that must be stopped after this one."""
    ready_seconds: float = 60.0
    """A part that is not ready by then is killed and counts as dead."""
    what_to_do: Callable[[str], str] = lambda log: ""
    """From the end of its log, what somebody can do about its death; empty if nothing is known."""
    stop_signal: signal.Signals = signal.SIGTERM
    ends_all: bool = False
    """What it has started ends with it, also in sessions of its own."""


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
    """Why, in a sentence that can be shown."""


@dataclass(frozen=True, kw_only=True)
class PartStatus:
    name: str
    what: What
    """The last thing that happened to it."""
    since: datetime
    pid: int | None
    restarts: int
    """How often it died and was started again."""
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
    """Leaving the context stops all parts within `STOP_SECONDS` and leaves no process of theirs."""

    def __init__(self, state: Path, on_event: Callable[[PartEvent], None] = lambda event: None) -> None:
        """`state`: where logs go. `on_event` is called on the event loop and must not block."""
        self._state, self._on_event = state.resolve(), on_event
        self._entries: dict[str, _Entry] = {}
        self._stopping = False

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(kill_leftovers, str(self._state))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C or a cancelled caller must not leave processes behind.
        await asyncio.shield(asyncio.ensure_future(self._stop_all()))

    def status(self) -> list[PartStatus]:
        """Every part, in the order of their start."""
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
        """Start a part and wait until it is ready; StartError says why it is not, with the end of its log.

        From then on a part that dies is started again, for as long as it takes.
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
        """Stop a part politely and start it anew; one that does not come up is treated as one that died."""
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
        """Start the process and wait until it is ready: None, or why it is not."""
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
        if ended.done():  # somebody else answered the probe
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
                # What a dead part started would work on beside its successor.
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
        """Wait until the part has died, or has not answered for `HUNG_SECONDS`; says which."""
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
        """End a part's process group: politely for `patience` seconds if it is positive, then by SIGKILL."""
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
    """Whether it is ready; a probe that hangs or raises is a no."""
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
