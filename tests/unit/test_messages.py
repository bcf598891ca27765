"""What is not JSON is refused when it is enqueued, in a sentence, and not changed on the way."""

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
