"""Kills a process group, and processes that an earlier `horae up` left behind."""

import os
import signal
from contextlib import suppress
from pathlib import Path

MARK = "_HORAE_PART_OF"
"""A variable that every part and all its processes inherit. Its value names the state folder. It is not a setting."""

PART = "_HORAE_PART"
"""A variable that a part with `ends_all` and all its processes inherit: the name of the part and the state folder."""


def kill_group(leader: int) -> None:
    """Send SIGKILL to the rest of the process group of `leader`."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def kill_leftovers(value: str, mark: str = MARK) -> list[int]:
    """Send SIGKILL to every other process whose variable `mark` has this value; returns their ids. Works only on Linux.
    Only the holder of the project's lock may call it: with MARK before its parts start and after they have ended, with
    PART when that part has ended.
    """
    wanted = f"{mark}={value}".encode()
    killed = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if pid in (os.getpid(), os.getppid()):
            continue
        # The process has ended, or belongs to another user.
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
    return killed
