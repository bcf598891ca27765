"""The host's clock of one process, and of all that it starts, to be set wrong while it runs.

A library that is compiled here and preloaded answers for the C library's clock. Linux only, with a C compiler.
"""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


def can_step() -> bool:
    return sys.platform == "linux" and shutil.which("cc") is not None


def library(folder: Path) -> Path:
    """Compile it into that folder."""
    built = folder / "host_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", built, SOURCE, "-ldl"], check=True)
    return built


class HostClock:
    """`environment` is for the processes that are to go by it."""

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self.environment = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(file)}
        file.write_bytes(bytes(8))

    def move(self, seconds: float) -> None:
        """By how much it is ahead of the right time from now on; negative: behind."""
        with self._file.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", int(seconds * 1_000_000_000)))
