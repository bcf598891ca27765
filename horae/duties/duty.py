"""A duty: one loop of a process. If a service does not answer, the duty waits with backoff, reports it and recovers."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from horae.clock import monotonic, now
from horae.errors import ClockDiffers, PrefectUnavailable, ProviderNotServed, QueueError, StoreError
from horae.metrics.process import Metrics

log = logging.getLogger(__name__)
BACKOFF_SECONDS = (0.1, 0.2, *(0.5,) * 20, 1.0, 2.0)
"""Short for the duration of a failover, because a longer wait adds to the outage."""
AWAY = (StoreError, QueueError, PrefectUnavailable, ClockDiffers)
OTHERS_GO_ON = (PrefectUnavailable, ProviderNotServed, ClockDiffers)
"""Errors that concern only this duty; the other duties of the process continue."""


class Duty(Protocol):
    @property
    def name(self) -> str: ...

    async def step(self) -> float:
        """Do one round. Returns the seconds until there may be work again. May raise any of AWAY."""


@runtime_checkable
class ProviderDuty(Duty, Protocol):
    """A duty that works with one provider. While another provider works, the process is ready without it."""

    @property
    def provider(self) -> str: ...


@runtime_checkable
class TroubledDuty(Duty, Protocol):
    """A duty that can tell trouble although its step does not fail."""

    @property
    def trouble(self) -> str:
        """Empty if there is none."""


@dataclass(slots=True)
class Progress:
    """The time of a duty's last round, and the reason why it waits."""

    at: float
    """On the monotonic clock, in seconds."""
    trouble: str = ""
    """Empty if the duty does not wait."""
    others_go_on: bool = False
    """True: the reason concerns only this duty, so the process is still ready."""
    provider: str = ""
    """The provider that the duty works with; empty if it works with none or with all."""


class Progresses:
    """The progress of every duty of this process. The health thread reads it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._of: dict[str, Progress] = {}

    def went_round(self, duty: str, trouble: str = "", *, others_go_on: bool = False, provider: str = "") -> None:
        self._of[duty] = Progress(monotonic(), trouble, others_go_on, provider)
        self._metrics.went_round(duty, now(), troubled=bool(trouble))

    def troubles(self) -> dict[str, str]:
        """The reasons of duties that wait and keep the process from being ready."""
        return {name: one.trouble for name, one in self._troubled().items() if not self._spares_others(one)}

    def degraded(self) -> dict[str, str]:
        """The reasons of duties that wait while the others continue. If Prefect is down, other tiers do not notice."""
        return {name: one.trouble for name, one in self._troubled().items() if self._spares_others(one)}

    def _troubled(self) -> dict[str, Progress]:
        return {name: one for name, one in self._of.items() if one.trouble}

    def _spares_others(self, trouble: Progress) -> bool:
        """Whether the process can do its other work. A provider that is down delays only its own runs."""
        down = {one.provider for one in self._troubled().values()}
        return trouble.others_go_on or bool(
            trouble.provider and {one.provider for one in self._of.values()} - down - {""}
        )

    def stalled(self, seconds: float) -> list[str]:
        """The duties without a round for this long, for any reason."""
        return [name for name, progress in self._of.items() if monotonic() - progress.at > seconds]


async def keep_doing(duty: Duty, progresses: Progresses, stopping: asyncio.Event) -> None:
    """Repeat the duty's step until `stopping` is set."""
    failures, provider = 0, duty.provider if isinstance(duty, ProviderDuty) else ""
    troubled = duty if isinstance(duty, TroubledDuty) else None
    progresses.went_round(duty.name, provider=provider)
    while not stopping.is_set():
        try:
            wait = await duty.step()
        except AWAY as error:
            if failures == 0:
                log.warning("%s waits: %s", duty.name, error, extra={"action": "duty_waits", "duty": duty.name})
            others_go_on = isinstance(error, OTHERS_GO_ON)
            # An error of the store concerns all duties, also those that work with one provider.
            at_fault = provider if isinstance(error, QueueError) else ""
            progresses.went_round(duty.name, str(error), others_go_on=others_go_on, provider=at_fault)
            wait = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
            failures += 1
        else:
            if failures:
                log.info("%s goes on", duty.name, extra={"action": "duty_goes_on", "duty": duty.name})
            failures = 0
            trouble = troubled.trouble if troubled else ""
            progresses.went_round(duty.name, trouble, provider=provider)
        if wait > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), wait)
        else:
            await asyncio.sleep(0)
