"""Memory and CPU of a process and of all that it started, from /proc; None where there is none (not Linux)."""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Use:
    processes: int
    memory_bytes: int
    """Resident, added up: what they share is counted once for each."""
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
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    found = [stats[one] for one in family if one in stats]
    return Use(
        processes=len(found),
        memory_bytes=sum(int(fields[21]) * page for fields in found),
        cpu_seconds=sum(int(fields[11]) + int(fields[12]) for fields in found) / tick,
    )
