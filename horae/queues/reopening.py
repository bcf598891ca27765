"""Opens a consumer again that is connected and gets nothing although the broker has messages for it.

Clients have such faults: a subscription, a channel or a fetch that ends without an error. Only what a consumer gets
shows that it works, so this counts the time that it waits with free slots, and then asks the broker for its backlog.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from horae.clock import monotonic
from horae.errors import QueueError, QueueUnavailable
from horae.queues.base import Consumer, Delivery

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 30.0
"""How long a consumer waits for a first message before the broker is asked for its backlog."""
MOST_PATIENCE_SECONDS = 300.0
"""The patience doubles up to this, as long as opening again does not help."""
CONFIRM_SECONDS = 10.0
"""A backlog may be on its way to another worker. Only one that is still there after this time counts."""
JITTER = 0.2
"""Workers that lost their messages together do not open their consumers together."""
CLOSE_SECONDS = 5.0


class Reopening:
    """A consumer, and how to open it again.

    `behind` returns how many messages the broker has for this consumer; None if the broker cannot tell. It may raise
    QueueUnavailable. `reopened` is called after each opening.
    """

    def __init__(
        self,
        provider: str,
        open_again: Callable[[], Consumer],
        behind: Callable[[Consumer], Awaitable[int | None]],
        reopened: Callable[[], object],
    ) -> None:
        self._provider, self._open_again, self._behind, self._reopened = provider, open_again, behind, reopened
        self._source = open_again()
        self._patience = PATIENCE_SECONDS
        self._failed_at: float | None = None
        self.trouble = ""
        """Why this consumer was opened again; empty once it gets messages or the broker has none."""
        self._wait_anew()

    def _wait_anew(self) -> None:
        self._waited, self._suspicious = 0.0, False
        self._enough = self._patience * random.uniform(1 - JITTER, 1 + JITTER)

    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        began = monotonic()
        try:
            deliveries = await self._source.receive(limit, wait)
        except QueueUnavailable:
            began = began if self._failed_at is None else self._failed_at
            self._failed_at = monotonic()
            await self._without_message(self._failed_at - began)
            raise
        self._failed_at = None
        if deliveries:
            if self._waited or self.trouble:
                self._works()
        elif wait and limit > 0:
            await self._without_message(monotonic() - began)
        return deliveries

    def _works(self) -> None:
        self._patience, self.trouble = PATIENCE_SECONDS, ""
        self._wait_anew()

    async def _without_message(self, seconds: float) -> None:
        self._waited += seconds
        if self._waited < self._enough:
            return
        try:
            behind = await self._behind(self._source)
        except QueueUnavailable:
            return  # the broker is down: its consumer connects again by itself
        if not behind:
            self._works()
        elif self._suspicious:
            await self._open_anew(behind)
        else:
            self._suspicious, self._enough = True, self._waited + CONFIRM_SECONDS

    async def _open_anew(self, behind: int) -> None:
        self.trouble = (
            f"the broker has {behind} messages, and this consumer got none in {self._waited:.0f} s; it was opened again"
        )
        extra = {"action": "consumer_reopened", "provider": self._provider, "messages": behind}
        log.warning("%s: %s", self._provider, self.trouble, extra=extra)
        old, self._source = self._source, self._open_again()
        self._patience = min(self._patience * 2, MOST_PATIENCE_SECONDS)
        self._wait_anew()
        self._reopened()
        with suppress(QueueError, TimeoutError):
            await asyncio.wait_for(old.close(), CLOSE_SECONDS)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """What the consumer before received is delivered again if this one cannot acknowledge it."""
        await self._source.ack(deliveries)

    async def close(self) -> None:
        await self._source.close()
