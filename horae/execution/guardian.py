"""The processes above a worker: they keep its leases while it is alive, and end all that it has started when it is not.

    front       has the process id that others know; takes signals, passes them on, and ends as the worker ended
    └ guardian  renews the leases; sees the worker stop, hang or die
      └ worker  everything else

Neither of the two above has threads, an event loop, or code of a job. Each adopts the orphans below it, so that
whichever of the three is killed, one is left that ends the rest: processes of jobs in sessions of their own too.
"""

import logging
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from horae.execution.channel import pair
from horae.execution.tree import LINUX, adopt_orphans, die_with, kill_below
from horae.execution.watch import Watch

log = logging.getLogger(__name__)
PASSED_ON = (signal.SIGTERM, signal.SIGINT)
ABOVE_DIED = signal.SIGUSR1
LOOK_SECONDS = 0.2
"""Messages of the worker wait in the socket for so long, or until the next renewal. If each claim woke the guardian, it
would take a processor from the run that begins, and from a busy worker.
"""
RESTART_WANTED = 75
"""Exit status of a process that must be restarted: EX_TEMPFAIL of sysexits.h."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """What a worker knows of the processes above it."""

    link: socket.socket
    """The connection to the guardian; see `horae.execution.watch`."""
    pid: int
    """The process id of the front, which supervisors and people see."""


def guarded(watch: Callable[[], Watch]) -> Guard:
    """Split this process into three; returns only in the worker. Call it before there are threads, an event loop or
    connections. `watch` is called in the guardian.
    """
    front = os.getpid()
    # do not lose a signal that arrives before the handlers are set
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    adopt_orphans()
    guardian = os.fork()
    if guardian:
        _name("horae-front")
        _pass_on(guardian, before)
        _end_like(_waited_for(guardian))
    adopt_orphans()
    above, below = pair()
    own = os.getpid()
    worker = os.fork()
    if worker:
        below.close()
        _name("horae-guardian")
        _pass_on(worker, before)
        try:
            _Guardian(front, worker, above, watch).guard()
        except BaseException:
            log.exception("the guardian failed; it ends its worker", extra={"action": "guardian_failed"})
            kill_below(os.getpid(), _reap_all)
            os._exit(1)
    above.close()
    die_with(own)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # a job that reads its stdin must not wait for a terminal
    os.close(null)
    return Guard(link=below, pid=front)


class _Guardian:
    """The loop of the guardian. Signal handlers do what ends it, so that a slow renewal cannot delay it."""

    def __init__(self, front: int, worker: int, link: socket.socket, watch: Callable[[], Watch]) -> None:
        self._front, self._worker, self._link = front, worker, link
        self._watch = watch()
        self._stuck = False
        link.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: self._reap())
        signal.signal(ABOVE_DIED, lambda *_: self._end(-signal.SIGKILL))
        die_with(front, ABOVE_DIED)
        self._reap()

    def guard(self) -> NoReturn:
        open_ = True
        while True:
            time.sleep(self._watch.wait(LOOK_SECONDS))
            if os.getppid() != self._front:
                self._end(-signal.SIGKILL)
            open_ = open_ and self._hear()
            if why := self._watch.why_stuck():
                self._kill(why)
            for answer in self._watch.renewed():
                with suppress(OSError):  # a worker that does not read gets this again at the next renewal
                    self._link.send(answer)

    def _hear(self) -> bool:
        try:
            while data := self._link.recv(1 << 20):
                self._watch.hear(data)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        return False

    def _kill(self, why: str) -> None:
        if not self._stuck:
            log.error("the guardian kills the worker: %s", why, extra={"action": "worker_killed"})
        self._stuck = True
        with suppress(ProcessLookupError):
            os.kill(self._worker, signal.SIGKILL)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED))[0]:
                pid, status = found
                if pid != self._worker:
                    continue
                if os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
                    self._watch.stopped = os.WIFSTOPPED(status)
                else:
                    self._end(RESTART_WANTED if self._stuck else os.waitstatus_to_exitcode(status))

    def _end(self, status: int) -> NoReturn:
        """The worker has ended or must end: end all processes below."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        left = kill_below(os.getpid(), _reap_all)
        if left:
            extra = {"action": "processes_left", "pids": left}
            log.error("cannot kill processes that the worker started: %s", left, extra=extra)
        _end_like(status)


def _pass_on(below: int, mask: set[int] | set[signal.Signals]) -> None:
    def pass_on(sign: int, frame: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(below, sign)

    for sign in PASSED_ON:
        signal.signal(sign, pass_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _waited_for(guardian: int) -> int:
    """The exit status of the guardian, when no process is left below it."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == guardian:
            kill_below(os.getpid(), _reap_all)
            return os.waitstatus_to_exitcode(status)


def _reap_all() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end_like(status: int) -> NoReturn:
    """End in the same way as the process below: with its exit status, or by its signal, but without a second core
    file.
    """
    if status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        with suppress(OSError):
            signal.signal(-status, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-status})
        os.kill(os.getpid(), -status)
        status = 128 - status  # process 1 of a container does not end by a signal to itself
    os._exit(status)


def _name(name: str) -> None:
    if LINUX:
        with suppress(OSError):
            Path("/proc/self/comm").write_text(name)
