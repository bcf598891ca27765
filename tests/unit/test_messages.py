"""What is not JSON is refused when it is enqueued, in a sentence, and not changed on the way."""

from datetime import UTC, datetime
from typing import Any

import pytest

from horae.errors import InvalidMessage, MessageTooLarge
from horae.messages import Message

LIMIT = 256 * 1024


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), "half a pair \ud800", nested(500), object()],
    ids=["nan", "inf", "half", "deep", "object"],
)
def test_a_context_that_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(InvalidMessage, match="copy-files"):
        Message(job="copy-files", context={"value": value}).encode(LIMIT)


@pytest.mark.parametrize("value", [10**400, {}, [], "NaN and Infinity", "\x00\U0001f40e", {"": {}}, 1e308], ids=repr)
def test_whatever_json_holds_comes_back_as_it_was(value: Any) -> None:
    body = Message(job="copy-files", context={"value": value}).encode(LIMIT)
    assert Message.decode(body, LIMIT).context == {"value": value}


def test_the_limit_is_the_last_size_that_is_taken() -> None:
    spare = LIMIT - len(Message(job="copy-files", run_id="r", context={"value": ""}).encode(LIMIT))
    Message(job="copy-files", run_id="r", context={"value": "x" * spare}).encode(LIMIT)
    with pytest.raises(MessageTooLarge):
        Message(job="copy-files", run_id="r", context={"value": "x" * (spare + 1)}).encode(LIMIT)


@pytest.mark.parametrize("levels", [190, 197, 198, 199, 200, 220, 250])
def test_what_is_written_can_be_read(levels: int) -> None:
    message = Message(job="copy-files", context={"value": nested(levels)})
    try:
        body = message.encode(LIMIT)
    except InvalidMessage:
        assert levels > 190
    else:
        assert Message.decode(body, LIMIT).context == message.context


@pytest.mark.parametrize("instant", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_an_instant_that_has_no_year_in_utc_is_refused(instant: str) -> None:
    with pytest.raises(InvalidMessage, match=r"scheduled_for: .*year"):
        Message.decode(b'{"job": "copy-files", "scheduled_for": "%s"}' % instant.encode(), LIMIT)


def test_an_instant_is_kept_in_utc() -> None:
    body = b'{"job": "copy-files", "scheduled_for": "2026-03-01T02:00:00+02:00"}'
    message = Message.decode(body, LIMIT)
    assert (message.scheduled_for, message.scheduled_for and message.scheduled_for.tzinfo) == (
        datetime(2026, 3, 1, tzinfo=UTC),
        UTC,
    )


def test_an_id_that_says_an_impossible_year_says_nothing() -> None:
    assert Message(job="copy-files", run_id="ffffffff-ffff-7fff-bfff-ffffffffffff").made_at is None
