"""One list of reasons, in Python and in the scripts of the store."""

import re

import pytest

from horae.reasons import Reason, worded
from horae.store.redis.scripts import FOLDER

QUOTED = r"'([^'\n]*)'"


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_is_read_as_it_was_written(reason: Reason) -> None:
    assert Reason.read(reason.value) == (reason, "")
    assert Reason.read(reason.value, "a: b") == (reason, "a: b")
    assert Reason.read(worded(reason, "a: b\n2 times")) == (reason, "a: b\n2 times")
    assert reason.sentence.endswith(".")


def test_rows_of_the_release_before_are_read() -> None:
    assert Reason.read("duplicate of 0199-a") == (Reason.DUPLICATE, "0199-a")
    assert Reason.read("killed its process 3 times") == (Reason.KILLED_ITS_PROCESS, "3")
    assert Reason.read("") == (None, "")
    assert Reason.read("out of paper") == (Reason.OTHER, "out of paper")


def test_the_words_for_people() -> None:
    assert worded(Reason.OVERLAP) == "overlap"
    assert worded(Reason.DUPLICATE, "0199-a") == "duplicate of 0199-a"
    assert worded(Reason.INVALID_MESSAGE, "job: Field required") == "invalid message: job: Field required"
    assert worded(None, "90 s late") == "90 s late"
    assert worded(None) == ""


def test_the_scripts_know_these_words_and_give_no_others() -> None:
    scripts = {path.name: path.read_text() for path in FOLDER.glob("*.lua")}
    table = re.search(r"local REASON = \{(.*?)\}", scripts["prelude.lua"], re.DOTALL)
    assert table
    words = dict(re.findall(rf"(\w+) = {QUOTED}", table[1]))
    assert set(words.values()) <= set(Reason)
    for name, text in scripts.items():
        assert set(re.findall(r"REASON\.(\w+)", text)) <= set(words), name
        # A literal reason beside a literal verdict.
        assert re.findall(rf"(?:settled|settle_run)\([^()]*'(?:failed|missed|skipped|cancelled)', {QUOTED}", text) == []


def test_the_scripts_have_the_same_phrases() -> None:
    prelude = (FOLDER / "prelude.lua").read_text()
    phrases = re.search(r"local PHRASES = \{(.*?)\}", prelude)
    assert phrases
    ours = {reason.phrase for reason in Reason if reason.phrase != f"{reason}: {{note}}"}
    assert {phrase.replace("%s", "{note}") for phrase in re.findall(rf"= {QUOTED}", phrases[1])} == ours
