"""The one place where the core reads a clock.

Due times and leases follow the store's clock instead; see `horae.store`.
"""

import time
from datetime import UTC, datetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WITH_SLEEP: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # macOS: its CLOCK_MONOTONIC goes on in sleep


def now() -> datetime:
    """The current time as an aware datetime in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on the monotonic clock. Use it to measure durations."""
    return time.monotonic()


def asleep() -> float:
    """Seconds that this machine slept, from an unknown origin: `monotonic` stands still meanwhile."""
    return time.clock_gettime(_WITH_SLEEP) - time.monotonic()


def to_millis(instant: datetime) -> int:
    """Milliseconds since the Unix epoch, floored."""
    delta = instant - EPOCH
    return (delta.days * 86400 + delta.seconds) * 1000 + delta.microseconds // 1000


def from_millis(millis: int) -> datetime:
    """The aware UTC instant that many milliseconds after the Unix epoch."""
    return datetime.fromtimestamp(millis // 1000, UTC).replace(microsecond=millis % 1000 * 1000)


def isoformat(instant: datetime) -> str:
    """ISO 8601 in UTC with `Z`. A fraction of zero is left out."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """An aware instant from ISO 8601; ValueError if it is malformed or has no offset."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        full = instant.isoformat()
        raise ValueError(f"{text!r} has no time zone; write {full}Z or {full}+01:00")
    return in_utc(instant, shown=repr(text))


def in_utc(instant: datetime, *, shown: str = "") -> datetime:
    """The same aware instant in UTC; ValueError if its year in UTC is below 1 or above 9999, or if it is naive.

    `shown`: how the instant was given.
    """
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone")
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(
            f"{shown or instant.isoformat()} is before the year 1 or after the year 9999 in UTC"
        ) from error
