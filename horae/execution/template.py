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
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from horae.execution.channel import Channel, encoded, pair
from horae.execution.tree import LINUX, adopt_orphans, children_of, die_with, kill_below

type Serve = Callable[[bytes, Channel], None]
type Prepare = Callable[[Sequence[str], frozenset[str]], Serve]
PROGRAM = "horae.execution"
WITHOUT = "--without="
DESCRIPTORS = 3
ORDER_BYTES = 4096
LOOK_MILLIS = 1000
"""How often the template looks for its starter where the system does not tell of its death."""
UNFORKABLE = ("grpc",)
"""Modules whose library does not survive a fork, even before it starts a thread."""


class Unfit(Exception):
    """Something that the target imported makes forking unsafe. The template starts anew and leaves it out."""

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why
        super().__init__(f"{name}: {why}")


def why_unfit() -> str:
    """Why a fork of this process would not be safe; empty if it would be."""
    for name in UNFORKABLE:
        if name in sys.modules:
            return f"it imports {name}, which does not work after a fork"
    threads = len(os.listdir("/proc/self/task")) if LINUX else threading.active_count()
    return f"its import starts a thread ({threads} threads in all)" if threads > 1 else ""


class Template:
    def __init__(self, control: socket.socket, serve: Serve) -> None:
        self._control, self._serve = control, serve
        self._runs: dict[int, int] = {}
        self._spare: tuple[int, socket.socket] | None = None
        """Forked beforehand, so that no run waits for its fork."""
        self._own = frozenset(children_of(os.getpid()))
        """What the imports started."""
        self._starter = os.getppid()
        self._wake, self._woken = socket.socketpair()

    def serve_until_told(self) -> NoReturn:
        """Fork for each order, until the other end is closed or its process dies."""
        for end in (self._wake, self._woken):
            end.setblocking(False)
        signal.set_wakeup_fd(self._woken.fileno())
        for sign in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(sign, lambda *_: None)  # the byte on the wake-up socket is what counts
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        gc.collect()
        gc.freeze()  # the collector of a fork would touch, and so copy, every page
        self._say({"ready": os.getpid()})
        with suppress(OSError):
            self._spare = self._fork()
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(None if LINUX else LOOK_MILLIS)}
            if os.getppid() != self._starter:
                self._end()
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
            self._end()
        if not text:
            self._end()
        order: dict[str, int] = json.loads(text)
        if "run" in order:
            self._begin(order["run"], descriptors)
            return
        for pid, number in self._runs.items():
            if number == order["kill"]:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, order["signal"])

    def _begin(self, number: int, descriptors: Sequence[int]) -> None:
        """Give the order to the spare fork, and make the next spare while it is at work."""
        try:
            if self._spare is None:
                self._spare = self._fork()
            pid, order = self._spare
            with order:
                socket.send_fds(order, [b"run"], descriptors)
        except OSError as error:  # no more processes; or the spare was killed, and is replaced when it is asked again
            self._spare = None
            self._say({"ended": number, "refused": str(error)})
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._spare = None
        self._runs[pid] = number
        self._say({"forked": number})
        with suppress(OSError):
            self._spare = self._fork()

    def _fork(self) -> tuple[int, socket.socket]:
        """A fork that waits for its order, and where it is given."""
        own = os.getpid()
        ours, theirs = pair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become(own, theirs)
        theirs.close()
        return pid, ours

    def _become(self, template: int, order: socket.socket) -> NoReturn:
        """In the fork: wait for the order, do the request, and end."""
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
        """Tell of the runs that ended, and end what they left: the template adopts the orphans of a dead run."""
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

    def _end(self) -> NoReturn:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps
        kill_below(os.getpid(), lambda: None)
        os._exit(0)

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._control.sendall(encoded(message))
        except OSError:
            self._end()


def _be_new(template: int) -> None:
    """Make this fork like a process that has just started."""
    signal.set_wakeup_fd(-1)
    os.setsid()
    adopt_orphans()
    die_with(template)
    for sign in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(sign, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()  # what the imports registered is for the end of the template
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def main(arguments: Sequence[str]) -> NoReturn:
    control, starter, target, *rest = arguments
    die_with(int(starter), signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_orphans()
    without = frozenset(text.removeprefix(WITHOUT) for text in rest if text.startswith(WITHOUT))
    module, _, function = target.partition(":")
    prepare: Prepare = getattr(importlib.import_module(module), function)
    try:
        serve = prepare([text for text in rest if not text.startswith(WITHOUT)], without)
    except Unfit as error:
        print(f"{error}; each run of it imports the file again", file=sys.stderr, flush=True)
        again = (sys.executable, "-m", PROGRAM, *arguments, WITHOUT + error.name)
        os.execv(sys.executable, again)
    Template(socket.socket(fileno=int(control)), serve).serve_until_told()
