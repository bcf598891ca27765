"""Schedules from the arguments that APScheduler's triggers take: `interval`, `cron` and `date`.

They mean the same instants as everywhere in Horae. What APScheduler understands differently is refused, with the
reason: numeric weekdays (it counts from Monday, cron from Sunday), and a day of the month together with a weekday
(it wants both, cron takes either). One thing differs and is accepted: without `start_date` an interval counts from the
Unix epoch, as `every(...)` does, and not from now.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from horae.errors import InvalidSchedule, unknown
from horae.schedules.kinds import Schedule, aware
from horae.schedules.making import at, cron, every
from horae.schedules.zones import zone

INTERVAL = ("weeks", "days", "hours", "minutes", "seconds")
CRON = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")
"""From the coarsest to the finest, in APScheduler's order."""
NTH_WEEKDAY = re.compile(r"(1st|2nd|3rd|4th|5th|last)\s+(mon|tue|wed|thu|fri|sat|sun)", re.IGNORECASE)
CRON_MINIMUM = {"month": "1", "day": "1", "hour": "0", "minute": "0"}
WINDOW = ("start_date", "end_date")
TRIGGERS = ("interval", "cron", "date")


@dataclass(frozen=True, slots=True)
class Between:
    """Another schedule's fires from `start` to `end`, both inclusive and optional."""

    schedule: Schedule
    start: datetime | None
    end: datetime | None

    def next_after(self, now: datetime) -> datetime | None:
        if self.start and now < self.start:
            now = self.start - timedelta(microseconds=1)
        found = self.schedule.next_after(now)
        return None if found and self.end and found > self.end else found

    def shortest_gap(self) -> timedelta | None:
        return self.schedule.shortest_gap()

    def __str__(self) -> str:
        return f"{self.schedule} from {self.start or 'the beginning'} to {self.end or 'the end'}"


def schedule_of(trigger_type: str, **arguments: Any) -> Schedule:
    """The schedule that these arguments mean; raises InvalidSchedule."""
    match trigger_type:
        case "interval":
            return _interval(arguments)
        case "cron":
            return _cron(arguments)
        case "date":
            return _date(arguments)
    raise InvalidSchedule(unknown("trigger_type", trigger_type, TRIGGERS))


def _refuse_unknown(trigger: str, arguments: dict[str, Any], allowed: tuple[str, ...]) -> None:
    if arguments.get("jitter") is not None:
        raise InvalidSchedule(
            f"jitter={arguments['jitter']!r}: a trigger takes no jitter, because the jitter of a job must be the "
            "same on every machine. Declare it as @job(jitter=timedelta(...))"
        )
    for name in arguments:
        if name not in allowed:
            raise InvalidSchedule(unknown(f"argument of the {trigger} trigger", name, allowed))


def _interval(arguments: dict[str, Any]) -> Schedule:
    _refuse_unknown("interval", arguments, (*INTERVAL, *WINDOW, "timezone", "jitter"))
    span = timedelta(**{name: arguments[name] for name in INTERVAL if name in arguments})
    if not span:
        raise InvalidSchedule("an interval trigger needs at least one of weeks, days, hours, minutes and seconds")
    start = _instant(arguments.get("start_date"), arguments)
    return _between(every(span, anchor=start), start, arguments)


def _cron(arguments: dict[str, Any]) -> Schedule:
    _refuse_unknown("cron", arguments, (*CRON, *WINDOW, "timezone", "jitter"))
    given = {name: str(arguments[name]) for name in CRON if arguments.get(name) is not None}
    if not given:
        raise InvalidSchedule(
            "this cron trigger has no field, so it fires each second in APScheduler. Give a field such as hour or "
            "minute, or use an interval trigger"
        )
    for name in ("year", "week"):
        if given.get(name, "*") != "*":
            raise InvalidSchedule(
                f"a cron trigger has the field {name}, which cron does not have; use start_date and end_date"
            )
    if given.get("second", "0") != "0":
        raise InvalidSchedule(
            f"a cron trigger has second={given['second']}. Allowed: 0, because cron fires on the "
            "minute. For less than a minute use an interval trigger"
        )
    if (day := given.get("day", "")).strip().lower() == "last":
        raise InvalidSchedule("day='last' is a word of APScheduler. For the last day of a month write day=\"L\"")
    if NTH_WEEKDAY.fullmatch(day.strip()):
        raise InvalidSchedule(
            f'day={day!r} is a form of APScheduler. Write cron("0 2 * * FRI#2") for the second Friday of a month '
            'and cron("0 2 * * 5L") for the last'
        )
    weekday = given.get("day_of_week", "*")
    if any(letter.isdigit() for letter in weekday):
        raise InvalidSchedule(
            f"day_of_week={weekday!r} has a number. APScheduler counts weekdays from Monday and cron counts from "
            "Sunday, so the number has two meanings. Write mon, tue, wed, thu, fri, sat or sun"
        )
    if weekday != "*" and given.get("day", "*") != "*":
        raise InvalidSchedule(
            "a cron trigger has both day and day_of_week. APScheduler requires both to match and "
            "cron requires either one. Give only one"
        )
    return _between(cron(_expression(given), str(arguments.get("timezone") or "UTC")), None, arguments)


def _expression(given: dict[str, str]) -> str:
    """As in APScheduler, fields finer than the finest one given are at their minimum, the others `*`."""
    finest = max(CRON.index(name) for name in given)
    values = {}
    for place, name in enumerate(CRON):
        default = CRON_MINIMUM.get(name, "*") if place > finest else "*"
        values[name] = given.get(name, default)
    return "{minute} {hour} {day} {month} {day_of_week}".format(**values)


def _date(arguments: dict[str, Any]) -> Schedule:
    _refuse_unknown("date", arguments, ("run_date", "timezone"))
    when = _instant(arguments.get("run_date"), arguments)
    if when is None:
        raise InvalidSchedule("a date trigger needs run_date, such as '2026-12-01T02:00:00Z'")
    return at(when)


def _between(schedule: Schedule, start: datetime | None, arguments: dict[str, Any]) -> Schedule:
    first = start or _instant(arguments.get("start_date"), arguments)
    last = _instant(arguments.get("end_date"), arguments)
    return Between(schedule, first, last) if first or last else schedule


def _instant(value: Any, arguments: dict[str, Any]) -> datetime | None:
    """An aware instant from a datetime or ISO 8601; `timezone` gives a zone to a naive one."""
    if value is None:
        return None
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as error:
        raise InvalidSchedule(f"{value!r} is not an instant; write it as 2026-12-01T02:00:00Z") from error
    if instant.tzinfo is None and (name := arguments.get("timezone")) is not None:
        instant = instant.replace(tzinfo=zone(str(name)))
    instant = aware(instant).astimezone(UTC)
    # As in APScheduler `datetime.now()` and a while will do; fires are named by the millisecond, and never early.
    return instant + timedelta(microseconds=-instant.microsecond % 1000)
