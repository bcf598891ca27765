"""Ending processes for good: a process group, and what an earlier `horae up` left behind."""

import os
import signal
from contextlib import suppress
from pathlib import Path

MARK = "_HORAE_PART_OF"
"""Variable that every part and all that it starts inherit; its value names the state folder. Not a `HORAE_` setting."""

PART = "_HORAE_PART"
"""Variable that a part with `ends_all` and all that it starts inherit: the part's name and the state folder."""


def kill_group(leader: int) -> None:
    """SIGKILL to what is left of the process group that `leader` led."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def kill_leftovers(value: str, mark: str = MARK) -> list[int]:
    """SIGKILL every process whose variable `mark` has that value, but this one; returns their ids. Linux only.

    Only for the holder of the project's lock: with MARK before its parts start and after they ended, with PART when
    that part has ended.
    """
    wanted = f"{mark}={value}".encode()
    killed = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if pid in (os.getpid(), os.getppid()):
            continue
        # Gone meanwhile, or somebody else's.
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
    return killed
