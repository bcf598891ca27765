"""The cron dialect: against its definition at every kind of clock jump, and what it refuses."""

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise

import pytest
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from horae.errors import InvalidSchedule
from horae.schedules.expression import first_after, read
from horae.schedules.shortest_gap import shortest_gap
from horae.schedules.zones import transitions, zone, zone_names
from tests.unit.schedules.cron_law import Law, laws, year, years_of_zones


def examples(count: int) -> settings:
    """The same examples on each run, however slow the machine."""
    return settings(derandomize=True, database=None, deadline=None, max_examples=count)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(expr: str, tz: str, start: str, count: int) -> list[str]:
    found = [utc(start)]
    for _ in range(count):
        following = first_after(read(expr), zone(tz), found[-1])
        assert following is not None
        found.append(following)
    return [instant.isoformat()[:16] for instant in found[1:]]


@examples(150)
@given(law=laws(), where=years_of_zones(), data=st.data())
def test_fires_as_the_law_says_around_every_jump(law: Law, where: tuple[str, int], data: st.DataObject) -> None:
    place = zone(where[0])
    jumps = list(transitions(place, *year(where[1])))
    assume(jumps)
    jump = data.draw(st.sampled_from(jumps))
    # Its time and day fields are moved to where the clock jumps, or next to no example would fire there.
    walls = [(jump.at + offset).replace(tzinfo=None) for offset in (jump.before, jump.after)]
    law = data.draw(st.sampled_from([law, _moved(law, data.draw(st.sampled_from(walls)))]))
    try:
        expression = read(law.text)
    except InvalidSchedule:  # that it never fires; the test of gaps holds it to that
        return
    edge = abs(jump.shift) + timedelta(hours=3)
    expected = law.fires(place, jump.at - edge, jump.at + edge)
    found, now = [], jump.at - edge - timedelta(microseconds=1)
    while (following := first_after(expression, place, now)) and following <= jump.at + edge:
        assert following > now
        found.append(following)
        now = following
    assert found == expected

    other = zone(data.draw(st.sampled_from(sorted(zone_names()))))
    for part in data.draw(st.lists(st.floats(0, 1), min_size=3, max_size=3)):
        now = (jump.at - edge + 2 * edge * part).astimezone(other)
        wanted = next((instant for instant in expected if instant > now), None)
        if wanted:
            assert first_after(expression, place, now) == wanted


def _moved(law: Law, wall: datetime) -> Law:
    """The same minutes, on every day in the hour of the jump and the ones beside it."""
    hours = frozenset((wall.hour + more) % 24 for more in (-1, 0, 1))
    texts = law.text.split()[0], ",".join(map(str, sorted(hours))), "*", "*", "*"
    everyday = frozenset(range(1, 32)), frozenset(range(1, 13)), frozenset(range(8))
    return Law(" ".join(texts), (law.values[0], hours, *everyday))


def _kind(day: date) -> tuple[int, int, int, int]:
    """All that an expression can know of a day."""
    return day.month, day.day, day.weekday(), monthrange(day.year, day.month)[1]


ALL_DAYS = [date.fromordinal(number) for number in range(date(2000, 1, 1).toordinal(), date(2400, 1, 1).toordinal())]
CYCLE = [_kind(day) for day in ALL_DAYS]
KINDS = {kind: (day, kind[3]) for kind, day in zip(CYCLE, ALL_DAYS, strict=True)}


@examples(12)
@given(some=st.lists(laws(), min_size=1, max_size=2))
def test_the_shortest_gap_is_that_of_a_walk_over_400_years(some: list[Law]) -> None:
    fired = []
    for law in some:
        minutes = sorted(hour * 60 + minute for hour in law.values[1] for minute in law.values[0])
        kinds = {kind for kind, (day, length) in KINDS.items() if law.fires_on(day, length)}
        fired.append((minutes, {place for place, kind in enumerate(CYCLE) if kind in kinds}))
    for law, (_, days) in zip(some, fired, strict=True):
        if not days:
            with pytest.raises(InvalidSchedule, match="can never fire"):
                read(law.text)
            return
    brute, before = [], None
    times = {}
    every_day = sorted(set().union(*(days for _, days in fired)))
    for place in [*every_day, every_day[0] + len(CYCLE)]:
        mask = tuple(place % len(CYCLE) in days for _, days in fired)
        if mask not in times:
            times[mask] = sorted({m for (minutes, _), on in zip(fired, mask, strict=True) if on for m in minutes})
            brute += [later - earlier for earlier, later in pairwise(times[mask])]
        if before is not None:
            brute.append(place * 1440 + times[mask][0] - before)
        before = place * 1440 + times[mask][-1]
    assert shortest_gap(*(law.text for law in some)) == timedelta(minutes=min(brute))


@pytest.mark.parametrize(
    ("expr", "gap"),
    [
        ("0 2 * * *", timedelta(days=1)),
        ("*/7 * * * *", timedelta(minutes=4)),
        ("0 0 1 * *", timedelta(days=28)),
        ("0 0 29 2 *", timedelta(days=1461)),
        ("59 23 31 12 *", timedelta(days=365)),
        ("0,1 0 1 * 1", timedelta(minutes=1)),
        ("0 0 1 * 1", timedelta(days=1)),
        ("0 0 L * *", timedelta(days=28)),
    ],
)
def test_shortest_gaps(expr: str, gap: timedelta) -> None:
    assert shortest_gap(expr) == gap


def test_new_year_is_a_minute_after_the_old_one() -> None:
    assert shortest_gap("59 23 31 12 *", "0 0 1 1 *") == timedelta(minutes=1)


def test_what_falls_into_the_spring_gap_fires_right_after_it() -> None:
    assert fires("30 2 * * *", "America/New_York", "2026-03-08T00:00", 2) == ["2026-03-08T07:00", "2026-03-09T06:30"]


def test_what_falls_into_the_autumn_fold_fires_once() -> None:
    assert fires("30 1 * * *", "America/New_York", "2026-11-01T00:00", 2) == ["2026-11-01T05:30", "2026-11-02T06:30"]


def test_in_the_second_pass_of_a_fold_nothing_of_the_first_is_fired_again() -> None:
    assert fires("45 1 * * *", "America/New_York", "2026-11-01T06:30", 1) == ["2026-11-02T06:45"]


def test_a_leading_star_follows_real_time() -> None:
    assert fires("30 * * * *", "America/New_York", "2026-11-01T05:00", 2) == ["2026-11-01T05:30", "2026-11-01T06:30"]
    assert fires("30 * * * *", "America/New_York", "2026-03-08T06:00", 2) == ["2026-03-08T06:30", "2026-03-08T07:30"]
    assert fires("*/20 2 * * *", "America/New_York", "2026-03-08T00:00", 1) == ["2026-03-09T06:00"]


def test_a_gap_that_ends_within_a_minute_fires_at_its_end() -> None:
    """Monrovia went from -0:44:30 to 0 at midnight, 7 January 1972."""
    assert first_after(read("20 0 * * *"), zone("Africa/Monrovia"), utc("1972-01-07T00:00:00")) == utc(
        "1972-01-07T00:44:30"
    )


def test_nothing_fires_after_the_last_year() -> None:
    assert first_after(read("0 0 1 1 *"), zone("UTC"), utc("9999-06-01T00:00")) is None


def test_macros_names_case_and_spaces_are_one_spelling() -> None:
    assert read("@weekly").text == "0 0 * * 0"
    assert read(" 0  2 * jan mon-fri ").text == "0 2 * JAN MON-FRI"


@examples(200)
@given(law=laws(specials=False), seconds=st.integers(0, 10**9))
def test_equals_cronsim_in_utc(law: Law, seconds: int) -> None:
    assume(not re.search(r"(\d+)-\1/", law.text))  # cronsim reads a range of one value as a lone number
    now = utc("2000-01-01T00:00:00") + timedelta(seconds=seconds)
    try:
        expression = read(law.text)
    except InvalidSchedule:
        return
    theirs = CronSim(law.text, now)
    for expected in islice(theirs, 5):
        following = first_after(expression, zone("UTC"), now)
        assert following == expected
        now = expected


def test_a_range_of_one_value_stays_one_value_under_a_step() -> None:
    assert fires("0 0 * * 5-5/1", "UTC", "2026-11-26T00:00", 2) == ["2026-11-27T00:00", "2026-12-04T00:00"]


@pytest.mark.parametrize(
    ("expr", "same"),
    [
        ("0 0 * march saturday-sunday", "0 0 * MAR SAT-SUN"),
        ("0 0 ? * ?", "0 0 * * *"),
        ("0 0 1 * ?", "0 0 1 * *"),
    ],
)
def test_what_other_crons_spell_differently_is_one_spelling(expr: str, same: str) -> None:
    assert read(expr).text == same


def test_a_week_that_ends_on_sunday() -> None:
    assert fires("0 0 * * sat-sun", "UTC", "2026-11-26T00:00", 2) == ["2026-11-28T00:00", "2026-11-29T00:00"]


def test_days_that_are_counted_from_the_end_or_moved_to_a_weekday() -> None:
    assert fires("0 0 L-3 * *", "UTC", "2026-11-26T00:00", 2) == ["2026-11-27T00:00", "2026-12-28T00:00"]
    # 15 August 2026 is a Saturday, 1 August too: that one moves on, since it may not leave its month.
    assert fires("0 0 15W 8 *", "UTC", "2026-01-01T00:00", 1) == ["2026-08-14T00:00"]
    assert fires("0 0 1W 8 *", "UTC", "2026-01-01T00:00", 1) == ["2026-08-03T00:00"]


@pytest.mark.parametrize(
    ("expr", "says"),
    [
        ("0 25 * * *", r"hour '25' cannot be read; give 0-23"),
        ("60 * * * *", r"minute '60' cannot be read; give 0-59"),
        ("* * * * MNO", r"day of week 'MNO' cannot be read \(did you mean MON\?\)"),
        ("0 0 1 JANU *", r"month 'JANU' cannot be read \(did you mean JAN\?\)"),
        ("0 0 30 2 *", "can never fire"),
        ("0 0 */10 2 MON#5", "can never fire"),
        ("*/5 * * * * *", r'has 6 fields. Cron has no fields for seconds and years.*every\("30s"\)'),
        ("0 2 * *", "has 4 fields; write five"),
        ("", "has 0 fields"),
        ("@dayly", "is not one of @hourly, @daily"),
        ("@reboot", "run_on_start"),
        ("@every 5m", r'write every\("5m"\)'),
        ("*/90 * * * *", r'larger than its field.*every\("90m"\)'),
        ("0/120 * * * *", r'larger than its field.*every\("120m"\)'),
        ("0 */36 * * *", r'larger than its field.*every\("36h"\)'),
        ("0 0 */32 * *", "larger than its field"),
        ("0 0 1 */13 *", "larger than its field"),
        ("0 0 * * */9", "larger than its field"),
        ("0 0 L/2 * *", "L/2 is not a day"),
        ("0 0 LW/3 * *", "LW/3 is not a day"),
        ("0 0 L-31 * *", "give L-1 to L-30"),
        ("0 0 * * 1#02", "the number after # must be 1 to 5"),
        ("0 0 * * 1#6", "the number after # must be 1 to 5"),
        ("0 0 * * FRIL", "for the last Fri of a month write 5L"),
        ("0 0 * * fri-mon", "write FRI-SUN,MON"),
        ("0 0 * * 6-0", "write 6-7"),
        ("0 5-3 * * *", "write 5-23,0-3"),
        ("? 0 * * *", "only in the two fields of days"),
        ("0 2 * * * root", "has no command and no user"),
        ("TZ=UTC 0 2 * * *", "Give a time zone separately"),
        ("0 0 1,,2 * *", "day of month '1,,2' cannot be read"),
        ("0 0 * * 1-", "day of week '1-' cannot be read"),
    ],
)
def test_refuses_with_the_way_out(expr: str, says: str) -> None:
    with pytest.raises(InvalidSchedule, match=says):
        read(expr)


@pytest.mark.parametrize(
    ("name", "best"),
    [("Europe/Berln", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin"), ("Berlin", "Europe/Berlin"),
     ("new york", "America/New_York")],
)  # fmt: skip
def test_an_unknown_zone_is_refused_with_the_nearest(name: str, best: str) -> None:
    with pytest.raises(InvalidSchedule, match=f"unknown time zone {name!r}, did you mean {best!r}"):
        zone(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("GMT+2", "'Etc/GMT-2' is 2 h ahead of UTC"),
        ("UTC-5", "'Etc/GMT\\+5' is 5 h behind UTC"),
        ("+02:00", "'Etc/GMT-2' is 2 h ahead of UTC"),
        ("UTC+5:30", "It is an offset"),
        ("CEST", "used in Europe/Berlin"),
        ("PST", "used in America/Los_Angeles"),
    ],
)
def test_an_offset_or_abbreviation_is_not_taken_for_a_zone_that_is_hours_off(name: str, says: str) -> None:
    with pytest.raises(InvalidSchedule, match=says):
        zone(name)


@pytest.mark.parametrize("name", ["../UTC", "America", "/etc/localtime", ""])
def test_a_path_is_no_zone(name: str) -> None:
    with pytest.raises(InvalidSchedule, match="unknown time zone"):
        zone(name)


def test_every_zone_there_is_can_be_read_from_the_pinned_data() -> None:
    assert len(zone_names()) > 590
    for name in zone_names():
        assert zone(name).key == name
