"""Keeps the leases of this process's runs: through its guardian (watch.py renews them there), or from a thread if it
has no guardian.
"""

import asyncio
import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Protocol

from horae.errors import StoreError
from horae.execution.channel import MESSAGE_LIMIT_BYTES, encoded
from horae.execution.guardian import RESTART_WANTED, Guard
from horae.execution.runner import Active
from horae.execution.watch import RETRY_SECONDS
from horae.store.base import Claims
from horae.store.values import Stop

log = logging.getLogger(__name__)
BEAT_SECONDS = 1.0
AT_ONCE = 500
"""The most claims in one message to the guardian."""


class Renewer(Protocol):
    """Use it as a context manager, on the event loop of the runs."""

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *exc: object) -> None: ...

    def hold(self, active: Active) -> None:
        """Keep the lease of the run. Call it before the job begins."""

    def drop(self, active: Active) -> None: ...


class GuardedRenewer:
    """Tells the guardian which claims are held, and that the event loop is not blocked."""

    def __init__(self, guard: Guard) -> None:
        self._link = guard.link
        # By token, not by run: this worker may claim a run again while an older attempt on it, whose lease is lost, is
        # active.
        self._held: dict[int, Active] = {}
        self._new: list[Any] = []
        self._dropped: list[int] = []
        self._sends = False
        self._beat: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> "GuardedRenewer":
        self._loop = asyncio.get_running_loop()
        self._link.setblocking(False)
        self._loop.add_reader(self._link, self._hear)
        self._go_on()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._beat:
            self._beat.cancel()
        self._send()
        self._loop.remove_reader(self._link)

    def hold(self, active: Active) -> None:
        limit = active.job.time_limit
        self._held[active.claim.token] = active
        self._new.append([active.claim.message.run_id, active.claim.token, limit.total_seconds() if limit else None])
        if not self._sends:
            # Send once for all runs that are claimed together, before the first of them begins.
            self._sends = True
            self._loop.call_soon(self._send)

    def drop(self, active: Active) -> None:
        if self._held.pop(active.claim.token, None):
            self._dropped.append(active.claim.token)

    def _go_on(self) -> None:
        self._send()
        self._beat = self._loop.call_later(BEAT_SECONDS, self._go_on)

    def _send(self) -> None:
        self._sends = False
        with suppress(OSError):  # a guardian that is stopped does not read; try again at the next beat
            while True:
                new, dropped = self._new[:AT_ONCE], self._dropped[:AT_ONCE]
                self._link.send(encoded({"hold": new, "drop": dropped}))
                del self._new[: len(new)], self._dropped[: len(dropped)]
                if not self._new and not self._dropped:
                    return

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            while data := self._link.recv(MESSAGE_LIMIT_BYTES):
                for token, stop in json.loads(data)["stop"]:
                    if active := self._held.get(token):
                        active.cancel(Stop(stop))
            log.critical("the guardian has ended, so this worker ends too", extra={"action": "guardian_gone"})
            logging.shutdown()
            os._exit(RESTART_WANTED)


class ThreadRenewer:
    """Renews every third of the lease, from a thread. A job that holds the interpreter lock prevents the renewal."""

    def __init__(self, claims: Claims, lease: timedelta) -> None:
        self._claims, self._lease = claims, lease
        # Not by run: this worker may claim a run again while an older attempt on it, whose lease is lost, is active.
        self._held: set[Active] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_for_ever, name="renewer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> "ThreadRenewer":
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
        third = wait = self._lease.total_seconds() / 3
        while not self._ended.wait(wait):
            with self._lock:
                held = list(self._held)
            kept = self._renew(held, said=wait < third) if held else True
            wait = third if kept else min(third, RETRY_SECONDS)

    def _renew(self, held: list[Active], *, said: bool) -> bool:
        """Whether the store answered. `said`: the log already says that it does not answer."""
        try:
            stops = self._claims.renew([active.claim for active in held], self._lease)
        except StoreError as error:
            # The run continues: only the store can say whether its lease is lost.
            if not said:
                log.warning("cannot renew leases: %s", error, extra={"action": "renewal_waits"})
            return False
        for active, stop in zip(held, stops, strict=True):
            if stop:
                self._stop(active, stop)
        return True

    def _stop(self, active: Active, why: Stop) -> None:
        assert self._loop
        cancel: Callable[[Stop], None] = active.cancel
        self._loop.call_soon_threadsafe(cancel, why)
