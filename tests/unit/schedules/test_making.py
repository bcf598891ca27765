"""Zones that come with the expression, and hints that do not lead into the next error."""

import re

import pytest

from horae.cli.options import instant_of, when_of
from horae.clock import parse_instant
from horae.errors import InvalidSchedule, UsageError
from horae.schedules.kinds import Schedule, wall_zone
from horae.schedules.making import any_of, at, cron, every, parse_schedule, schedule_from


def test_a_crontab_may_name_the_zone() -> None:
    expected = cron("0 2 * * *", "Europe/Berlin")
    assert cron("CRON_TZ=Europe/Berlin 0 2 * * *") == cron("TZ=Europe/Berlin 0 2 * * *", "Europe/Berlin") == expected
    assert parse_schedule(cron="CRON_TZ=Europe/Berlin 0 2 * * *") == expected
    with pytest.raises(InvalidSchedule, match="names the time zone Europe/Berlin, but tz='UTC' is another"):
        cron("CRON_TZ=Europe/Berlin 0 2 * * *", "UTC")


def test_the_zone_whose_wall_clock_a_schedule_goes_by() -> None:
    berlin, cairo = cron("0 2 * * *", "Europe/Berlin"), cron("0 2 * * *", "Africa/Cairo")
    assert wall_zone(berlin) == wall_zone(any_of(berlin, cron("0 5 * * *", "Europe/Berlin"))) == "Europe/Berlin"
    assert wall_zone(any_of(berlin, cairo)) is wall_zone(any_of(berlin, every("1h"))) is wall_zone(None) is None


@pytest.mark.parametrize("text", ["2027-01-01", "2027-01-01T02:00", "20270101", "2027-W01-1"])
def test_the_hint_for_an_instant_without_a_zone_can_be_read(text: str) -> None:
    with pytest.raises(UsageError, match="has no time zone; write ") as refused:
        instant_of("--at", text)
    hints = re.search(r"write (\S+) or (\S+);", str(refused.value))
    assert hints
    assert parse_instant(hints[1]) > parse_instant(hints[2])


def test_nothing_is_no_instant() -> None:
    with pytest.raises(UsageError, match="--at: '' is not an instant"):
        instant_of("--at", "")


@pytest.mark.parametrize(("text", "says"), [("24", "write 24h or 24d"), ("09:00", r"write \d{4}-\d\d-\d\dT09:00Z")])
def test_since_when(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        when_of("--since", text)


@pytest.mark.parametrize(
    "schedule",
    [
        cron("*/5 2 * * MON-FRI", "Europe/Berlin"),
        cron("@daily"),
        every("1h30m"),
        every("90d", anchor="2026-11-24T10:20:00.5Z"),
        at("2026-12-01T02:00:00Z", "2027-01-01T00:00:00.25Z"),
        any_of(cron("0 2 * * *"), every("7s"), at("2026-12-01T02:00:00Z")),
    ],
    ids=str,
)
def test_the_text_of_a_schedule_is_read_back(schedule: Schedule) -> None:
    assert schedule_from(str(schedule)) == schedule


@pytest.mark.parametrize("text", ["", "weekly", "cron", "every", "at soon", "cron 0 2 * * *"])
def test_no_other_text_is(text: str) -> None:
    with pytest.raises(InvalidSchedule):
        schedule_from(text)
