"""The checker finds what is planted, names it, and passes what is clean."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from horae.jobs import Tier
from horae.runs import Cause, Event, Run, State
from tests.chaos.checker import DEATHS, Findings, check
from tests.chaos.fence import Entry
from tests.chaos.journal import Line, journal_of
from tests.chaos.plan import Blow, plan_of
from tests.chaos.record import STORE, Accepted, Hit, Record
from tests.chaos.verdicts import check_verdicts
from tests.chaos.violation import Fault, Violation
from tests.chaos.workload import TICK, How, Workload

BEGIN = datetime(2026, 12, 1, 2, 0, 0, 500_000, tzinfo=UTC)
"""Of the window, at which the monotonic clock stands at 0."""
JOBS = (TICK, Workload(name="work"), Workload(name="blocks", how=How.BLOCKING), Workload(name="alone", overlap="skip"))


class Told:
    """A journal and a record as a run would leave them, to plant something in."""

    def __init__(self, *, fires: int = 3) -> None:
        self.lines: list[Line] = []
        self.effects: list[Entry] = []
        self.record = Record(jobs=JOBS, window=(BEGIN, BEGIN + timedelta(seconds=fires)))
        self._token = 0
        for number in range(fires):
            self.attempt(f"fire-{number}", job="tick", at=number + 0.6, fire=number)

    def accept(self, run: str, job: str = "work") -> None:
        self.record.accepted.append(Accepted(run=run, job=job, at=0))

    def attempt(
        self,
        run: str,
        *,
        job: str = "work",
        number: int = 1,
        at: float = 1,
        seconds: float | None = 0.1,
        worker: str = "worker-1",
        effect: str = "done",
        fire: int | None = None,
        token: int | None = None,
    ) -> int:
        """`seconds`: None for one that has no end."""
        self._token = self._token + 1 if token is None else token
        due = (BEGIN.replace(microsecond=0) + timedelta(seconds=fire + 1)).isoformat() if fire is not None else None
        begin = Line(
            what="begin",
            job=job,
            run=run,
            scheduled_for=due,
            attempt=number,
            token=self._token,
            worker=worker,
            pid=1,
            at=at,
            wall=BEGIN.timestamp() + at,
        )
        self.lines.append(begin)
        self.effects.append(Entry(run=run, token=self._token, what="began"))
        if seconds is not None:
            self.lines.append(replace(begin, what="end", at=at + seconds, effect=effect))
            if effect in ("done", "refused"):
                self.effects.append(Entry(run=run, token=self._token, what=effect))
        return self._token

    def hit(self, blow: Blow, on: str, began: float, ended: float | None = None) -> None:
        self.record.hits.append(Hit(blow=blow, on=on, began=began, ended=began if ended is None else ended))

    def found(self) -> Findings:
        return check(journal_of(self.lines, self.effects), self.record)


def faults(told: Told) -> list[Fault]:
    return [violation.fault for violation in told.found().violations]


def test_a_clean_journal_passes() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a")
    found = told.found()
    assert (found.violations, found.fires, found.explained) == ([], 3, 0)


def test_a_planted_loss_is_found() -> None:
    told = Told()
    told.accept("a")
    assert faults(told) == [Fault.LOST]
    told.attempt("a", seconds=None)
    assert faults(told) == [Fault.LOST], "begun is not done"


def test_a_lost_fire_is_found() -> None:
    told = Told()
    told.lines = [line for line in told.lines if line.run != "fire-1" or line.what == "begin"]
    told.effects = [entry for entry in told.effects if entry.run != "fire-1" or entry.what == "began"]
    assert faults(told) == [Fault.LOST]


def test_a_planted_double_is_found() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a")
    told.attempt("a", number=2, at=1.5, worker="worker-2")
    assert faults(told) == [Fault.EXTRA]


@pytest.mark.parametrize(
    ("blow", "on", "began", "ended"),
    [
        (Blow.KILL_WORKER, "worker-2", 10.5, 10.5),  # another worker
        (Blow.KILL_SIDECAR, "sidecar-1", 10.5, 10.5),
        (Blow.CUT_FRONT_DOOR, "front door", 10.0, 12.0),
        (Blow.PAUSE_WORKER, "worker-1", 5.0, 8.9),  # long over
        (Blow.KILL_WORKER, "worker-1", 13.2, 13.2),  # long settled
        (Blow.RESTART_STORE, STORE, 17.0, 18.0),
    ],
)
def test_a_blow_that_did_not_hit_the_run_excuses_nothing(blow: Blow, on: str, began: float, ended: float) -> None:
    told = Told()
    told.accept("a")
    told.attempt("a", at=10, seconds=1)
    told.attempt("a", number=2, at=16, worker="worker-3")
    told.hit(blow, on, began, ended)
    assert faults(told) == [Fault.EXTRA]


@pytest.mark.parametrize(
    ("blow", "on", "began", "ended"),
    [
        (Blow.KILL_WORKER, "worker-1", 10.5, 10.5),
        (Blow.PAUSE_WORKER, "worker-1", 10.9, 15.0),
        (Blow.CUT_WORKER, "worker-1", 11.5, 15.0),  # it had ended, and could not settle
        (Blow.RESTART_STORE, STORE, 10.5, 14.0),
    ],
)
def test_a_blow_that_hit_the_run_explains_another(blow: Blow, on: str, began: float, ended: float) -> None:
    told = Told()
    told.accept("a")
    told.attempt("a", at=10, seconds=1)
    told.attempt("a", number=2, at=16, worker="worker-3")
    told.hit(blow, on, began, ended)
    found = told.found()
    assert (found.violations, found.explained) == ([], 1)


def test_a_job_that_blocks_its_worker_delays_the_settling_of_others() -> None:
    told = Told()
    for run, job in (("a", "work"), ("b", "blocks")):
        told.accept(run, job)
    told.attempt("b", job="blocks", at=10.2, seconds=9)
    told.attempt("a", at=10, seconds=1)
    told.attempt("a", number=2, at=25, worker="worker-3")
    told.hit(Blow.KILL_WORKER, "worker-1", 20)
    assert faults(told) == []


def test_a_retry_is_no_extra_run() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a", effect="raised")
    told.attempt("a", number=2, at=2)
    found = told.found()
    assert (found.violations, found.explained) == ([], 0)


def test_a_claim_that_never_began_needs_a_blow() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a", number=2, at=10)
    assert faults(told) == [Fault.SKIPPED_CLAIM]
    told.hit(Blow.KILL_WORKER, "worker-9", 5)
    assert (faults(told), told.found().gaps) == ([], 1)


def test_a_planted_missing_fire_is_found() -> None:
    told = Told()
    told.lines = [line for line in told.lines if line.run != "fire-1"]
    [violation] = told.found().violations
    assert (violation.fault, violation.job, violation.text) == (
        Fault.MISSING_FIRE,
        "tick",
        "2026-12-01T02:00:02+00:00",
    )


def test_a_fire_with_two_runs_is_found() -> None:
    told = Told()
    told.attempt("other", job="tick", at=1.7, fire=1)
    assert faults(told) == [Fault.TWICE]


def test_a_run_that_nobody_asked_for_is_found() -> None:
    told = Told()
    told.attempt("a")
    assert faults(told) == [Fault.STRAY]


def test_an_effect_under_an_overtaken_token_is_found() -> None:
    told = Told()
    told.accept("a")
    old = told.attempt("a", at=10, seconds=None)
    told.attempt("a", number=2, at=16, worker="worker-2")
    told.hit(Blow.PAUSE_WORKER, "worker-1", 10.1, 17)
    assert faults(told) == []
    told.effects.append(Entry(run="a", token=old, what="refused"))
    assert faults(told) == [], "what was refused did no harm"
    told.effects.append(Entry(run="a", token=old, what="done"))
    assert faults(told) == [Fault.TOKEN]


def test_a_token_that_two_claims_have_is_found() -> None:
    told = Told()
    told.accept("a")
    token = told.attempt("a", at=10, seconds=None)
    told.attempt("a", number=2, at=16, worker="worker-2", token=token)
    told.hit(Blow.KILL_WORKER, "worker-1", 10.1)
    assert set(faults(told)) == {Fault.TOKEN}


def test_a_token_that_does_not_grow_is_found() -> None:
    told = Told()
    told.accept("a")
    token = told.attempt("a", at=10, seconds=None)
    told.attempt("a", number=2, at=16, worker="worker-2", token=token - 100)
    told.hit(Blow.RESTART_STORE, STORE, 10.1, 12)
    assert Fault.TOKEN in faults(told)


def test_two_runs_of_a_job_that_runs_alone_are_found() -> None:
    told = Told()
    for run in ("a", "b"):
        told.accept(run, "alone")
    told.attempt("a", job="alone", at=10, seconds=2)
    told.attempt("b", job="alone", at=11, seconds=2, worker="worker-2")
    assert faults(told) == [Fault.OVERLAP]
    told.hit(Blow.PAUSE_WORKER, "worker-1", 10.5, 11.5)
    assert faults(told) == []


def given_up() -> Told:
    """A run that as many workers died with as the rule allows."""
    told = Told()
    told.accept("a")
    for number in range(1, DEATHS + 1):
        told.attempt("a", number=number, at=10.0 * number, seconds=None, worker=f"worker-{number}")
        told.hit(Blow.KILL_WORKER, f"worker-{number}", 10.0 * number + 1)
    return told


def test_a_run_that_outlived_too_many_workers_is_given_up_not_lost() -> None:
    found = given_up().found()
    assert (found.violations, found.given_up) == ([], {"a"})


def test_a_death_less_does_not_excuse_a_loss() -> None:
    told = given_up()
    told.lines = [line for line in told.lines if line.attempt < DEATHS]
    told.record.hits.pop()
    assert faults(told) == [Fault.LOST]


def test_the_times_to_redelivery_are_from_the_kill_to_the_next_beginning() -> None:
    assert given_up().found().redeliveries == [9.0] * (DEATHS - 1)


def test_a_late_redelivery_is_found_unless_more_than_the_kill_held_it_up() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a", at=10, seconds=None)
    told.attempt("a", number=2, at=21.5, worker="worker-2")
    told.hit(Blow.KILL_WORKER, "worker-1", 11)
    assert faults(told) == [Fault.LATE]
    told.hit(Blow.CUT_WORKER, "worker-2", 14, 15)
    assert faults(told) == []


def row(run: str = "a", state: State = State.RAN, **more: object) -> Run:
    return replace(
        Run(id=run, job="work", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, state=state, attempts=1),
        **more,  # type: ignore[arg-type] # fields of a row, by name
    )


def fires(*numbers: int) -> list[Run]:
    first = BEGIN.replace(microsecond=0)
    return [
        row(f"fire-{number}", job="tick", scheduled_for=first + timedelta(seconds=number + 1)) for number in numbers
    ]


def contradictions(told: Told, rows: list[Run]) -> list[str]:
    journal = journal_of(told.lines, told.effects)
    found: list[Violation] = list(check_verdicts(rows, journal, told.record, told.found()))
    assert all(violation.fault is Fault.VERDICT for violation in found)
    return [violation.text for violation in found]


def done() -> Told:
    told = Told()
    told.accept("a")
    told.attempt("a")
    return told


def test_one_verdict_each_that_the_journal_bears_out_passes() -> None:
    assert contradictions(done(), [row(), *fires(0, 1, 2)]) == []
    died = row(state=State.FAILED, reason="worker died", attempts=DEATHS)
    assert contradictions(given_up(), [died, *fires(0, 1, 2)]) == []


def settled_twice() -> Run:
    event = Event(at=BEGIN, what="settled", attempt=1)
    return row(story=(event, event))


@pytest.mark.parametrize(
    ("told", "rows", "text"),
    [
        (done, [], "accepted, and the ledger does not know it"),
        (done, [row(state=State.RUNNING)], "no verdict, it is running"),
        (done, [settled_twice()], "settled 2 times"),
        (
            done,
            [row(state=State.SKIPPED, reason="overlap")],
            "skipped: overlap, says the ledger, and it was begun 1 times",
        ),
        (done, [row(state=State.FAILED, reason="raised")], "failed: raised, says the ledger"),
        (done, [row(attempts=0)], "0 attempts, says the ledger, and the journal has attempt 1"),
        (given_up, [row(attempts=DEATHS)], "ran, says the ledger, and its effect was never done"),
    ],
)
def test_a_verdict_that_the_journal_contradicts_is_found(told: Callable[[], Told], rows: list[Run], text: str) -> None:
    assert text in contradictions(told(), [*rows, *fires(0, 1, 2)])


def test_a_fire_without_a_row_or_with_two_is_found() -> None:
    assert contradictions(done(), [row(), *fires(0, 2)]) == ["0 rows for 2026-12-01T02:00:02+00:00"]
    twin = replace(fires(1)[0], id="other", state=State.MISSED)
    assert contradictions(done(), [row(), twin, *fires(0, 1, 2)]) == ["2 rows for 2026-12-01T02:00:02+00:00"]


def test_the_same_seed_is_the_same_plan() -> None:
    def plan(seed: int) -> str:
        return plan_of(seed=seed, jobs=200, jobs_a_second=10, seconds_between_kills=1).as_json()

    assert plan(7) == plan(7)
    assert plan(7) != plan(8)
    assert all(blow.value in plan(7) for blow in Blow)
