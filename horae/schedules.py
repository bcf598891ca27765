"""When a job is due: `cron(...)`, `every(...)`, `at(...)`. Time in, time out; no clock inside."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from horae.clock import EPOCH, isoformat, parse_instant
from horae.errors import InvalidSchedule


@runtime_checkable
class Schedule(Protocol):
    """A rule of instants. `str()` of it is canonical: equal text, equal fires."""

    def next_after(self, now: datetime) -> datetime | None:
        """The first instant strictly after `now` (aware), in UTC; None when there is none."""

    def shortest_gap(self) -> timedelta | None:
        """The shortest time between two fires; None when it fires at most once."""


def aware(instant: datetime) -> datetime:
    """The same instant in UTC; raises InvalidSchedule for a naive one."""
    if instant.tzinfo is None:
        raise InvalidSchedule(f"{instant.isoformat()} has no time zone; give datetime(..., tzinfo=UTC) or ...Z")
    return instant.astimezone(UTC)


DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> timedelta:
    """`30s`, `5m`, `1h30m`, `90d` as a timedelta; raises InvalidSchedule."""
    parts = DURATION.findall(text.strip().lower())
    if not parts or "".join(n + u for n, u in parts) != text.strip().lower():
        raise InvalidSchedule(f"{text!r} is not a duration; write a number and s, m, h or d, such as 30s or 1h30m")
    return timedelta(seconds=sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts))
