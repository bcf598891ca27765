"""Waiting for something to become true, instead of sleeping for a while."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, overload

EVERY_SECONDS = 0.02


@overload
async def wait_until[T](predicate: Callable[[], Awaitable[T]], what: str, seconds: float = 10) -> T: ...
@overload
async def wait_until[T](predicate: Callable[[], T], what: str, seconds: float = 10) -> T: ...
async def wait_until(predicate: Callable[[], Any], what: str, seconds: float = 10) -> Any:
    """The first true answer of `predicate`, sync or async; AssertionError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = predicate()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}; last seen: {value!r}")
        await asyncio.sleep(EVERY_SECONDS)


def wait_for[T](predicate: Callable[[], T], what: str, seconds: float = 10) -> T:
    """`wait_until` for a test without an event loop."""
    deadline = time.monotonic() + seconds
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}; last seen: {value!r}")
        time.sleep(EVERY_SECONDS)
    return value
