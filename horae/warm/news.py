"""Tells a worker at once that its work pool has a new flow run, from the event stream of Prefect.

Otherwise it would have to ask many times a second, and each question writes to Prefect's database. The stream is only
a hint: a worker that asks now and then loses nothing without it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter

log = logging.getLogger(__name__)
RECONNECT_SECONDS = 5.0


class News:
    """`wait` returns as soon as there was news since the last wait."""

    def __init__(self) -> None:
        self._heard = asyncio.Event()

    async def wait(self) -> None:
        await self._heard.wait()
        self._heard.clear()

    async def listen(self, pool_id: Callable[[], Awaitable[str]]) -> None:
        """Runs for ever. `pool_id` returns once the work pool is known."""
        pool = f"prefect.work-pool.{await pool_id()}"
        scheduled = EventFilter(
            event=EventNameFilter(name=["prefect.flow-run.Scheduled", "prefect.flow-run.AwaitingRetry"]),
            any_resource=EventAnyResourceFilter(id=[pool]),
        )
        while True:
            try:
                async with get_events_subscriber(scheduled, reconnect_on_clean_close=True) as events:
                    self._heard.set()  # there may have been some before
                    async for _ in events:
                        self._heard.set()
            except Exception as error:  # the library raises many kinds while the server is away
                log.debug("no events of Prefect: %s", error)
            await asyncio.sleep(RECONNECT_SECONDS)
