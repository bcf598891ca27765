"""Notices of missed, failed and late fires. Each notice is handed out once."""

import json
import logging
from collections.abc import Sequence
from datetime import datetime

from horae.clock import from_millis, to_millis
from horae.reasons import Reason, worded
from horae.store.redis.connection import Connection
from horae.store.rows import UNREADABLE
from horae.store.values import Happening, Notice

log = logging.getLogger(__name__)
SHOWN = 500
"""How many characters of an unreadable notice are logged."""


class RedisNotices:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def take(self, limit: int) -> list[Notice]:
        return [
            notice
            for text in await self._connection.call("notices", "take", limit=limit)
            if (notice := _readable(text))
        ]

    async def put_back(self, notices: Sequence[Notice]) -> None:
        if notices:
            texts = [_text(notice) for notice in reversed(notices)]
            await self._connection.call("notices", "put_back", texts=texts)


def _readable(text: str) -> Notice | None:
    """Read a notice. If that fails, log its beginning and return None; the notice is already removed from the store."""
    try:
        return _notice(text)
    except UNREADABLE as error:
        extra = {"action": "notice_unreadable", "notice": text[:SHOWN]}
        log.error("dropped a notice in the store that cannot be read: %r", error, extra=extra)
        return None


def _notice(text: str) -> Notice:
    told = json.loads(text)
    what = Happening(told["what"])
    reason, note = Reason.read(told["reason"], told.get("note", ""))
    if what is Happening.LATE:  # schema 2 stores how late it was as the reason, later schemas as the note
        reason, note = None, note or told["reason"]
    return Notice(
        what=what,
        run_id=told.get("run_id") or told["run"],
        job=told["job"],
        at=from_millis(int(told["at"])),
        scheduled_for=from_millis(int(told["scheduled_for"])) if told["scheduled_for"] else None,
        reason=reason,
        note=note,
    )


def _text(notice: Notice) -> str:
    def millis(instant: datetime | None) -> str:
        return str(to_millis(instant)) if instant else ""

    return json.dumps(
        {
            "what": notice.what.value,
            "run": notice.run_id,
            "job": notice.job,
            "at": millis(notice.at),
            "scheduled_for": millis(notice.scheduled_for),
            "reason": worded(notice.reason, notice.note),
        }
    )
