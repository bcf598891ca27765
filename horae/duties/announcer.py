"""Tells of missed, failed and late fires: a line in the log, and an event of Prefect where one is configured."""

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from horae.clock import isoformat
from horae.errors import UsageError
from horae.prefect.api import PrefectApi
from horae.reasons import worded
from horae.runs import FIRES
from horae.store.base import Store
from horae.store.values import Happening, Notice

log = logging.getLogger(__name__)
POLL_SECONDS = 1.0
BATCH = 100
LEVELS = {Happening.MISSED: logging.WARNING, Happening.FAILED: logging.ERROR, Happening.LATE: logging.WARNING}


class Announcer:
    """The store hands out each notice once, and while Prefect is away they go back to it.

    A process that is killed between the taking and the telling takes its notices with it; the ledger and the metrics,
    which do not go through this duty, have them all the same.
    """

    name = "announcer"

    def __init__(self, store: Store, prefect: PrefectApi | None) -> None:
        self._store, self._prefect = store, prefect
        self._out: Sequence[Notice] = ()
        self._logged: set[tuple[str, Happening]] = set()

    async def step(self) -> float:
        await self._give_back()  # the store may have been away the last time
        self._out = await self._store.notices.take(BATCH)
        full = len(self._out) == BATCH
        try:
            self._log(self._out)
            if self._prefect:
                await _emit(self._prefect, [event_of(self._store.namespace, notice) for notice in self._out])
            self._out = ()
        except BaseException:
            # Prefect is away, or this process ends: whoever takes them next tries again, and an event has one id.
            await self._give_back()
            raise
        if full:
            return 0.0
        self._logged.clear()
        return POLL_SECONDS

    async def _give_back(self) -> None:
        if self._out:
            await self._store.notices.put_back(self._out)
            self._out = ()

    def _log(self, notices: Sequence[Notice]) -> None:
        """Once here, even while Prefect is away and they come again."""
        for notice in notices:
            if (notice.run_id, notice.what) not in self._logged:
                self._logged.add((notice.run_id, notice.what))
                due = f" of {isoformat(notice.scheduled_for)}" if notice.scheduled_for else ""
                extra = {"action": f"fire_{notice.what.value}", "job": notice.job, "run_id": notice.run_id}
                reason = worded(notice.reason, notice.note) or "no reason given"
                name = notice.job or "an invalid message"
                log.log(LEVELS[notice.what], "%s%s: %s: %s", name, due, notice.what.value, reason, extra=extra)


async def _emit(prefect: PrefectApi, events: Sequence[dict[str, Any]]) -> None:
    """Raises PrefectUnavailable. What Prefect does not want is let go, or nothing would be told any more."""
    try:
        await prefect.emit_events(events)
    except UsageError as error:
        if len(events) == 1:
            extra = {"action": "event_refused", "run_id": events[0]["payload"]["run_id"]}
            log.error("Prefect refuses an event, so it is dropped: %s", error, extra=extra)
            return
        for event in events:
            await _emit(prefect, [event])


def event_of(namespace: str, notice: Notice) -> dict[str, Any]:
    """A notice as Prefect's API takes an event. Its id follows from the notice, so that it is stored once."""
    resource = {
        "prefect.resource.id": f"horae.run.{notice.run_id}",
        "prefect.resource.name": notice.job or "an invalid message",
        "horae.namespace": namespace,
    }
    job = {
        "prefect.resource.id": f"horae.job.{notice.job}",
        "prefect.resource.role": "job",
        "prefect.resource.name": notice.job,
    }
    return {
        "id": str(uuid.uuid5(FIRES, f"{namespace}/{notice.run_id}/{notice.what.value}")),
        "occurred": isoformat(notice.at),
        "event": f"horae.fire.{notice.what.value}",
        "resource": resource,
        "related": [job] if notice.job else [],
        "payload": {
            "job": notice.job,
            "run_id": notice.run_id,
            "scheduled_for": isoformat(notice.scheduled_for) if notice.scheduled_for else None,
            "reason": notice.reason.value if notice.reason else None,
            "note": notice.note or None,
        },
    }
