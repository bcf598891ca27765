"""Holds the host's clock against the store's: a clock that was set wrong fires no internal job early, or never."""

import asyncio
import logging
from contextlib import suppress
from datetime import datetime, timedelta

from horae.apscheduler.scheduler import InternalScheduler
from horae.clock import asleep, monotonic
from horae.errors import ClockDiffers, StoreUnavailable
from horae.schedules.durations import format_duration
from horae.store.base import Store

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
ASK_SECONDS = 10.0
"""How often the store is asked for the time while the host's clock does not step."""
FIRST_SECONDS = 2.0
TOLERANCE = timedelta(seconds=60)
"""Internal jobs go by the host's clock while it is within this of the store's, otherwise by the store's."""


class HostClock:
    """The duty of one sidecar.

    While the store is away, the time goes on by the monotonic clock from what the store said last, and by what the
    machine slept. If the store has not said the time yet, the host's clock is followed.
    """

    name = "host clock"

    def __init__(self, store: Store, scheduler: InternalScheduler) -> None:
        self._store, self._scheduler = store, scheduler
        self._asked_at = -ASK_SECONDS
        self._told, self._asleep = False, asleep()

    async def begin(self) -> None:
        """Look before any job is scheduled; the store has FIRST_SECONDS to answer."""
        with suppress(ClockDiffers, TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await self.step()

    async def step(self) -> float:
        """Raises ClockDiffers while the two clocks are further apart than TOLERANCE."""
        clock = self._scheduler.clock
        stepped = self._scheduler.follow()
        if stepped:
            extra = {"action": "host_clock_stepped", "seconds": stepped.total_seconds()}
            log.warning("the clock of this host stepped by %s", _said(stepped), extra=extra)
        if stepped or clock.ahead or not self._told or monotonic() - self._asked_at >= ASK_SECONDS:
            self._asked_at = monotonic()
            self._go_by(await self._reference())
        if clock.ahead:
            raise ClockDiffers(
                f"the clock of this host differs from the store's clock by {_said(clock.ahead)}, so internal jobs "
                "follow the store's clock. Correct the clock of this host"
            )
        return LOOK_SECONDS

    async def _reference(self) -> datetime:
        """What the time is, as far as it can be known."""
        slept, self._asleep = asleep() - self._asleep, asleep()
        clock = self._scheduler.clock
        try:
            reference = await self._store.now()
        except StoreUnavailable:
            return clock.now() + timedelta(seconds=slept) if self._told else clock.wall
        self._told = True
        return reference

    def _go_by(self, reference: datetime) -> None:
        clock = self._scheduler.clock
        if abs(clock.wall - reference) <= TOLERANCE:
            if clock.ahead:
                self._scheduler.adopt(clock.wall)
        elif abs(clock.now() - reference) > TOLERANCE or not clock.ahead:
            self._scheduler.adopt(reference)


def _said(span: timedelta) -> str:
    return f"{'-' if span < timedelta(0) else '+'}{format_duration(abs(span))}"
