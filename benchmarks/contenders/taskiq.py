"""taskiq on Redis streams: one asyncio worker on uvloop, acknowledged when run, one by one."""

from typing import Any

import redis

from benchmarks.contender import APPS, Contender

STREAM = "taskiq"


def _left(client: "redis.Redis") -> int:
    """Neither read nor acknowledged; the stream itself is never shortened."""
    groups: Any = client.xinfo_groups(STREAM)
    return sum(int(group["lag"]) + int(group["pending"]) for group in groups)


CONTENDER = Contender(
    name="taskiq",
    app="taskiq_app",
    setup="Redis streams, uvloop, 20 tasks at once, prefetch 100, no results, log from WARNING; it keeps no record "
    "of a run",
    worker=lambda place: [
        place.program("taskiq"),
        "worker",
        *("--workers", "1"),
        # Of 20, 50 and 100 at once, 20 was the fastest.
        *("--max-async-tasks", "20"),
        *("--max-prefetch", "100"),
        *("--log-level", "WARNING"),
        f"{APPS}.taskiq_app:broker",
    ],
    finished=lambda client, filled: filled - _left(client),
    share=0.5,
)
