"""Dead letters: which are replayed and when, which are raised, and that no replay loop can come of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from horae import Cause, Job, Run, State, Tier
from horae.messages import Message
from horae.reasons import Reason
from horae.runs import Failure
from horae.store.values import DeadLetter
from internal._dlq.letters import COUNT, Letter, letter_of, replays_of
from internal._dlq.planning import RAISED, Fate, History, judge, plan, rests
from internal._dlq.raising import grouped, unraised
from internal._dlq.settings import DlqSettings, Rule

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
OWN = DlqSettings()
RUNNING: Callable[[str], bool] = lambda name: False  # noqa: E731
PROVEN = History(proven=True)


def letter(number: int = 1, **fields: Any) -> Letter:
    defaults: dict[str, Any] = {
        "run_id": f"r{number}",
        "job": "backup",
        "at": NOON - timedelta(hours=1) + timedelta(seconds=number),
        "reason": "raised",
        "error": "ConnectionError",
        "says": "refused",
        "replays": 0,
    }
    return Letter(**(defaults | fields))


def job(*, idempotent: bool = True) -> Job:
    return Job(name="backup", tier=Tier.ONEIRIC, idempotent=idempotent, function=copy)


def copy(*, source: str = ".") -> None:
    """Copy."""


def replay_run(state: State, *, ended: timedelta | None = None, ago: timedelta = timedelta(0), count: Any = 1) -> Run:
    metadata = {"replays": "old"} | ({} if count is None else {COUNT: count})
    return Run(
        run_id=f"{state}{ended}{ago}",
        job="backup",
        tier=Tier.ONEIRIC,
        cause=Cause.REPLAY,
        state=state,
        accepted_at=NOON - ago,
        ended_at=NOON - ended if ended is not None else None,
        metadata=metadata,
    )


class TestJudge:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({}, Fate.WAITS),
            ({"error": "ValueError"}, Fate.NOT_TRANSIENT),
            ({"error": ""}, Fate.NOT_TRANSIENT),
            ({"replays": 2}, Fate.WAITS),
            ({"replays": 3}, Fate.EXHAUSTED),
            ({"job": ""}, Fate.NO_MESSAGE),
            ({"refused": "unknown context key"}, Fate.REFUSED),
        ],
    )
    def test_a_letter_is_replayed_only_by_a_rule_and_so_often(self, fields: dict[str, Any], expected: Fate) -> None:
        assert judge(letter(**fields), job(), OWN) is expected

    def test_a_job_that_is_not_idempotent_needs_a_rule_that_says_so(self) -> None:
        assert judge(letter(), job(idempotent=False), OWN) is Fate.NOT_IDEMPOTENT
        brave = DlqSettings(rules=(Rule(jobs=("back*",), not_idempotent_too=True),))
        assert judge(letter(), job(idempotent=False), brave) is Fate.WAITS

    def test_a_job_that_is_gone_is_raised(self) -> None:
        assert judge(letter(), None, OWN) is Fate.NO_JOB

    def test_a_rule_holds_only_as_a_whole(self) -> None:
        own = DlqSettings(rules=(Rule(jobs=("back*",), errors=("OSError",), reasons=("raised",), says="disk"),))
        full = letter(error="OSError", says="the disk is full")
        assert judge(full, job(), own) is Fate.WAITS
        changes: list[dict[str, Any]] = [{"error": "KeyError"}, {"reason": "timed out"}, {"says": "no such file"}]
        for other in changes:
            assert judge(letter(1, **({"error": "OSError", "says": "disk"} | other)), job(), own) is Fate.NOT_TRANSIENT

    def test_nothing_is_replayed_when_the_most_is_zero(self) -> None:
        assert judge(letter(), job(), DlqSettings(most_each=0)) is Fate.EXHAUSTED


class TestLetter:
    def test_a_letter_keeps_no_payload(self) -> None:
        message = Message(job="backup", run_id="r1", context={"source": "x" * 1000}, metadata={COUNT: 2})
        failure = Failure(type="OSError", message="m" * 1000)
        found = DeadLetter(
            run_id="r1", job="backup", at=NOON, message=message, body="", reason=Reason.RAISED, failure=failure
        )
        small = letter_of(found, {"backup": job()})
        assert (small.replays, len(small.says), small.refused) == (2, 500, "")
        assert small.cause == "backup: raised OSError"

    def test_a_body_that_is_no_message_is_one(self) -> None:
        found = DeadLetter(
            run_id="r1",
            job="backup",
            at=NOON,
            message=None,
            body="{",
            reason=Reason.INVALID_MESSAGE,
            note="no JSON",
            failure=None,
        )
        assert letter_of(found, {}).cause == "(no message): invalid message"

    def test_a_context_that_the_job_no_longer_takes_is_seen(self) -> None:
        message = Message(job="backup", run_id="r1", context={"sources": "."})
        found = DeadLetter(
            run_id="r1", job="backup", at=NOON, message=message, body="", reason=Reason.RAISED, failure=None
        )
        assert "did you mean 'source'" in letter_of(found, {"backup": job()}).refused

    @pytest.mark.parametrize("count", ["2", -1, True, 1.5, None, [1]])
    def test_a_count_that_is_none_counts_as_many(self, count: Any) -> None:
        assert replays_of({COUNT: count}) > OWN.most_each
        assert replays_of({}) == 0


class TestHistory:
    def test_replays_by_hand_do_not_count(self) -> None:
        runs = [replay_run(State.FAILED, ended=timedelta(minutes=1), count=None)]
        assert History.of(runs, NOON) == History()

    def test_the_replay_that_ended_last_says_how_it_goes(self) -> None:
        ran = replay_run(State.RAN, ended=timedelta(minutes=2), ago=timedelta(minutes=3))
        failed = replay_run(State.FAILED, ended=timedelta(minutes=1), ago=timedelta(minutes=4))
        assert History.of([ran, failed], NOON).failed_at == NOON - timedelta(minutes=1)
        assert History.of([ran], NOON).proven

    @pytest.mark.parametrize(
        ("since", "stopped"),
        [(timedelta(seconds=1799), True), (timedelta(seconds=1800), False)],
    )
    def test_a_failed_replay_stops_the_job_for_so_long(self, since: timedelta, stopped: bool) -> None:
        history = History.of([replay_run(State.FAILED, ended=since)], NOON)
        assert history.stopped(NOON, timedelta(seconds=OWN.stop_seconds)) is stopped

    @pytest.mark.parametrize(
        ("history", "room"),
        [
            (History(), 1),  # nobody knows yet whether it helps
            (History(unsettled=1), 0),
            (History(failed_at=NOON - timedelta(days=1)), 1),
            (PROVEN, 60),
            (History(proven=True, last_hour=59), 1),
            (History(proven=True, last_hour=60), 0),
            (History(last_hour=60), 0),
        ],
    )
    def test_one_is_tried_before_many_follow(self, history: History, room: int) -> None:
        assert history.room(OWN) == room


class TestPlan:
    def chosen(self, letters: list[Letter], history: History | None, own: DlqSettings = OWN, **more: Any) -> list[str]:
        judged = dict.fromkeys((one.run_id for one in letters), Fate.WAITS)
        known = {} if history is None else {"backup": history}
        found = plan(letters, judged, known, more.get("paused", RUNNING), own, NOON)
        assert [one.run_id for one in found.replay] == [run for run, fate in found.fates.items() if fate is Fate.REPLAY]
        self.fates = set(found.fates.values())
        return [one.run_id for one in found.replay]

    def test_the_oldest_comes_first_and_alone(self) -> None:
        assert self.chosen([letter(1), letter(2)], History()) == ["r1"]

    def test_many_follow_within_the_bounds(self) -> None:
        letters = [letter(number) for number in range(100)]
        assert len(self.chosen(letters, PROVEN)) == OWN.most_at_once
        assert len(self.chosen(letters, History(proven=True, last_hour=55))) == 5

    def test_after_a_failure_none_follows(self) -> None:
        assert self.chosen([letter(1), letter(2)], History(failed_at=NOON - timedelta(minutes=1))) == []
        assert self.fates == {Fate.STOPPED}

    def test_without_a_history_none_is_replayed(self) -> None:
        assert self.chosen([letter()], None) == []
        assert self.fates == {Fate.UNKNOWN_HISTORY}

    def test_a_paused_job_waits(self) -> None:
        assert self.chosen([letter()], PROVEN, paused=lambda name: True) == []
        assert self.fates == {Fate.PAUSED}

    @pytest.mark.parametrize(("replays", "seconds"), [(0, 300), (1, 600), (2, 1200)])
    def test_each_replay_doubles_the_rest(self, replays: int, seconds: int) -> None:
        died = NOON - timedelta(seconds=seconds)
        assert not rests(letter(at=died, replays=replays), OWN, NOON)
        assert rests(letter(at=died + timedelta(milliseconds=1), replays=replays), OWN, NOON)


class TestRaising:
    def test_letters_with_one_cause_are_one_group_and_raised_once(self) -> None:
        letters = [letter(number, error="ValueError", says=f"bad {number}") for number in range(9)]
        fates = dict.fromkeys((one.run_id for one in letters), Fate.NOT_TRANSIENT)
        groups = grouped(letters, fates)
        [news], marks = unraised(groups, {}, [])
        assert (
            news.text == "9 dead letters, backup: raised ValueError (no rule classifies its error as transient): bad 8"
        )
        assert unraised(groups, marks, []) == ([], marks)
        one_more = [*letters, letter(10, error="ValueError")]
        more = grouped(one_more, {**fates, "r10": Fate.NOT_TRANSIENT})
        assert len(unraised(more, marks, [])[0]) == 1

    def test_a_stopped_job_is_raised_once_however_often_it_is_tried(self) -> None:
        marks: dict[str, int] = {}
        raised = 0
        for number in range(5):  # each try that fails leaves a newer letter; in between none is stopped
            for fate in (Fate.STOPPED, Fate.WAITS):
                groups = grouped([letter(number)], {f"r{number}": fate})
                news, marks = unraised(groups, marks, [])
                raised += len(news)
        assert raised == 1
        _, marks = unraised([], marks, ["backup"])  # a replay ran
        assert len(unraised(grouped([letter(9)], {"r9": Fate.STOPPED}), marks, [])[0]) == 1

    def test_only_what_a_person_must_look_at_is_raised(self) -> None:
        for fate in Fate:
            assert bool(unraised(grouped([letter()], {"r1": fate}), {}, [])[0]) is (fate in RAISED)

    def test_however_many_causes_there_are_the_marks_stay_few(self) -> None:
        import json

        letters = [letter(number, error=f"Error{number}") for number in range(5000)]
        fates = dict.fromkeys((one.run_id for one in letters), Fate.NOT_TRANSIENT)
        marks: dict[str, int] = {}
        for _ in range(5):
            news, marks = unraised(grouped(letters, fates), marks, [])
        assert news == []
        assert len(json.dumps(marks)) < 8_000

    def test_the_event_of_a_group_has_one_id(self) -> None:
        [group] = grouped([letter()], {"r1": Fate.EXHAUSTED})
        assert group.event("horae")["id"] == group.event("horae")["id"]
        assert group.event("horae")["event"] == "horae.dead_letters.raised"


def test_settings_refuse_an_unknown_key_of_a_rule() -> None:
    with pytest.raises(ValidationError, match="error"):
        DlqSettings.model_validate({"rules": [{"error": ["OSError"]}]})
