"""APScheduler's trigger arguments as our schedules."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from horae.apscheduler.triggers import schedule_of
from horae.errors import InvalidSchedule

NOW = datetime(2026, 3, 4, 10, 20, 30, tzinfo=UTC)  # a Wednesday


def following(trigger_type: str, **arguments: Any) -> str | None:
    found = schedule_of(trigger_type, **arguments).next_after(NOW)
    return found.isoformat() if found else None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"seconds": 30}, "2026-03-04T10:21:00+00:00"),
        ({"hours": 1, "minutes": 30}, "2026-03-04T10:30:00+00:00"),
        ({"seconds": 30, "start_date": "2026-03-05T00:00:07Z"}, "2026-03-05T00:00:07+00:00"),
        ({"days": 1, "end_date": "2026-03-04T12:00:00Z"}, None),
    ],
)
def test_interval(arguments: dict[str, Any], expected: str | None) -> None:
    assert following("interval", **arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"hour": "*"}, "2026-03-04T11:00:00+00:00"),
        ({"hour": "2", "minute": "0"}, "2026-03-05T02:00:00+00:00"),
        ({"minute": "*/15"}, "2026-03-04T10:30:00+00:00"),
        ({"day_of_week": "mon", "hour": 6}, "2026-03-09T06:00:00+00:00"),
        ({"day_of_week": "mon-fri"}, "2026-03-05T00:00:00+00:00"),
        ({"day": 1}, "2026-04-01T00:00:00+00:00"),
        ({"hour": 2, "timezone": "Europe/Berlin"}, "2026-03-05T01:00:00+00:00"),
        ({"minute": 0, "second": 0}, "2026-03-04T11:00:00+00:00"),
    ],
)
def test_cron_fills_finer_fields_like_apscheduler(arguments: dict[str, Any], expected: str) -> None:
    assert following("cron", **arguments) == expected


def test_date() -> None:
    assert following("date", run_date="2026-12-01T02:00:00Z") == "2026-12-01T02:00:00+00:00"
    berlin = {"run_date": datetime(2026, 12, 1, 2), "timezone": "Europe/Berlin"}  # noqa: DTZ001
    assert following("date", **berlin) == "2026-12-01T01:00:00+00:00"


def test_an_instant_finer_than_a_fire_is_taken_as_the_next_that_is_one() -> None:
    fine = NOW + timedelta(microseconds=1_001)
    assert following("date", run_date=fine) == (NOW + timedelta(milliseconds=2)).isoformat()
    assert following("interval", seconds=30, start_date=fine) == (NOW + timedelta(milliseconds=2)).isoformat()


GIVEN: tuple[dict[str, Any], ...] = (
    *({"year": "*"}, {"week": "*"}, {"month": "*"}, {"day": "*"}, {"minute": "*/7"}, {"second": 0}),
    *({"day_of_week": "fri-sun"}, {"hour": "9-17/2", "timezone": None}, {"year": "*", "hour": 3}),
)


@pytest.mark.parametrize("arguments", GIVEN)
def test_fields_that_are_not_given_are_as_in_apscheduler(arguments: dict[str, Any]) -> None:
    """A field finer than the finest given one is at its minimum: `year="*"` is 1 January, `week="*"` daily."""
    from apscheduler.triggers.cron import CronTrigger

    theirs = CronTrigger(**arguments | {"timezone": UTC})
    ours, now = schedule_of("cron", **arguments), datetime(2026, 11, 26, 10, 20, 30, tzinfo=UTC)
    for _ in range(20):
        expected = theirs.get_next_fire_time(None, now + timedelta(microseconds=1))
        assert ours.next_after(now) == expected
        now = expected


@pytest.mark.parametrize(
    ("trigger_type", "arguments", "said"),
    [
        ("intervall", {"seconds": 1}, "did you mean 'interval'"),
        ("interval", {}, "needs at least one of weeks, days"),
        ("interval", {"second": 3}, "did you mean 'seconds'"),
        ("cron", {"day_of_week": "0"}, "Write mon, tue"),
        ("cron", {"day_of_week": "1-5"}, "counts weekdays from Monday"),
        ("cron", {"day": 1, "day_of_week": "mon"}, "Give only one"),
        ("cron", {"second": "*/10"}, "use an interval trigger"),
        ("cron", {"year": 2027}, "which cron does not have"),
        ("cron", {}, "fires each second in APScheduler"),
        ("cron", {"hour": 2, "jitter": 30}, "a trigger takes no jitter"),
        ("interval", {"hours": 2, "jitter": 30}, "a trigger takes no jitter"),
        ("cron", {"day": "last"}, 'day="L"'),
        ("cron", {"day": "2nd fri"}, "FRI#2"),
        ("cron", {"hours": 3}, "did you mean 'hour'"),
        ("date", {}, "needs run_date"),
        ("date", {"run_date": "tomorrow"}, "not an instant"),
        ("date", {"run_date": "2026-12-01T02:00:00"}, "no time zone"),
    ],
)
def test_what_would_mean_something_else_is_refused(trigger_type: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSchedule, match=said):
        schedule_of(trigger_type, **arguments)


def test_the_shortest_gap_is_that_of_the_schedule_inside() -> None:
    bounded = schedule_of("interval", minutes=5, end_date="2027-01-01T00:00:00Z")
    assert bounded.shortest_gap() == timedelta(minutes=5)
