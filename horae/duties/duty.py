"""A duty: one loop of a process. It waits with backoff for what it needs, says so, and recovers by itself."""

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
"""Short for as long as a failover takes: what a duty waits longer than the store was away is added to the hole."""
AWAY = (StoreError, QueueError, PrefectUnavailable, ClockDiffers)
OTHERS_GO_ON = (PrefectUnavailable, ProviderNotServed, ClockDiffers)
"""The trouble of one duty, without which the others do their work."""


class Duty(Protocol):
    @property
    def name(self) -> str: ...

    async def step(self) -> float:
        """Go round once; returns for how many seconds there is nothing to do. May raise any of AWAY."""


@runtime_checkable
class ProviderDuty(Duty, Protocol):
    """A duty that works with one provider. While another provider works, the process is ready without it."""

    @property
    def provider(self) -> str: ...


@dataclass(slots=True)
class Progress:
    """When a duty last went round, and what it waits for."""

    at: float
    """On the monotonic clock, in seconds."""
    trouble: str = ""
    """Empty while all is well."""
    others_go_on: bool = False
    """The trouble is this duty's alone: the process is ready all the same."""
    provider: str = ""
    """The provider that the duty works with; empty if it works with none or with all."""


class Progresses:
    """The progress of every duty of this process. Read from the health thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._of: dict[str, Progress] = {}

    def went_round(self, duty: str, trouble: str = "", *, others_go_on: bool = False, provider: str = "") -> None:
        self._of[duty] = Progress(monotonic(), trouble, others_go_on, provider)
        self._metrics.tick.labels(duty).set(now().timestamp())
        self._metrics.troubled.labels(duty).set(1 if trouble else 0)

    def troubles(self) -> dict[str, str]:
        """What each duty waits for that cannot do its work."""
        return {name: one.trouble for name, one in self._troubled().items() if not self._spares_others(one)}

    def degraded(self) -> dict[str, str]:
        """What each duty waits for without which the others do their work: when Prefect is down, they do not notice."""
        return {name: one.trouble for name, one in self._troubled().items() if self._spares_others(one)}

    def _troubled(self) -> dict[str, Progress]:
        return {name: one for name, one in self._of.items() if one.trouble}

    def _spares_others(self, trouble: Progress) -> bool:
        """Whether the process does its other work. A provider that is down delays only its own runs."""
        down = {one.provider for one in self._troubled().values()}
        return trouble.others_go_on or bool(
            trouble.provider and {one.provider for one in self._of.values()} - down - {""}
        )

    def stalled(self, seconds: float) -> list[str]:
        """The duties that have not gone round for so long, whatever the reason."""
        return [name for name, progress in self._of.items() if monotonic() - progress.at > seconds]


async def keep_doing(duty: Duty, progresses: Progresses, stopping: asyncio.Event) -> None:
    """Until `stopping`."""
    failures, provider = 0, duty.provider if isinstance(duty, ProviderDuty) else ""
    progresses.went_round(duty.name, provider=provider)
    while not stopping.is_set():
        try:
            wait = await duty.step()
        except AWAY as error:
            if failures == 0:
                log.warning("%s waits: %s", duty.name, error, extra={"action": "duty_waits", "duty": duty.name})
            others_go_on = isinstance(error, OTHERS_GO_ON)
            # The store's trouble is that of all duties, also of those that work with one provider.
            at_fault = provider if isinstance(error, QueueError) else ""
            progresses.went_round(duty.name, str(error), others_go_on=others_go_on, provider=at_fault)
            wait = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
            failures += 1
        else:
            if failures:
                log.info("%s goes on", duty.name, extra={"action": "duty_goes_on", "duty": duty.name})
            failures = 0
            progresses.went_round(duty.name, provider=provider)
        if wait > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), wait)
        else:
            await asyncio.sleep(0)
