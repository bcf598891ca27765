"""The signature of a message: what it covers, which keys are valid, and when the file of the keys is read."""

import json
import os
import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from horae.errors import InvalidSettings, MessageTooLarge
from horae.messages import SIGNATURE_BYTES, Message, Priority
from horae.signing import Signing, read_keys
from horae.store.rows import message_text

OLD, NEW, THIRD = "old-" * 8, "new-" * 8, "third" * 8
LIMIT = 64 * 1024
PAGE = Path(__file__).parents[2] / "docs/how-to/sign-messages.md"
MESSAGE = Message(
    job="backup",
    run_id="r1",
    scheduled_for=datetime(2026, 11, 1, tzinfo=UTC),
    context={"path": "/ä", "n": 1.5, "more": [None, True, 10**30]},
    metadata={"by": "me"},
)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"{OLD}\n")
    return path


def sent(message: Message) -> Message:
    """The message as a consumer reads it."""
    return Message.decode(message.encode(LIMIT), LIMIT)


def replaced(path: Path, *lines: str) -> None:
    """As an operator or Kubernetes does it: the file is another one afterwards."""
    other = path.with_suffix(".new")
    other.write_text("\n".join(lines))
    other.replace(path)


def test_what_is_signed_is_verified_after_the_way_over_a_broker(keys: Path) -> None:
    signing = Signing(keys)
    (signed,) = signing.sign([MESSAGE])
    assert signing.fault(sent(signed)) == ""
    assert signing.fault(sent(MESSAGE)) == "it has no signature"


@pytest.mark.parametrize(
    "change",
    [
        {"job": "restore"},
        {"run_id": "r2"},
        {"scheduled_for": None},
        {"scheduled_for": datetime(2026, 11, 2, tzinfo=UTC)},
        {"priority": Priority.HIGH},
        {"context": {"path": "/b"}},
        {"context": {}},
        {"metadata": {}},
        {"signature": "sha256:" + "0" * 64},
        {"signature": "ä"},
    ],
    ids=str,
)
def test_a_changed_message_is_refused(keys: Path, change: dict[str, Any]) -> None:
    signing = Signing(keys)
    (signed,) = signing.sign([MESSAGE])
    assert signing.fault(sent(signed.model_copy(update=change))) == "its signature fits no valid key"


def test_the_generation_is_not_covered(keys: Path) -> None:
    signing = Signing(keys)
    (signed,) = signing.sign([MESSAGE])
    assert signing.fault(sent(signed.model_copy(update={"generation": 7}))) == ""


def test_a_message_without_a_run_id_is_refused(keys: Path) -> None:
    signing = Signing(keys)
    (signed,) = signing.sign([Message(job="backup")])
    body = json.loads(signed.encode(LIMIT))
    del body["run"]
    assert "no run_id" in signing.fault(Message.decode(json.dumps(body).encode(), LIMIT))


def test_both_names_of_a_key_have_one_signature(keys: Path) -> None:
    signing = Signing(keys)
    (signed,) = signing.sign([MESSAGE.model_copy(update={"priority": Priority.LOW})])
    body = json.loads(signed.encode(LIMIT))
    body |= {"run_id": body.pop("run"), "priority": body.pop("lane"), "generation": 1}
    assert signing.fault(Message.decode(json.dumps(body).encode(), LIMIT)) == ""


def test_keys_rotate_without_a_new_start(keys: Path) -> None:
    signing = Signing(keys)
    (by_old,) = signing.sign([MESSAGE])
    replaced(keys, NEW, OLD)
    (by_new,) = signing.sign([MESSAGE])
    assert by_new.signature != by_old.signature
    assert [signing.fault(one) for one in (by_old, by_new)] == ["", ""]
    replaced(keys, NEW)
    assert [signing.fault(one) for one in (by_old, by_new)] == ["its signature fits no valid key", ""]


def test_a_file_of_the_same_size_written_in_place_is_read_again(keys: Path) -> None:
    signing = Signing(keys)
    (by_old,) = signing.sign([MESSAGE])
    keys.write_text(f"{NEW}\n")
    os.utime(keys, ns=(1, 1))
    assert signing.fault(by_old) == "its signature fits no valid key"


def test_while_the_file_cannot_be_used_the_keys_before_are(keys: Path, caplog: pytest.LogCaptureFixture) -> None:
    signing = Signing(keys)
    (signed,) = signing.sign([MESSAGE])
    emptied = keys.with_name("empty")
    emptied.touch()
    for break_it in (partial(emptied.replace, keys), keys.unlink):
        caplog.clear()
        break_it()
        assert [signing.fault(signed) for _ in range(3)] == ["", "", ""]
        assert [record.__dict__["action"] for record in caplog.records] == ["signing_keys_unusable"], "told once"
    keys.write_text(NEW)
    assert signing.fault(signed) == "its signature fits no valid key"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has 0 lines with a key"),
        (f"{OLD}\n{NEW}\n{THIRD}\n", "has 3 lines with a key"),
        (f"{OLD}\nshort-secret\n", "key 2 in .* has less than 32 characters"),
        (b"\xff" * 40, "cannot be read"),
    ],
)
def test_a_file_without_usable_keys_is_refused(tmp_path: Path, text: str | bytes, why: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidSettings, match=why) as refused:
        Signing(path)
    assert not any(key in str(refused.value) for key in (OLD, NEW, "short-secret"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="cannot be read"):
        read_keys(tmp_path / "none")


def test_the_store_keeps_no_signature(keys: Path) -> None:
    (signed,) = Signing(keys).sign([MESSAGE])
    assert message_text(signed) == message_text(MESSAGE)


@pytest.mark.parametrize("generation", [1, 10**9])
def test_a_message_at_the_limit_can_be_signed(keys: Path, generation: int) -> None:
    spare = LIMIT - len(Message(job="backup", run_id="r", context={"value": ""}).encode(LIMIT))
    largest = Message(job="backup", run_id="r", context={"value": "x" * spare})
    largest.encode(LIMIT)
    signing = Signing(keys)
    (signed,) = signing.sign([largest.model_copy(update={"generation": generation})])
    assert signing.fault(sent(signed)) == ""
    unsigned = MESSAGE.model_copy(update={"context": {"value": "x" * LIMIT}})
    with pytest.raises(MessageTooLarge):
        unsigned.encode(LIMIT)
    with pytest.raises(MessageTooLarge):
        Message.decode(b'{"job": "backup", "context": {"v": "%s"}}' % (b"x" * LIMIT), LIMIT)
    with pytest.raises(MessageTooLarge):
        Message.decode(signed.encode(LIMIT) + b" " * SIGNATURE_BYTES * 4, LIMIT)


def test_the_example_for_programs_makes_a_valid_signature(keys: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    context = {"pattern": "*.toml", "ä": [1, 2.5, None]}
    body = names["signed"]({"job": "file-audit", "run_id": "r1", "context": context}, keys)
    assert Signing(keys).fault(Message.decode(body, LIMIT)) == ""
