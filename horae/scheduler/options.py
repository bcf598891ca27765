"""The options of an enqueue: its time and its priority."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from horae.clock import in_utc, parse_instant
from horae.errors import UsageError, unknown
from horae.messages import Priority

type PriorityName = Literal["high", "normal", "low"]


def due_of(metadata: Mapping[str, Any]) -> datetime | None:
    """The instant in `schedule_time` of the metadata; raises UsageError."""
    text = metadata.get("schedule_time")
    if text is None:
        return None
    try:
        return parse_instant(str(text))
    except ValueError as error:
        raise UsageError(f"schedule_time={text!r}: {error}; write it as 2026-12-01T02:00:00Z") from error


def instant_of(at: datetime | None) -> datetime | None:
    """The instant in UTC. Raises UsageError if it is not an aware datetime, or its year in UTC is not 1 to 9999."""
    if at is not None and getattr(at, "tzinfo", None) is None:
        raise UsageError(f"at={at!r}: give a datetime with a time zone, such as datetime(2026, 12, 1, tzinfo=UTC)")
    try:
        return None if at is None else in_utc(at)
    except ValueError as error:
        raise UsageError(f"at={at!r}: {error}") from error


def priority_of(given: object) -> Priority:
    """The priority with this name; raises UsageError with the nearest known name."""
    try:
        return Priority(str(given))
    except ValueError:
        raise UsageError(unknown("priority", str(given), [one.value for one in Priority])) from None
