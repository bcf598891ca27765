"""The template of runs: a process without threads that forks itself for each: `python -m horae.execution`.

It knows nothing of jobs. Its arguments are the descriptor of its control socket, the process id of whoever started it,
a target `MODULE:FUNCTION`, and arguments of the target. The target prepares what all runs share, such as imports, and
returns the function that does one request. Each request comes with three descriptors: the run's channel, its stdout and
its stderr. A fork has a session of its own, /dev/null as stdin, and the state of a process that has just started. What
a run leaves behind, threads and processes in whatever session, ends with it; all runs end with the template, and the
template with whoever started it.
"""

import atexit
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from horae.execution.channel import Channel, encoded, pair
from horae.execution.tree import LINUX, adopt_orphans, children_of, die_with, kill_below

type Serve = Callable[[bytes, Channel], None]
type Prepare = Callable[[Sequence[str], frozenset[str]], Serve]
PROGRAM = "horae.execution"
WITHOUT = "--without="
OUTLIVES = "--outlives-its-starter"
"""Argument: if the starter dies, runs continue to their end, and the template process ends after the last."""
DESCRIPTORS = 3
ORDER_BYTES = 4096
LOOK_MILLIS = 1000
"""How often the template process checks that its starter is alive, on systems that do not report its death."""
UNFORKABLE = ("grpc", "polars", "pyarrow")
"""Modules whose library does not work after a fork, even before it starts a thread: their documentation says so."""


class Unfit(Exception):
    """An import of the target makes forking unsafe. The template process starts again without it."""

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why
        super().__init__(f"{name}: {why}")


def why_unfit() -> str:
    """The reason why a fork of this process would not be safe; empty if it would be safe."""
    for name in UNFORKABLE:
        if name in sys.modules:
            return f"it imports {name}, which does not work after a fork"
    threads = _threads()
    if threads > 1 and threading.active_count() == 1:
        # Threads of a native library. OpenBLAS stops its own before each fork, and starts them again when they are
        # needed: then a fork of this process has none.
        _fork_for_trial()
        threads = _threads()
    return f"its import starts a thread ({threads} threads in all)" if threads > 1 else ""


def _threads() -> int:
    return len(os.listdir("/proc/self/task")) if LINUX else threading.active_count()


def _fork_for_trial() -> None:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # the threads are what is on trial
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


class Template:
    def __init__(self, control: socket.socket, serve: Serve, *, outlives: bool = False) -> None:
        self._control, self._serve, self._outlives = control, serve, outlives
        self._runs: dict[int, int] = {}
        self._spare: tuple[int, socket.socket] | None = None
        """Forked in advance, so that no run waits for its fork."""
        self._own = frozenset(children_of(os.getpid()))
        """The processes that the imports started."""
        self._starter = os.getppid()
        self._wake, self._woken = socket.socketpair()

    def serve_until_told(self) -> NoReturn:
        """Fork for each order, until the other end is closed or its process dies."""
        for end in (self._wake, self._woken):
            end.setblocking(False)
        signal.set_wakeup_fd(self._woken.fileno())
        for sign in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(sign, lambda *_: None)  # only the byte on the wake-up socket matters
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        gc.collect()
        gc.freeze()  # the garbage collector of a fork would write to, and so copy, every page
        self._say({"ready": os.getpid()})
        with suppress(OSError):
            self._spare = self._fork()
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(None if LINUX else LOOK_MILLIS)}
            if os.getppid() != self._starter:
                self._left()
            if self._wake.fileno() in ready:
                if signal.SIGTERM in self._wake.recv(ORDER_BYTES):
                    self._end()
                self._reap()
            if self._control.fileno() in ready:
                self._heed()

    def _heed(self) -> None:
        try:
            text, descriptors, _, _ = socket.recv_fds(self._control, ORDER_BYTES, DESCRIPTORS)
        except ConnectionError:
            self._left()
        if not text:
            self._left()
        order: dict[str, int] = json.loads(text)
        if "run" in order:
            self._begin(order["run"], descriptors)
            return
        for pid, number in self._runs.items():
            if number == order["kill"]:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, order["signal"])

    def _begin(self, number: int, descriptors: Sequence[int]) -> None:
        """Give the order to the spare fork, and create the next spare while the first works."""
        try:
            if self._spare is None:
                self._spare = self._fork()
            pid, order = self._spare
            with order:
                socket.send_fds(order, [b"run"], descriptors)
        # no more processes are possible; or the spare was killed, and the next request replaces it
        except OSError as error:
            self._spare = None
            self._say({"ended": number, "refused": str(error)})
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._spare = None
        self._runs[pid] = number
        self._say({"forked": number, "pid": pid})
        with suppress(OSError):
            self._spare = self._fork()

    def _fork(self) -> tuple[int, socket.socket]:
        """A fork that waits for its order, and the socket for the order."""
        own = os.getpid()
        ours, theirs = pair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become(own, theirs)
        theirs.close()
        return pid, ours

    def _become(self, template: int, order: socket.socket) -> NoReturn:
        """In the fork: wait for the order, execute the request, and end."""
        status = 1
        try:
            _be_new(template)
            for end in (self._control, self._wake, self._woken):
                end.close()
            with order:
                text, descriptors, _, _ = socket.recv_fds(order, ORDER_BYTES, DESCRIPTORS)
            if not text:
                os._exit(0)
            channel, *outputs = descriptors
            for number, descriptor in enumerate(outputs, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)
            own = Channel.out_of_the_way(socket.socket(fileno=channel))
            request = own.request()
            own.send({"begun": os.getpid()})
            self._serve(request, own)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """Report runs that ended, and kill their processes: the template process adopts the orphans of a run that
        ended.
        """
        ended = []
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                ended.append(found)
        for pid in children_of(os.getpid()) if LINUX else []:
            if pid not in self._runs and pid not in self._own and not self._is_spare(pid):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        for pid, status in ended:
            if self._is_spare(pid):
                self._spare = None
            number = self._runs.pop(pid, None)
            if number is not None:
                self._say({"ended": number, "status": os.waitstatus_to_exitcode(status)})

    def _is_spare(self, pid: int) -> bool:
        return self._spare is not None and self._spare[0] == pid

    def _left(self) -> NoReturn:
        """The starter is gone."""
        if self._outlives:
            self._control.close()
            if self._spare:
                self._spare[1].close()
                self._spare = None
            while self._runs:
                self._reap()
                select.select([self._wake], [], [], LOOK_MILLIS / 1000)
                with suppress(BlockingIOError):
                    self._wake.recv(ORDER_BYTES)
        self._end()

    def _end(self) -> NoReturn:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps them
        kill_below(os.getpid(), lambda: None)
        os._exit(0)

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._control.sendall(encoded(message))
        except OSError:
            if not self._outlives:
                self._end()  # otherwise, the closed socket is noticed where orders are read


def _be_new(template: int) -> None:
    """Give this fork the state of a process that has just started."""
    signal.set_wakeup_fd(-1)
    os.setsid()
    adopt_orphans()
    die_with(template)
    for sign in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(sign, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()  # the exit handlers of the imports are for the end of the template process
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def main(arguments: Sequence[str]) -> NoReturn:
    control, starter, target, *rest = arguments
    outlives = OUTLIVES in rest
    if not outlives:  # the signal comes before the parent changes, so it could not be told from an order to end
        die_with(int(starter), signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_orphans()
    without = frozenset(text.removeprefix(WITHOUT) for text in rest if text.startswith(WITHOUT))
    module, _, function = target.partition(":")
    prepare: Prepare = getattr(importlib.import_module(module), function)
    try:
        given = [text for text in rest if not text.startswith(WITHOUT) and text != OUTLIVES]
        serve = prepare(given, without)
    except Unfit as error:
        print(f"{error}; each run of it imports the file again", file=sys.stderr, flush=True)
        again = (sys.executable, "-m", PROGRAM, *arguments, WITHOUT + error.name)
        os.execv(sys.executable, again)
    Template(socket.socket(fileno=int(control)), serve, outlives=outlives).serve_until_told()
