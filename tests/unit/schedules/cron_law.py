"""The definition of the cron dialect by brute force, apart from the code that it judges, and expressions to try."""

from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from horae.schedules.zones import zone_names

MINUTE = timedelta(minutes=1)
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
DAY_FORMS = ("L", "L-3", "LW", "1W", "15W", "31W")
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
KNOWN_JUMPS = (
    ("Australia/Lord_Howe", 2026),  # half an hour
    ("America/Sao_Paulo", 2018),  # at midnight
    ("Africa/Cairo", 2024),  # at midnight, both ways
    ("Asia/Beirut", 2024),
    ("America/St_Johns", 1990),  # at one past midnight: the new day begins twice
    ("Pacific/Apia", 2011),  # a whole day is left out
    ("Antarctica/Troll", 2026),  # two hours
    ("Africa/Casablanca", 2026),  # back for Ramadan
    ("Europe/Dublin", 2026),  # winter is the exception
    ("America/New_York", 2026),
)


@dataclass(frozen=True)
class Law:
    """An expression and, from what it was made of, what it means."""

    text: str
    values: tuple[frozenset[int], ...]
    """Of the five fields; of the day fields without the special forms."""
    special: str | None = None
    """`L`, `L-3`, `LW`, `15W`, `1#2` or `5L`, instead of a day field."""

    @property
    def follows_real_time(self) -> bool:
        return any(part.startswith("*") for part in self.text.split()[:2])

    def fires_on(self, day: date, length: int) -> bool:
        _, _, days, months, weekdays = self.values
        if day.month not in months:
            return False
        by_day = day.day in days or self._special_day(day, length)
        number = day.isoweekday() % 7
        by_weekday = number in {value % 7 for value in weekdays} or self._special_weekday(number, day.day, length)
        _, _, one, _, other = self.text.split()
        if one.startswith("*") or other.startswith("*"):
            return by_day and by_weekday
        return by_day or by_weekday

    def _special_day(self, day: date, length: int) -> bool:
        """Of the days of its month the one that is meant, found by counting."""
        if self.special is None or "#" in self.special or self.special == "5L":
            return False
        if self.special.startswith("L-") or self.special == "L":
            return day.day == length - int(self.special[2:] or 0)
        wanted = length if self.special == "LW" else int(self.special[:-1])
        working = [number for number in range(1, length + 1) if day.replace(day=number).weekday() < 5]
        return wanted <= length and day.day == min(working, key=lambda number: abs(number - wanted))

    def _special_weekday(self, number: int, day: int, length: int) -> bool:
        if self.special is None or not ("#" in self.special or self.special == "5L"):
            return False
        if self.special.endswith("L"):
            return number == int(self.special[0]) and day + 7 > length
        wanted, nth = self.special.split("#")
        return number == int(wanted) and (day - 1) // 7 + 1 == int(nth)

    def matches(self, wall: datetime) -> bool:
        if wall.minute not in self.values[0] or wall.hour not in self.values[1]:
            return False
        return self.fires_on(wall.date(), monthrange(wall.year, wall.month)[1])

    def fires(self, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
        """Every fire from `start` to `end`, where the zone's offsets are whole minutes, by looking at each minute."""
        shown = [(instant, instant.astimezone(zone).replace(tzinfo=None, fold=0)) for instant in minutes(start, end)]
        if self.follows_real_time:
            return [instant for instant, wall in shown if self.matches(wall)]
        first: dict[datetime, datetime] = {}
        for instant, wall in shown:
            first.setdefault(wall, instant)
        found = set()
        for wall in minutes(shown[0][1], shown[-1][1]):
            if self.matches(wall):
                found.add(first.get(wall) or next(instant for instant, seen in shown if seen > wall))
        return sorted(found)


def minutes(start: datetime, end: datetime) -> Iterator[datetime]:
    while start <= end:
        yield start
        start += MINUTE


@st.composite
def fields(draw: st.DrawFn, place: int, *, star: bool) -> tuple[str, frozenset[int]]:
    """A field: text and values."""
    low, high = RANGES[place]
    everything = range(low, high + 1)
    plain = ["list", "range", "one"]
    kind = draw(st.sampled_from(["*", "step", "from", "lone", *plain] if star else plain))
    if kind == "*":
        return "*", frozenset(everything)
    if kind == "step":
        step = draw(st.integers(2, min(20, len(everything))))  # a larger one is refused
        return f"*/{step}", frozenset(everything[::step])
    numbers = sorted(draw(st.sets(st.integers(low, high), min_size=2, max_size=4)))
    if kind == "list":
        return ",".join(map(str, numbers)), frozenset(numbers)
    if kind == "range":
        step = draw(st.integers(1, 5))
        text = f"{numbers[0]}-{numbers[-1]}" + (f"/{step}" if step > 1 else "")
        return text, frozenset(range(numbers[0], numbers[-1] + 1, step))
    if kind == "lone":  # a range of one value, with a step that leads nowhere
        return f"{numbers[0]}-{numbers[0]}/{draw(st.integers(1, 7))}", frozenset(numbers[:1])
    if kind == "from":
        return f"{numbers[0]}/7", frozenset(range(numbers[0], high + 1, 7))
    named = DAYS[numbers[0] % 7] if place == 4 and draw(st.booleans()) else str(numbers[0])
    return named, frozenset(numbers[:1])


@st.composite
def laws(draw: st.DrawFn, *, specials: bool = True, day_forms: Sequence[str] = DAY_FORMS) -> Law:
    """Any expression of the dialect; it may never fire."""
    parts = [draw(fields(0, star=True)), draw(fields(1, star=True))]
    for place in (2, 3, 4):
        low, high = RANGES[place]
        everything = ("*", frozenset(range(low, high + 1)))
        parts.append(draw(st.one_of(st.just(everything), fields(place, star=True))))
    special = draw(st.sampled_from([None, None, *day_forms, "1#2", "3#5", "5L"])) if specials else None
    if special:
        place = 2 if special in DAY_FORMS else 4
        parts[place] = (special, frozenset())
    return Law(" ".join(text for text, _ in parts), tuple(values for _, values in parts), special)


@st.composite
def years_of_zones(draw: st.DrawFn) -> tuple[str, int]:
    """A zone and a year; offsets are whole minutes everywhere since 1973."""
    anywhere = st.tuples(st.sampled_from(sorted(zone_names())), st.integers(1973, 2040))
    return draw(st.one_of(st.sampled_from(KNOWN_JUMPS), anywhere))


def year(number: int) -> tuple[datetime, datetime]:
    return datetime(number, 1, 1, tzinfo=UTC), datetime(number + 1, 1, 1, tzinfo=UTC)
