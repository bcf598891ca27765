"""Schedules: what they fire, what they are called, and what they refuse."""

import pickle
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horae.errors import InvalidSchedule
from horae.schedules.durations import format_duration, parse_duration
from horae.schedules.kinds import Schedule
from horae.schedules.making import any_of, at, cron, every, parse_schedule


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def examples(count: int) -> settings:
    """The same examples on each run, however slow the machine."""
    return settings(derandomize=True, database=None, deadline=None, max_examples=count)


instants = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
intervals = st.integers(1000, 90 * 86_400_000).map(lambda millis: timedelta(milliseconds=millis))


def test_every_is_aligned_to_the_epoch() -> None:
    assert every("30s").next_after(utc("2026-11-24T10:00:07.5")) == utc("2026-11-24T10:00:30")
    assert every("1h").next_after(utc("2026-11-24T10:00:00")) == utc("2026-11-24T11:00:00")


def test_an_anchor_moves_it_in_both_directions() -> None:
    schedule = every(hours=1, anchor="2026-11-24T10:20:00Z")
    assert schedule.next_after(utc("2026-11-24T10:20:00")) == utc("2026-11-24T11:20:00")
    assert schedule.next_after(utc("2026-11-23T00:00:00")) == utc("2026-11-23T00:20:00")
    assert schedule == every("1h", anchor=utc("1999-01-01T05:20:00"))


@examples(100)
@given(interval=intervals, anchor=instants, now=instants)
def test_the_next_of_every_is_after_now_and_no_further_than_the_interval(
    interval: timedelta, anchor: datetime, now: datetime
) -> None:
    anchor = anchor.replace(microsecond=anchor.microsecond // 1000 * 1000)
    found = every(interval, anchor=anchor).next_after(now)
    assert found is not None
    assert now < found <= now + interval
    assert (found - anchor) % interval == timedelta(0)


@examples(100)
@given(interval=intervals)
def test_a_duration_is_read_as_it_is_written(interval: timedelta) -> None:
    assert parse_duration(format_duration(interval)) == interval


def test_at_fires_once_at_each_of_its_instants() -> None:
    schedule = at("2026-12-01T03:00:00+01:00", utc("2026-12-24T00:00:00"), "2026-12-01T02:00:00Z")
    first, second = utc("2026-12-01T02:00:00"), utc("2026-12-24T00:00:00")
    assert schedule.next_after(utc("2026-01-01")) == first
    assert schedule.next_after(first - timedelta(microseconds=1)) == first
    assert schedule.next_after(first) == second
    assert schedule.next_after(second) is None
    assert schedule.shortest_gap() == second - first
    assert at(first).shortest_gap() is None


def test_a_union_fires_whenever_one_of_them_does_and_once_where_both_do() -> None:
    union = any_of(cron("0 2 * * *"), every("12h"))
    found = [utc("2026-11-23T13:00:00")]
    for _ in range(3):
        following = union.next_after(found[-1])
        assert following is not None
        found.append(following)
    assert found[1:] == [utc("2026-11-24T00:00:00"), utc("2026-11-24T02:00:00"), utc("2026-11-24T12:00:00")]
    both = any_of(every("2h"), cron("0 */4 * * *"))
    assert both.next_after(utc("2026-11-24T00:00:00")) == utc("2026-11-24T02:00:00")


def test_a_union_is_the_same_in_any_order_and_flat() -> None:
    one, other, third = cron("0 2 * * *"), every("1h"), at("2026-12-01T02:00:00Z")
    assert any_of(one, any_of(other, third)) == any_of(third, other, one, one)
    assert any_of(one, cron("0  2 * * *")) == one


@pytest.mark.parametrize(
    ("members", "gap"),
    [
        ((cron("59 23 31 12 *"), cron("0 0 1 1 *")), timedelta(minutes=1)),
        ((every("2h"), every("3h")), timedelta(hours=1)),
        ((every("1h"), every("1h", anchor="2026-01-01T00:10:00Z")), timedelta(minutes=10)),
        ((every("1h"), every("4h")), timedelta(hours=1)),
        ((at("2026-01-01T00:01:00Z"), every("7m", anchor="2026-01-01T00:04:00Z")), timedelta(minutes=3)),
        ((at("2026-01-01T00:01:00Z"), cron("0 0 1 1 *")), timedelta(minutes=1)),
        ((at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:09Z")), timedelta(seconds=9)),
        ((cron("0 2 * * *"), cron("0 2 * * *", "Asia/Kolkata")), timedelta(hours=5, minutes=30)),
        ((cron("5 2 * * *"), every("1h")), timedelta(minutes=5)),
    ],
)
def test_the_shortest_gap_of_a_union(members: tuple[Schedule, ...], gap: timedelta) -> None:
    assert any_of(*members).shortest_gap() == gap


@examples(40)
@given(
    parts=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 29)), min_size=2, max_size=2),
)
def test_the_gap_of_two_intervals_is_that_of_a_walk(parts: list[tuple[int, int]]) -> None:
    (one, other) = parts
    union = any_of(
        *(every(minutes=length, anchor=utc("2026-01-01") + timedelta(minutes=ahead)) for length, ahead in (one, other))
    )
    fires = sorted(
        {(number * length) + ahead % length for length, ahead in (one, other) for number in range(2 * 900 // length)}
    )
    fires = [fire for fire in fires if fire <= 1770]
    assert union.shortest_gap() == timedelta(minutes=min(later - earlier for earlier, later in pairwise(fires)))


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (cron("@daily", "Europe/Berlin"), "cron 0 0 * * * Europe/Berlin"),
        (every(seconds=90), "every 1m30s"),
        (every("1h", anchor="2026-01-01T00:20:00Z"), "every 1h from 1970-01-01T00:20:00Z"),
        (at("2026-12-01T03:00:00+01:00"), "at 2026-12-01T02:00:00Z"),
        (any_of(every("1h"), cron("0 2 * * *")), "cron 0 2 * * * UTC or every 1h"),
    ],
)
def test_the_text_is_canonical_and_the_value_travels(schedule: Schedule, text: str) -> None:
    assert str(schedule) == text
    assert isinstance(schedule, Schedule)
    again = pickle.loads(pickle.dumps(schedule))
    assert (again, hash(again)) == (schedule, hash(schedule))
    now = utc("2026-11-01T00:00:00")
    elsewhere = now.astimezone(timezone(timedelta(hours=9)))
    assert again.next_after(elsewhere) == schedule.next_after(now)
    found = schedule.next_after(now)
    assert found is not None
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("make", "arguments", "options", "says"),
    [
        (every, ("0s",), {}, "every 0s: give an interval of one second to a hundred years"),
        (every, ("999ms",), {}, "one second"),
        (every, (timedelta(seconds=-5),), {}, "one second"),
        (every, (timedelta(seconds=1, microseconds=5),), {}, "in whole milliseconds"),
        (every, ("soon",), {}, "'soon' is not a duration; write a number and a unit s, m, h or d"),
        (every, (30,), {}, r'every\(30\) has no unit; write every\("30s"\)'),
        (every, (), {}, "one interval"),
        (every, ("30s",), {"seconds": 3}, "one interval"),
        (every, (), {"second": 3}, "unknown unit of every.* did you mean 'seconds'"),
        (every, (), {"days": 1e12}, "every"),
        (every, ("1h",), {"anchor": datetime(2026, 1, 1)}, "has no time zone"),  # noqa: DTZ001
        (at, (datetime(2026, 1, 1),), {}, "has no time zone"),  # noqa: DTZ001
        (at, ("2026-12-01T02:00:00",), {}, "has no time zone; write 2026-12-01T02:00:00Z"),
        (at, ("tomorrow",), {}, "'tomorrow' is not an instant; write"),
        (at, (5,), {}, "5 is not an instant"),
        (at, (), {}, "needs an instant"),
        (at, ("2026-12-01T02:00:00.0005Z",), {}, "in whole milliseconds"),
        (cron, (5,), {}, "give two texts"),
        (cron, ("0 2 * * *", "Europe/Berln"), {}, "did you mean 'Europe/Berlin'"),
        (any_of, (), {}, "needs a schedule"),
        (parse_schedule, (), {}, "no schedule: give exactly one of --cron"),
        (parse_schedule, (), {"cron": "0 2 * * *", "every": "1h"}, "--cron and --every together: give exactly one of"),
        (parse_schedule, (), {"every": "1h", "tz": "UTC"}, "--tz UTC needs --cron"),
    ],
)
def test_refuses_with_the_way_out(make: Any, arguments: tuple[Any, ...], options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidSchedule, match=says):
        make(*arguments, **options)


@pytest.mark.parametrize("schedule", [cron("0 2 * * *"), every("1h"), at("2026-12-01T02:00:00Z")])
def test_a_naive_now_is_refused(schedule: Schedule) -> None:
    with pytest.raises(InvalidSchedule, match="has no time zone"):
        schedule.next_after(datetime(2026, 1, 1))  # noqa: DTZ001


def test_flags_name_one_schedule() -> None:
    assert parse_schedule(cron="0 2 * * *", tz="Europe/Berlin") == cron("0 2 * * *", "Europe/Berlin")
    assert parse_schedule(cron="0 2 * * *") == cron("0 2 * * *", "UTC")
    assert parse_schedule(every="30s") == every("30s")
    assert parse_schedule(at=["2026-12-01T02:00:00Z"]) == at("2026-12-01T02:00:00Z")
