"""Closing what is connected to a broker. A broker that does not answer must not keep a process from ending."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

log = logging.getLogger(__name__)
CLOSE_SECONDS = 1.0
"""For the last words to the brokers, all of them at once. What they do not hear they find out by themselves."""


class Closable(Protocol):
    async def close(self) -> None: ...


async def close_all(opened: Iterable[Closable]) -> None:
    """Close all of them at once; what takes longer than CLOSE_SECONDS is left."""
    await asyncio.gather(*(_close(one) for one in opened))


async def _close(one: Closable) -> None:
    try:
        await asyncio.wait_for(one.close(), CLOSE_SECONDS)
    except TimeoutError:
        log.warning("a broker does not answer; its connection is abandoned", extra={"action": "close_given_up"})
