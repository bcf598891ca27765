"""Instants at the edges of the calendar are refused where they come in."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from horae import at, every
from horae.clock import in_utc, parse_instant
from horae.errors import InvalidSchedule, UsageError
from horae.scheduler.options import due_of, instant_of

AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-14)))
BEFORE = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))


@pytest.mark.parametrize("instant", [AFTER, BEFORE], ids=["after", "before"])
@pytest.mark.parametrize(
    ("takes", "error"),
    [
        (in_utc, ValueError),
        (lambda instant: parse_instant(instant.isoformat()), ValueError),
        (at, InvalidSchedule),
        (lambda instant: every(seconds=30, anchor=instant), InvalidSchedule),
        (instant_of, UsageError),
        (lambda instant: due_of({"schedule_time": instant.isoformat()}), UsageError),
    ],
    ids=["in_utc", "parse_instant", "at", "every", "enqueue at", "schedule_time"],
)
def test_an_instant_that_has_no_year_in_utc_is_refused(
    takes: Callable[[datetime], object], error: type[Exception], instant: datetime
) -> None:
    with pytest.raises(error, match="year"):
        takes(instant)


def test_the_first_and_the_last_instant_are_taken() -> None:
    for instant in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        assert in_utc(instant) == instant
