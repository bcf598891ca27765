"""Memory and CPU of a process and of all that it started, from /proc; None where there is none (not Linux)."""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Use:
    processes: int
    memory_bytes: int
    """Proportional: what several processes share is counted once."""
    cpu_seconds: float
    """User and system, since they started."""


def use_of(pid: int) -> Use | None:
    if not (PROC / "self/stat").exists():
        return None
    parents: dict[int, int] = {}
    stats: dict[int, list[str]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                # The name, in brackets, may hold blanks.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            stats[int(entry.name)], parents[int(entry.name)] = fields, int(fields[1])
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    tick = os.sysconf("SC_CLK_TCK")
    found = [stats[one] for one in family if one in stats]
    return Use(
        processes=len(found),
        memory_bytes=sum(_proportional(one) for one in family if one in stats),
        cpu_seconds=sum(int(fields[11]) + int(fields[12]) for fields in found) / tick,
    )


def _proportional(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has just ended
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
