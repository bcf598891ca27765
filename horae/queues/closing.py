"""Closes connections to brokers. A broker that does not answer must not prevent the end of a process."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

log = logging.getLogger(__name__)
CLOSE_SECONDS = 1.0
"""The time for closing all connections. A broker that gets no closing message notices the end itself."""


class Closable(Protocol):
    async def close(self) -> None: ...


async def close_all(opened: Iterable[Closable]) -> None:
    """Close all of them at once. Connections that need longer than CLOSE_SECONDS are abandoned."""
    await asyncio.gather(*(_close(one) for one in opened))


async def _close(one: Closable) -> None:
    try:
        await asyncio.wait_for(one.close(), CLOSE_SECONDS)
    except TimeoutError:
        log.warning("a broker does not answer; its connection is abandoned", extra={"action": "close_given_up"})
