"""Ending processes for good: a process group, and what an earlier `horae up` left behind."""

import os
import signal
from contextlib import suppress
from pathlib import Path

MARK = "_HORAE_PART_OF"
"""Variable that every part and all that it starts inherit; its value names the state folder. Not a `HORAE_` setting."""


def kill_group(leader: int) -> None:
    """SIGKILL to what is left of the process group that `leader` led."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def kill_leftovers(state: str) -> list[int]:
    """SIGKILL every process marked as part of that state folder, but this one; their ids. Linux only, else none.

    Only for the holder of the project's lock, before its parts start and after they ended.
    """
    wanted = f"{MARK}={state}".encode()
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
