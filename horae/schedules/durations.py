"""Durations as text: `30s`, `1h30m`, `90d`."""

import re
from datetime import timedelta

from horae.errors import InvalidSchedule

MILLISECOND = timedelta(milliseconds=1)
"""The resolution of the store. The store rounds a finer instant, and the schedule would then return it again."""


DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_duration(text: str) -> timedelta:
    """`30s`, `5m`, `1h30m`, `90d`, `2w` as a timedelta; raises InvalidSchedule."""
    parts = DURATION.findall(text.strip().lower())
    if not parts or "".join(n + u for n, u in parts) != text.strip().lower():
        raise InvalidSchedule(
            f"{text!r} is not a duration; write a number and a unit s, m, h or d, such as 30s or 1h30m"
        )
    try:
        return timedelta(seconds=sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts))
    except OverflowError as error:
        raise InvalidSchedule(f"{text!r} is too long for a duration") from error


def format_duration(duration: timedelta) -> str:
    """A duration of whole milliseconds as text that `parse_duration` accepts: `30s`, `1h30m`, `90d`."""
    rest, text = duration // MILLISECOND, ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, round(UNIT_SECONDS[unit] * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"
