"""Where Prefect's engine fires differently: our copy of it against Prefect itself, and the sentences on it."""

import asyncio
import os
import re
import subprocess
import sys
import warnings
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from time import perf_counter
from typing import Protocol

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from horae.errors import InvalidSchedule
from horae.prefect.cron_differences import differences
from horae.prefect.cron_engine import NoEngine, module, never_fires, refusal, walk
from horae.prefect.cron_engine import fires as prefect_fires
from horae.schedules.expression import first_after, read
from horae.schedules.zones import transitions, zone
from tests.unit.schedules.cron_law import Law, laws, year, years_of_zones

START, END = datetime(2026, 9, 1, tzinfo=UTC), datetime(2027, 9, 1, tzinfo=UTC)
AHEAD = 40
EXAMPLES = int(os.environ.get("LAW_EXAMPLES", "40"))


class Engine(Protocol):
    def __call__(
        self, expr: str, tz: str, start: datetime, end: datetime | None, *, day_or: bool = True
    ) -> list[datetime]:
        """The fires from `start` to `end`, both inclusive; without an end the next `AHEAD`."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Prefect's own CronSchedule, on the pinned zones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Prefect's imports are not ours to judge
        from prefect.server.schemas.schedules import CronSchedule
    import whenever

    def ask(expr: str, tz: str, start: datetime, end: datetime | None, *, day_or: bool = True) -> list[datetime]:
        schedule = CronSchedule(cron=expr, timezone=tz, day_or=day_or)
        found = asyncio.run(schedule.get_dates(n=1000 if end else AHEAD, start=start, end=end))
        return [date.astimezone(UTC) for date in found]

    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=())
    whenever.reset_tzpath(())
    zoneinfo.ZoneInfo.clear_cache()
    whenever.clear_tzcache()
    yield ask
    zoneinfo.reset_tzpath(to=before)
    whenever.reset_tzpath(before)
    zoneinfo.ZoneInfo.clear_cache()
    whenever.clear_tzcache()


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(law=laws(day_forms=("L",)), where=years_of_zones(), part=st.floats(-1, 1))
def test_equals_prefect_itself_around_every_jump(engine: Engine, law: Law, where: tuple[str, int], part: float) -> None:
    jumps = list(transitions(zone(where[0]), *year(where[1])))
    assume(jumps)
    try:
        read(law.text)
        differences(law.text, where[0], START, START)
    except InvalidSchedule:
        assume(False)
    start = jumps[0].at - timedelta(hours=5) + timedelta(hours=5) * part
    end = jumps[0].at + timedelta(hours=5)
    try:
        expected = engine(law.text, where[0], start, end)
    except ValueError as error:
        assume("failed to find next date" not in str(error))  # its search gives up on a rare date
        refused = differences(law.text, where[0], START, START)
        assert "Prefect refuses" in str(refused[0])
        return
    assert prefect_fires(law.text, where[0], start, end) == expected


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """What people write, and what they should not: steps beyond the field, a star in a list, days that are rare."""
    parts = []
    for low, high in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7)):
        number = st.integers(low, high).map(str)
        step = st.integers(1, 2 * high + 2).map(str)
        one = st.one_of(
            st.just("*"),
            st.just("*"),
            number,
            st.builds("*/{}".format, step),
            st.builds("{}/{}".format, number, step),
            st.builds("{}-{}/{}".format, number, number, step),
            st.builds("{}-{}".format, number, number),
        )
        parts.append(",".join(draw(st.lists(one, min_size=1, max_size=3))))
    return " ".join(parts)


@settings(derandomize=True, database=None, deadline=None, max_examples=EXAMPLES)
@given(expr=expressions(), where=years_of_zones(), minutes=st.integers(0, 525_000), day_or=st.booleans())
def test_equals_prefect_itself_for_whatever_is_written(
    engine: Engine, expr: str, where: tuple[str, int], minutes: int, day_or: bool
) -> None:
    """The next forty fires from anywhere in a year; or the refusal, or the search that is given up."""
    start = year(where[1])[0] + timedelta(minutes=minutes)
    try:
        expected = engine(expr, where[0], start, None, day_or=day_or)
    except ValueError as error:
        if "failed to find next date" in str(error):
            wall = start.astimezone(zone(where[0])).replace(tzinfo=None, fold=0) - timedelta(seconds=1)
            assert len(list(islice(walk(expr, wall, day_or=day_or), AHEAD))) < AHEAD
        else:
            assert refusal(expr)
        return
    assert not refusal(expr)
    assert prefect_fires(expr, where[0], start, max(expected), day_or=day_or) == expected


@settings(derandomize=True, database=None, deadline=None, max_examples=EXAMPLES // 2)
@given(expr=expressions(), where=years_of_zones())
def test_something_is_said_exactly_where_they_differ_within_half_a_year(expr: str, where: tuple[str, int]) -> None:
    minute, _, rest = expr.partition(" ")
    # Once or twice an hour, or the walk takes a minute; stars in lists stay in the other fields.
    text = f"{int(minute.strip('*/')) % 60 if minute.strip('*/').isdecimal() else '7'} {rest}"
    try:
        expression = read(text)
    except InvalidSchedule:
        return  # Horae has nothing to differ from
    place, start = zone(where[0]), year(where[1])[0]
    end = start + timedelta(days=180)
    said = differences(text, where[0], start, end)
    if refusal(text) or never_fires(text, start.astimezone(place).replace(tzinfo=None)):
        assert "never fires" in str(said[0])
        return
    ours, now = set(), start
    while (following := first_after(expression, place, now)) and following <= end:
        ours.add(following)
        now = following
    theirs = {fire for fire in prefect_fires(text, where[0], start, end) if fire > start}
    assert bool(said) == (ours != theirs), said


@settings(derandomize=True, database=None, deadline=None, max_examples=15)
@given(law=laws(specials=False), where=years_of_zones())
def test_beyond_what_is_said_both_agree(law: Law, where: tuple[str, int]) -> None:
    """Over three months with a jump in them, hour by hour at the most."""
    text = f"{min(law.values[0])} {law.text.split()[1]} * * {law.text.split()[4]}"
    assume(not text.split()[4].endswith("/7"))
    assume(not re.search(r"(\d+)-\1/", text))  # Prefect reads a range of one value as a lone number
    jumps = list(transitions(zone(where[0]), *year(where[1])))
    assume(jumps)
    start, end = jumps[0].at - timedelta(days=45), jumps[0].at + timedelta(days=45)
    said = differences(text, where[0], start, end)
    expression, place = read(text), zone(where[0])
    ours, now = set(), start
    while (following := first_after(expression, place, now)) and following <= end:
        ours.add(following)
        now = following
    theirs = {fire for fire in prefect_fires(text, where[0], start, end) if fire > start}
    assert sorted(ours - theirs) == sorted(fire for item in said for fire in item.ours)
    assert sorted(theirs - ours) == sorted(fire for item in said for fire in item.theirs)


@pytest.mark.parametrize(
    ("expr", "tz", "says"),
    [
        (
            "30 2 * * *",
            "America/New_York",
            "2027-03-14 (America/New_York, clocks go forward by 1 h): "
            "Prefect fires at 03:30-04:00 instead of 03:00-04:00",
        ),
        (
            "0 * * * *",
            "America/New_York",
            "2026-11-01 (America/New_York, clocks go back by 1 h): Prefect does not fire at 01:00-05:00",
        ),
        (
            "*/30 * * * *",
            "Australia/Lord_Howe",
            "2027-04-04 (Australia/Lord_Howe, clocks go back by 30 min): Prefect does not fire at 01:30+10:30",
        ),
        (
            "15,30,45 2 * * *",
            "Europe/Berlin",
            "2027-03-28 (Europe/Berlin, clocks go forward by 1 h): "
            "Prefect fires at 03:15+02:00, 03:30+02:00, 03:45+02:00 instead of 03:00+02:00",
        ),
    ],
)
def test_says_how(expr: str, tz: str, says: str) -> None:
    assert [str(item) for item in differences(expr, tz, START, END)] == [says]


@pytest.mark.parametrize(
    ("expr", "says"),
    [
        ("0 0 */2 * 1", "also fires on"),
        ("0 0 * * 1/2", "does not fire on 52 days, the first 2026-09-06"),
        ("0 0 1,15,30 * *", "does not fire on 2027-03-01"),
        ("0 0 */5 * *", "does not fire on 2027-03-01"),
        ("0 23/3 * * *", "fires at other times on 366 days, the first 2026-09-01"),
    ],
)
def test_names_the_days_on_which_the_fields_are_read_differently(expr: str, says: str) -> None:
    (found,) = differences(expr, "UTC", START, END)
    assert f"Prefect reads the fields of {expr!r} differently: it {says}" in str(found)


def test_a_search_that_prefect_gives_up_is_said() -> None:
    """Mondays in February, or a 31st that there never is: Prefect looks for the latter alone, and raises each time."""
    (found,) = differences("0 0 31 2 1", "UTC", START, END)
    assert "finds no date for '0 0 31 2 1'" in str(found)


@pytest.mark.parametrize("expr", ["5,* * * * *", "*,5 0 * * *", "0 5,* * * *", "0 0 5,* * *"])
def test_a_star_in_a_list_is_read(expr: str) -> None:
    assert differences(expr, "UTC", START, END) == []


def test_prefect_itself_is_not_imported() -> None:
    code = "import sys; from horae.prefect import cron_engine as e; e.module(); sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_prefect_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    module.cache_clear()
    with pytest.raises(NoEngine, match=r"Prefect is not installed.*install horae\[prefect\]"):
        differences("0 2 * * *", "UTC", START, END)


def test_what_prefect_refuses_is_said() -> None:
    (found,) = differences("0 0 * * 5L", "UTC", START, END)
    assert str(found).startswith("Prefect refuses '0 0 * * 5L'")


@pytest.mark.parametrize("expr", ["0 2 * * *", "0 6 * * 1", "0 9-17 * * MON-FRI", "0 0 L * *"])
def test_nothing_is_said_where_nothing_differs(expr: str) -> None:
    assert differences(expr, "UTC", START, END) == []


def test_a_year_takes_a_fraction_of_a_second() -> None:
    differences("0 2 * * *", "UTC", START, END)  # what is read once
    begin = perf_counter()
    for hour in range(5):
        differences(f"*/5 {hour} * * 1-5", "Europe/Berlin", START, END)
    assert perf_counter() - begin < 1
