"""A run's story as it is told: in order, with offsets, in its documented shape."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from horae.cli.dead.fates import all_well
from horae.cli.dead.letters import Selection
from horae.cli.following import json_line, line
from horae.cli.stories import draw
from horae.errors import UsageError
from horae.jobs.policies import Tier
from horae.messages import Message
from horae.reasons import Reason
from horae.runs import Cause, Event, Failure, Run, State, timeline
from horae.shapes.dead_letters import Fate, Outcome, fate_shape, letter_shape, whole_letter_shape
from horae.shapes.runs import run_shape, whole_run_shape
from horae.store.values import DeadLetter
from horae.words import offset
from tests.unit.cli.test_project_commands import documented

AT = datetime(2026, 3, 4, 2, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FAILURE = Failure(type="OSError", message="disk full", traceback="Traceback …\n  File x\nOSError: disk full")


def told(*lines: tuple[float, str, int, str]) -> tuple[Event, ...]:
    return tuple(
        Event(at=AT + at * SECOND, what=what, generation=attempt, note=note) for at, what, attempt, note in lines
    )


DURABLE = Run(
    run_id="0199-durable",
    job="backup",
    tier=Tier.ONEIRIC,
    cause=Cause.REPLAY,
    state=State.FAILED,
    reason=Reason.RAISED,
    attempts=2,
    accepted_at=AT,
    not_before=AT + 10 * SECOND,
    started_at=AT + 100 * SECOND,
    ended_at=AT + 103 * SECOND,
    worker="w2",
    provider="redis",
    context={"count": 3},
    metadata={"replays": "0199-old", "replay_reason": "disk is larger"},
    progress="half way",
    failure=FAILURE,
    story=told(
        (0, "accepted", 1, "replay of 0199-old"),
        (0.001, "published", 1, ""),
        (0.004, "claimed", 1, "w1"),
        (2, "retrying", 1, "raised"),
        (100, "claimed", 2, "w2"),
        (103, "settled", 2, "failed: raised"),
        (200, "replayed", 1, "as 0199-new"),
    ),
)
FLOW = Run(
    run_id="0199-flow",
    job="sweep",
    tier=Tier.PREFECT,
    cause=Cause.SCHEDULE,
    state=State.RAN,
    scheduled_for=AT,
    attempts=1,
    accepted_at=AT + 2 * SECOND,
    started_at=AT + SECOND,
    ended_at=AT + 9 * SECOND,
    worker="prefect",
    metadata={"flow_run": "f1", "name": "brave-bee"},
    story=told((2, "accepted", 1, "schedule"), (10, "settled", 1, "ran")),
)


def test_a_story_has_its_documented_shape() -> None:
    found = whole_run_shape(DURABLE)
    assert list(found) == [*run_shape(DURABLE), *documented("show")]
    assert (found["replays"], found["replayed_as"]) == ("0199-old", "0199-new")
    assert found["failure"]["traceback"] == FAILURE.traceback
    assert [event["offset_seconds"] for event in found["story"]] == [0, 0.001, 0.004, 2, 100, 103, 200]
    json.dumps(found)


def test_a_run_of_another_scheduler_began_and_ended_when_that_says() -> None:
    events = timeline(FLOW)
    assert [(event.what, (event.at - AT).total_seconds()) for event in events] == [
        ("began", 1),
        ("recorded", 2),
        ("settled", 9),
    ]
    assert timeline(DURABLE) == list(DURABLE.story)


def test_a_story_is_drawn_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    draw(DURABLE)
    shown = capsys.readouterr().out
    for expected in (
        "failed: raised",
        "The job raised an exception.",
        "3.0 s, 2 attempts",
        "2026-03-04T02:00:00.004000Z",
        "+0.004 s",
        "attempt 2  w2",
        "due           2026-03-04T02:00:10Z",
        "+1 min",
        "count = 3",
        "OSError: disk full",
        "File x",
        "0199-old",
        "0199-new",
        "disk is larger",
        "half way",
    ):
        assert expected in shown
    draw(FLOW)
    assert "brave-bee" in capsys.readouterr().out


def test_offsets_are_spoken() -> None:
    assert [offset(seconds) for seconds in (0, 1.5, 75)] == ["0.000 s", "1.500 s", "1 min"]


def test_a_change_is_a_line() -> None:
    assert json.loads(json_line(FLOW)) == run_shape(FLOW)
    assert "\n" not in json_line(DURABLE)
    assert line(FLOW).split() == ["2026-03-04T02:00:10Z", "sweep", "schedule", "ran", "8.0", "s", "0199-flow"]
    assert line(DURABLE).endswith("OSError: disk full")


LETTER = DeadLetter(
    run_id="0199-durable",
    job="backup",
    at=AT,
    message=Message(job="backup", run_id="0199-durable", context={"count": 3}),
    body="",
    reason=Reason.RAISED,
    failure=FAILURE,
)
BURIED = DeadLetter(
    run_id="0199-b", job="", at=AT, message=None, body="{", reason=Reason.INVALID_MESSAGE, note="not JSON", failure=None
)


@pytest.mark.parametrize("letter", [LETTER, BURIED])
def test_letters_have_their_documented_shape(letter: DeadLetter) -> None:
    assert list(letter_shape(letter)) == documented("dead list")
    assert (
        list(whole_letter_shape(letter, DURABLE))
        == list(whole_letter_shape(letter, None))
        == [*letter_shape(letter), *documented("dead show")]
    )
    json.dumps(whole_letter_shape(letter, DURABLE))


def test_a_letter_tells_its_payload_or_what_came() -> None:
    found = whole_letter_shape(LETTER, DURABLE)
    assert (found["message"]["context"], found["body"], found["attempts"]) == ({"count": 3}, None, 2)
    assert (whole_letter_shape(BURIED, None)["message"], whole_letter_shape(BURIED, None)["body"]) == (None, "{")


def test_a_fate_has_its_documented_shape() -> None:
    fate = Fate("0199-durable", "backup", Outcome.REPLAYED)
    assert list(fate_shape(fate)) == documented("dead replay")
    section = (Path(__file__).parents[3] / "docs/reference/json.md").read_text().partition("## horae dead replay")[2]
    assert all(f"`{outcome.value}`" in section for outcome in Outcome)
    assert all_well([fate])
    assert not all_well([fate, Fate("0199-b", "", Outcome.REFUSED)])


@pytest.mark.parametrize(("runs", "job", "every"), [((), None, False), (("a",), "b", False), (("a",), None, True)])
def test_letters_are_chosen_in_one_way(runs: tuple[str, ...], job: str | None, every: bool) -> None:
    with pytest.raises(UsageError, match="no dead letters selected"):
        Selection(run_ids=runs, job=job, all=every)
