"""The five fields of a cron expression: allowed values and their meaning.

Debian's syntax: numbers, names, `*`, lists, upward ranges, steps. Syntax of other crons: `L`, `L-3`, `LW` and `15W`
for days of the month, `5L` and `1#2` for days of the week, full names, `?` and `SAT-SUN`.
"""

import re
from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial

from horae.errors import nearest

MONTHS = (
    *("JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE"),
    *("JULY", "AUGUST", "SEPTEMBER", "OCTOBER", "NOVEMBER", "DECEMBER"),
)
WEEKDAYS = ("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY")
SUNDAY = 7
FORMS = "`*`, lists such as 1,2, ascending ranges such as 1-5, steps such as */2"

type DayRule = Callable[[date], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """The allowed values of one field."""

    name: str
    low: int
    high: int
    allowed: str
    """For people."""
    names: dict[str, int] = field(default_factory=dict)
    """Each short name and full name, with its number."""

    @property
    def size(self) -> int:
        """The number of values. With a larger step only the first value would match."""
        return self.high - self.low + 1


def _names(words: Sequence[str], first: int) -> dict[str, int]:
    numbered = list(enumerate(words, first))
    return {word[:3]: number for number, word in numbered} | {word: number for number, word in numbered}


MINUTE = Field(name="minute", low=0, high=59, allowed="0-59")
HOUR = Field(name="hour", low=0, high=23, allowed="0-23")
DAY = Field(name="day of month", low=1, high=31, allowed="1-31, L, L-3, LW or 15W")
MONTH = Field(name="month", low=1, high=12, allowed="1-12 or JAN-DEC", names=_names(MONTHS, 1))
WEEKDAY = Field(
    name="day of week",
    low=0,
    high=7,
    allowed="0-7 (Sunday is 0 and 7), SUN-SAT, 5L or 1#2",
    names=_names(WEEKDAYS, 0),
)
FIELDS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)


class Refused(ValueError):
    """A term of a field cannot be parsed. The text is the reason, or empty if the allowed values explain it."""


def spelled(kind: Field, text: str) -> str:
    """The canonical text of a field: upper case, short names, `*` for `?` in the two day fields."""
    text = text.upper()
    if kind in (DAY, WEEKDAY) and text == "?":
        return "*"
    return re.sub(r"[A-Z]+", lambda word: word[0][:3] if word[0] in kind.names else word[0], text)


def numbers(kind: Field, text: str) -> frozenset[int]:
    """The values of a numeric field; raises Refused."""
    return frozenset().union(*(_term(kind, term) for term in text.split(",")))


def days_of_month(text: str) -> DayRule:
    """A function that tells whether a date matches a day-of-month field; raises Refused for a malformed field."""
    rules: list[DayRule] = []
    plain: set[int] = set()
    for term in text.split(","):
        rule = _special_day(term)
        if rule:
            rules.append(rule)
        else:
            plain |= _term(DAY, term)
    return lambda day: day.day in plain or any(rule(day) for rule in rules)


def days_of_week(text: str) -> DayRule:
    """A function that tells whether a date matches a day-of-week field; raises Refused for a malformed field."""
    rules: list[DayRule] = []
    plain: set[int] = set()
    for term in text.split(","):
        rule = _special_weekday(term)
        if rule:
            rules.append(rule)
        else:
            plain |= {number % SUNDAY for number in _term(WEEKDAY, term)}
    return lambda day: day.isoweekday() % SUNDAY in plain or any(rule(day) for rule in rules)


def _term(kind: Field, term: str) -> set[int]:
    span, slash, step_text = term.partition("/")
    low, high, single = _span(kind, span)
    step = _step(kind, term, step_text) if slash else 1
    # A single number with a step runs to the end of the field: `5/15` is 5,20,35,50. A range of one value does not.
    return set(range(low, (kind.high if single and slash else high) + 1, step))


def _span(kind: Field, span: str) -> tuple[int, int, bool]:
    """The first value, the last value, and whether the text is a single number."""
    if span == "*":
        return kind.low, kind.high, False
    first, dash, last = span.partition("-")
    low = _number(kind, first)
    if not dash:
        return low, low, True
    high = _number(kind, last)
    if kind is WEEKDAY and high == 0 and last.isalpha():
        high = SUNDAY  # SAT-SUN ends on the Sunday at the end of the week
    if high < low:
        raise Refused(f"{span} is descending; a range must be ascending, so write {_two(kind, first, last)}")
    return low, high, False


def _two(kind: Field, first: str, last: str) -> str:
    if kind is not WEEKDAY:
        return f"{first}-{kind.high},{kind.low}-{last}"
    if last == "0":
        return f"{first}-7"
    sunday, monday = ("7", "1") if last.isdecimal() else ("SUN", "MON")
    return f"{first}-{sunday},{monday}" + (f"-{last}" if last != monday else "")


def _number(kind: Field, text: str) -> int:
    if text in kind.names:
        return kind.names[text]
    if not re.fullmatch(r"[0-9]{1,4}", text):
        raise Refused(_not_a_value(kind, text))
    number = int(text)
    if not kind.low <= number <= kind.high:
        raise Refused("")
    return number


def _not_a_value(kind: Field, text: str) -> str:
    if kind is WEEKDAY and text.endswith("L") and text[:-1] in kind.names:
        return f"for the last {text[:-1].capitalize()} of a month write {kind.names[text[:-1]]}L"
    if text == "?":
        return "? is allowed only in the two fields of days, where it means `*`"
    word = nearest(text.lower(), map(str.lower, kind.names)) if text.isalpha() else None
    return f"did you mean {word.upper()}?" if word else ""


def _step(kind: Field, term: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) == 0:
        raise Refused(f"the step of {term} is not a number from 1")
    step = int(text)
    if step > kind.size:
        unit = kind.name.split(" ")[0]
        raise Refused(
            f"the step of {term} is larger than its field, so it would fire only at the first {unit}; write that "
            f'{unit}, or a duration such as every("{step}{UNITS[unit]}")'
        )
    return step


UNITS = {"minute": "m", "hour": "h", "day": "d", "month": "d"}


def _special_day(term: str) -> DayRule | None:
    if match := re.fullmatch(r"L(?:-([0-9]{1,2}))?", term):
        before = int(match[1] or 0)
        if before > 30:
            raise Refused(f"{term} is before the first day of every month; give L-1 to L-30")
        return partial(_is_before_last, before)
    if term == "LW":
        return _is_last_weekday
    if match := re.fullmatch(r"([0-9]{1,2})W", term):
        return partial(_is_nearest_weekday, _number(DAY, match[1]))
    if term.startswith("L") or "W" in term:
        raise Refused(f"{term} is not a day; L, L-3, LW and 15W are allowed alone or in a list, without range or step")
    return None


def _special_weekday(term: str) -> DayRule | None:
    if match := re.fullmatch(r"([0-7])L", term):
        return partial(_is_last_such_weekday, int(match[1]) % SUNDAY)
    if "#" in term:
        which, _, nth = term.partition("#")
        if not re.fullmatch(r"[1-5]", nth):
            raise Refused(f"{term}: the number after # must be 1 to 5, the week of the month")
        return partial(_is_nth_weekday, _number(WEEKDAY, which) % SUNDAY, int(nth))
    return None


def _length(day: date) -> int:
    return monthrange(day.year, day.month)[1]


def _is_before_last(before: int, day: date) -> bool:
    return day.day == _length(day) - before


def _is_last_weekday(day: date) -> bool:
    """Whether `day` is the last day of its month from Monday to Friday."""
    return day == _weekday_near(day.replace(day=_length(day)))


def _is_nearest_weekday(number: int, day: date) -> bool:
    """Whether `day` is the day from Monday to Friday nearest to day `number`, within the month."""
    return number <= _length(day) and day == _weekday_near(day.replace(day=number))


def _weekday_near(day: date) -> date:
    if day.isoweekday() == 6:
        return day - timedelta(days=1) if day.day > 1 else day + timedelta(days=2)
    if day.isoweekday() == SUNDAY:
        return day + timedelta(days=1) if day.day < _length(day) else day - timedelta(days=2)
    return day


def _is_last_such_weekday(number: int, day: date) -> bool:
    return day.isoweekday() % SUNDAY == number and day.day + 7 > _length(day)


def _is_nth_weekday(number: int, nth: int, day: date) -> bool:
    return day.isoweekday() % SUNDAY == number and (day.day - 1) // 7 + 1 == nth
