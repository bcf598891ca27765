"""The processes below this one: adopt orphans, find all of them, and end them. On Linux a process can adopt all orphans
of its descendants, also in other sessions. On other systems only processes that still have their parent are found, so
Horae is limited there.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
ROUND_SECONDS = 0.01
PATIENCE_SECONDS = 2.0
"""How long processes are killed that do not end, such as processes of another user."""
_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies. Has an effect only on Linux."""
    if _libc:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int, sign: int = signal.SIGKILL) -> None:
    """Send `sign` to this process when `parent`, its parent process, dies. Has an effect only on Linux."""
    if _libc:
        _libc.prctl(PR_SET_PDEATHSIG, sign)
        if os.getppid() != parent:  # the parent died before this took effect
            os.kill(os.getpid(), sign)


def children_of(pid: int) -> list[int]:
    """The direct children; empty if `pid` has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_bytes().split()]
    except OSError:
        return _by_parent().get(pid, [])


def descendants_of(pid: int) -> list[int]:
    """Every process below `pid`, parents before their children."""
    by_parent, found = _by_parent(), [pid]
    for one in found:
        found.extend(by_parent.get(one, []))
    return found[1:]


def kill_below(pid: int, reap: Callable[[], object], patience_seconds: float = PATIENCE_SECONDS) -> list[int]:
    """Send SIGKILL to all descendants of `pid`, this process, until none is left. Returns those that cannot be killed.
    `reap` collects the dead ones among its own children, because they still exist before.
    """
    deadline = time.monotonic() + patience_seconds
    while left := descendants_of(pid):
        for one in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(one, signal.SIGKILL)
        reap()
        if time.monotonic() > deadline:
            return left
        time.sleep(ROUND_SECONDS)
    return []


def _by_parent() -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for child, parent in _pairs():
        found[parent].append(child)
    return found


def _pairs() -> Iterator[tuple[int, int]]:
    """(process, parent) for every process."""
    if LINUX:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with suppress(OSError):
                    # The name, in parentheses, may contain any text; state and parent follow it.
                    yield int(entry), int(Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()[1])
        return
    with subprocess.Popen(["ps", "-axo", "pid=,ppid="], stdout=subprocess.PIPE, text=True) as lister:
        assert lister.stdout
        pairs = [(int(line.split()[0]), int(line.split()[1])) for line in lister.stdout]
    yield from (pair for pair in pairs if pair[0] != lister.pid)
