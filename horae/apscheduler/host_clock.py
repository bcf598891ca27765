"""Holds the host's clock against the store's: a clock that was set wrong fires no internal job early, or never."""

import logging
from datetime import datetime, timedelta

from horae.apscheduler.scheduler import InternalScheduler
from horae.clock import monotonic
from horae.errors import ClockDiffers, StoreUnavailable
from horae.schedules.durations import format_duration
from horae.store.base import Store

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
ASK_SECONDS = 10.0
"""How often the store is asked for the time while the host's clock does not step."""
TOLERANCE = timedelta(seconds=60)
"""Internal jobs go by the host's clock while it is within this of the store's, otherwise by the store's."""


class HostClock:
    """The duty of one sidecar. While the store is away, the host's clock is all there is, and is followed."""

    name = "host clock"

    def __init__(self, store: Store, scheduler: InternalScheduler) -> None:
        self._store, self._scheduler = store, scheduler
        self._asked_at = -ASK_SECONDS

    async def step(self) -> float:
        """Raises ClockDiffers while the two clocks are further apart than TOLERANCE."""
        clock = self._scheduler.clock
        stepped = self._scheduler.follow()
        if stepped:
            extra = {"action": "host_clock_stepped", "seconds": stepped.total_seconds()}
            log.warning("the clock of this host stepped by %s", _said(stepped), extra=extra)
        if stepped or clock.ahead or monotonic() - self._asked_at >= ASK_SECONDS:
            self._asked_at = monotonic()
            self._go_by(await self._reference())
        if clock.ahead:
            raise ClockDiffers(
                f"the clock of this host differs from the store's clock by {_said(clock.ahead)}, so internal jobs "
                "follow the store's clock. Correct the clock of this host"
            )
        return LOOK_SECONDS

    async def _reference(self) -> datetime:
        """The store's time; the host's while the store is away."""
        try:
            return await self._store.now()
        except StoreUnavailable:
            return self._scheduler.clock.wall

    def _go_by(self, reference: datetime) -> None:
        clock = self._scheduler.clock
        if abs(clock.wall - reference) <= TOLERANCE:
            if clock.ahead:
                self._scheduler.adopt(clock.wall)
        elif abs(clock.now() - reference) > TOLERANCE or not clock.ahead:
            self._scheduler.adopt(reference)


def _said(span: timedelta) -> str:
    return f"{'-' if span < timedelta(0) else '+'}{format_duration(abs(span))}"
