"""Keeps the leases of this process's runs, from a thread that no job can block."""

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from horae.errors import StoreError
from horae.execution.runner import Active
from horae.store.base import Claims
from horae.store.values import Stop

log = logging.getLogger(__name__)


class Renewer:
    """Renews every third of the lease. Use it as a context, on the event loop of the runs."""

    def __init__(self, claims: Claims, lease: timedelta) -> None:
        self._claims, self._lease = claims, lease
        # Not by run: this worker may claim a run again while it still has an attempt on it whose lease it lost.
        self._held: set[Active] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_for_ever, name="renewer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> "Renewer":
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._ended.set()
        await asyncio.to_thread(self._thread.join)

    def hold(self, active: Active) -> None:
        with self._lock:
            self._held.add(active)

    def drop(self, active: Active) -> None:
        with self._lock:
            self._held.discard(active)

    def _renew_for_ever(self) -> None:
        while not self._ended.wait(self._lease.total_seconds() / 3):
            with self._lock:
                held = list(self._held)
            if held:
                self._renew(held)

    def _renew(self, held: list[Active]) -> None:
        try:
            stops = self._claims.renew([active.claim for active in held], self._lease)
        except StoreError as error:
            # The run goes on: whether its lease is lost, only the store can say.
            log.warning("leases cannot be renewed: %s", error, extra={"action": "renewal_waits"})
            return
        for active, stop in zip(held, stops, strict=True):
            if stop:
                self._stop(active, stop)

    def _stop(self, active: Active, why: Stop) -> None:
        assert self._loop
        cancel: Callable[[Stop], None] = active.cancel
        self._loop.call_soon_threadsafe(cancel, why)
