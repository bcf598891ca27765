"""What every app can do, from the command line: `fill`, `single`, `batch`, `pickup`. The standard library alone.

Each verb prints one JSON object as its last line.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

REST_SECONDS = (0.02, 0.06)
"""Between two pick-ups, drawn evenly, so that the worker is idle and not in step with anything."""
LOST_SECONDS = 10.0


class Enqueuer(Protocol):
    async def one(self, job: str) -> None:
        """Returns once the job is accepted."""

    async def many(self, job: str, count: int) -> None:
        """The same for so many, in the fastest way that its documentation shows."""


type Opened = Callable[[], AbstractAsyncContextManager[Enqueuer]]


def url() -> str:
    """Of the store."""
    return os.environ["BENCH_URL"]


def stamp() -> None:
    """The first line of the job `stamp`: when it was reached, on the clock that all processes share."""
    at = time.monotonic_ns()
    with open(os.environ["BENCH_STAMPS"], "ab") as file:
        file.write(b"%d\n" % at)


def main(opened: Opened) -> None:
    verb, *numbers = sys.argv[1:]
    print(json.dumps(asyncio.run(_do(opened, verb, [int(number) for number in numbers]))))


async def _do(opened: Opened, verb: str, numbers: list[int]) -> dict[str, Any]:
    async with opened() as enqueuer:
        if verb == "pickup":
            return {"millis": await _pickups(enqueuer, *numbers)}
        began = time.perf_counter()
        if verb == "single":
            for _ in range(numbers[0]):
                await enqueuer.one("noop")
        else:
            await enqueuer.many("noop", numbers[0])
        return {"seconds": time.perf_counter() - began}


async def _pickups(enqueuer: Enqueuer, count: int, seconds: int) -> list[float]:
    """From just before the enqueue to the job's first line; one at a time, the first is dropped."""
    stamps, draw = Path(os.environ["BENCH_STAMPS"]), random.Random(0)
    stamps.write_bytes(b"")  # noqa: ASYNC240 - nothing else goes on in this process
    waits: list[float] = []
    deadline = time.monotonic() + seconds
    for turn in range(count + 1):
        before = time.monotonic_ns()
        await enqueuer.one("stamp")
        at = await _stamped(stamps, turn)
        if turn:
            waits.append((at - before) / 1e6)
        await asyncio.sleep(draw.uniform(*REST_SECONDS))
        if waits and time.monotonic() > deadline:
            break
    return waits


async def _stamped(stamps: Path, turn: int) -> int:
    deadline = time.monotonic() + LOST_SECONDS
    while True:
        lines = stamps.read_bytes().split(b"\n")  # noqa: ASYNC240
        if len(lines) > turn + 1:
            return int(lines[turn])
        if time.monotonic() > deadline:
            raise SystemExit(f"job {turn} was not picked up within {LOST_SECONDS:.0f} s")
        await asyncio.sleep(0.001)


async def at_once(count: int, one: Callable[[], Any], width: int = 100) -> None:
    """For a client without a batch: `width` at a time."""
    for start in range(0, count, width):
        await asyncio.gather(*(one() for _ in range(min(width, count - start))))
