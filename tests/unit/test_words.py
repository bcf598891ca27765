"""How states, durations and instants are said to people."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from horae.jobs.policies import Tier
from horae.reasons import Reason
from horae.runs import Cause, Event, Run, State
from horae.words import colour_of, offset, relative, roughly, state_words, took

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "reason", "note", "words"),
    [
        (State.RUNNING, None, "", "running"),
        (State.SKIPPED, Reason.OVERLAP, "", "skipped: overlap"),
        (State.SKIPPED, Reason.DUPLICATE, "0199-a", "skipped: duplicate of 0199-a"),
        (State.FAILED, Reason.KILLED_ITS_PROCESS, "3", "failed: killed its process 3 times"),
    ],
)
def test_a_state_is_said_with_its_reason(state: State, reason: Reason | None, note: str, words: str) -> None:
    run = Run(run_id="r", job="j", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, state=state, reason=reason, note=note)
    assert state_words(run) == words


def test_every_state_has_a_colour() -> None:
    assert colour_of(State.FAILED) == "red"
    assert colour_of(State.QUEUED) == colour_of(State.PENDING) == "cyan"


def test_durations_are_said_in_two_units() -> None:
    assert [took(seconds) for seconds in (None, 0.012, 2.34, 75)] == ["", "12 ms", "2.3 s", "1 min"]
    assert [offset(seconds) for seconds in (0, 1.5, 75)] == ["0.000 s", "1.500 s", "1 min"]
    spans = (timedelta(seconds=59), timedelta(hours=7, minutes=5), timedelta(days=3, hours=2, minutes=9))
    assert [roughly(span) for span in spans] == ["59 s", "7 h 5 min", "3 d 2 h"]


def test_an_instant_is_before_or_after_now() -> None:
    assert relative(NOON + timedelta(minutes=12), NOON) == "in 12 min"
    assert relative(NOON - timedelta(minutes=12), NOON) == "12 min ago"


def test_a_run_that_waits_for_its_time_says_it() -> None:
    at = datetime(2099, 12, 1, 2, tzinfo=UTC)
    run = Run(run_id="r", job="j", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, state=State.PENDING)
    waiting = replace(run, not_before=at)
    assert state_words(waiting) == "pending, due 2099-12-01T02:00:00Z"
    assert state_words(replace(waiting, state=State.RETRYING)) == "retrying, due 2099-12-01T02:00:00Z"
    assert state_words(replace(waiting, state=State.RUNNING)) == "running"


def test_a_run_whose_job_no_worker_knows_says_so() -> None:
    run = Run(run_id="r", job="j", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, state=State.PENDING, not_before=NOON)
    back = Event(at=NOON, what="handed back", generation=1, note="queue-worker@host:1 does not know the job")
    published = Event(at=NOON, what="published", generation=2)
    for story in ((back,), (back, published)):
        assert state_words(replace(run, story=story)).startswith("pending: no running worker knows the job")
    claimed = Event(at=NOON, what="claimed", generation=2, note="w")
    assert state_words(replace(run, state=State.RUNNING, story=(back, published, claimed))) == "running"
    drained = replace(back, note="draining")
    assert "knows" not in state_words(replace(run, story=(drained,)))
