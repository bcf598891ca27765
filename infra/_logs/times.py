"""Timestamps as logs write them."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTH = f"(?P<month_name>{'|'.join(MONTHS)})"
CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
OFFSET = r"(?:\s?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d)(?![\w]))?"
ISO = rf"(?P<year>\d{{4}})[-/](?P<month>\d\d)[-/](?P<day>\d\d)[T _]{CLOCK}{OFFSET}"
ACCESS = rf"(?P<day>\d\d)/{MONTH}/(?P<year>\d{{4}}):{CLOCK}{OFFSET}"
DAY_FIRST = rf"(?P<day>\d{{1,2}}) {MONTH} (?P<year>\d{{4}}) {CLOCK}{OFFSET}"
SYSLOG = rf"{MONTH} +(?P<day>\d{{1,2}}) {CLOCK}"
PATTERNS = tuple(re.compile(pattern) for pattern in (ISO, ACCESS, DAY_FIRST, SYSLOG, CLOCK))
SCALES = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""An epoch above the first number counts in parts of a second: nanoseconds, microseconds, milliseconds."""
AHEAD = timedelta(days=1)


def moment(found: re.Match[str], zone: tzinfo, near: datetime) -> datetime | None:
    """The instant, in UTC, of a match of one of the patterns; None where there is no such date.

    What the text leaves out comes from elsewhere: the zone from `zone`, the year or the whole date from `near`, an
    instant just after the log was written.
    """
    part = found.groupdict()
    fraction = (part.get("fraction") or "0").ljust(6, "0")[:6]
    local = near.astimezone(zone)
    month = MONTHS.index(part["month_name"]) + 1 if part.get("month_name") else int(part.get("month") or local.month)
    try:
        at = datetime(
            int(part.get("year") or local.year),
            month,
            int(part.get("day") or local.day),
            int(part["hour"]),
            int(part["minute"]),
            min(int(part["second"]), 59),  # a leap second
            int(fraction),
            tzinfo=_zone(part.get("zone"), zone),
        )
        if not part.get("year") and at > near + AHEAD:
            at = at.replace(year=at.year - 1)
        elif not part.get("day") and at > near + timedelta(minutes=1):
            at -= timedelta(days=1)
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse(value: object, zone: tzinfo, near: datetime) -> datetime | None:
    """The instant that a field of a log holds: text in any of the forms above, or an epoch of any precision."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return _epoch(float(value))
    text = str(value).strip()
    for pattern in PATTERNS:
        if found := pattern.fullmatch(text):
            return moment(found, zone, near)
    try:
        return _epoch(float(text))
    except ValueError:
        return None


def _epoch(number: float) -> datetime | None:
    for least, parts in SCALES:
        if number > least:
            number /= parts
            break
    try:
        return datetime.fromtimestamp(number, UTC) if number > 1e8 else None
    except (ValueError, OverflowError, OSError):
        return None


def _zone(text: str | None, default: tzinfo) -> tzinfo:
    if text is None:
        return default
    return UTC if text in ("Z", "UTC", "GMT") else _offset(text)


@lru_cache(maxsize=256)
def _offset(text: str) -> timezone:
    """Of `+02:00` or `-0730`; raises ValueError beyond a day."""
    minutes = 60 * int(text[1:3]) + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
