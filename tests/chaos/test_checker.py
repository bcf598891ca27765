"""The checker finds what is planted, names it, and passes what is clean."""

from dataclasses import replace

import pytest

from chaos.brokers import STORE_ITSELF
from chaos.checker import DEATHS
from chaos.fence import Entry
from chaos.plan import Blow, Plan, plan_of
from chaos.record import STORE
from chaos.told import Told, given_up
from chaos.violation import Fault
from chaos.workload import BEAT


def faults(told: Told) -> list[Fault]:
    return [violation.fault for violation in told.found().violations]


def test_a_clean_journal_passes() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a")
    found = told.found()
    assert (found.violations, found.fires, found.explained.total()) == ([], 3, 0)


def test_a_planted_loss_is_found() -> None:
    told = Told()
    told.accept("a")
    assert faults(told) == [Fault.LOST]
    told.attempt("a", seconds=None)
    assert faults(told) == [Fault.LOST], "begun is not done"


def test_a_lost_fire_is_found() -> None:
    told = Told()
    told.lines = [line for line in told.lines if line.run_id != "fire-1" or line.what == "begin"]
    told.effects = [entry for entry in told.effects if entry.run_id != "fire-1" or entry.what == "began"]
    assert faults(told) == [Fault.LOST]


def test_a_planted_double_is_found() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a")
    told.attempt("a", number=2, at=1.5, worker="worker-2")
    assert faults(told) == [Fault.EXTRA]


def test_a_double_without_any_blow_needs_no_sighting() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a", at=10)
    told.attempt("a", number=2, at=20, worker="worker-2")
    told.hit(Blow.KILL_WORKER, "worker-2", 15)
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
    told.busy("worker-1", since=9, until=14)
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
    assert (found.violations, found.explained) == ([], {blow: 1})


@pytest.mark.parametrize("killed_at", [11.5, 20.3])
def test_an_event_loop_that_is_not_seen_at_work_delays_the_settling(killed_at: float) -> None:
    """A job that blocks it, or holds the interpreter lock, or a machine that has no time for it."""
    told = Told()
    told.accept("a")
    told.attempt("a", at=10, seconds=1)
    told.attempt("a", number=2, at=25, worker="worker-3")
    told.busy("worker-1", since=9, until=11)
    told.busy("worker-1", since=20, until=24)
    told.hit(Blow.KILL_WORKER, "worker-1", killed_at)
    assert faults(told) == []
    told.record.hits[:] = [replace(told.record.hits[0], began=22.2, ended=22.2)]
    assert faults(told) == [Fault.EXTRA], "it had time enough to settle"


def test_a_claim_that_was_answered_late_was_hit_before_its_first_line() -> None:
    """The worker was cut off between the request and the answer, and slow to begin."""
    told = Told()
    told.accept("a")
    told.busy("worker-1", since=2, until=4)
    told.attempt("a", at=10, seconds=0.1)
    told.attempt("a", number=2, at=15, worker="worker-1")
    told.hit(Blow.CUT_WORKER, "worker-1", 4.2, 8.5)
    assert faults(told) == []
    told.busy("worker-1", since=8.6, until=10)
    assert faults(told) == [Fault.EXTRA]


def test_only_first_attempts_on_the_event_loop_are_sightings_of_it() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a", at=10, seconds=1)
    told.attempt("a", number=2, at=25, worker="worker-3")
    for number in range(20):
        for run, job, attempt in ((f"child {number}", "child", 1), (f"suspect {number}", "work", 2)):
            told.accept(run, job)
            told.attempt(run, job=job, number=attempt, at=11 + number / 5)
    told.hit(Blow.PAUSE_WORKER, "worker-1", 14.9, 18)
    assert Fault.EXTRA not in faults(told)


def test_a_retry_is_no_extra_run() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a", effect="raised")
    told.attempt("a", number=2, at=2)
    found = told.found()
    assert (found.violations, found.explained) == ([], {})


def test_a_claim_that_never_began_needs_a_blow() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a", number=2, at=10)
    assert faults(told) == [Fault.SKIPPED_CLAIM]
    told.hit(Blow.KILL_WORKER, "worker-9", 5)
    assert (faults(told), told.found().gaps) == ([], 1)


def test_a_planted_missing_fire_is_found() -> None:
    told = Told()
    told.lines = [line for line in told.lines if line.run_id != "fire-1"]
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
    told.effects.append(Entry(run_id="a", token=old, what="refused"))
    assert faults(told) == [], "what was refused did no harm"
    told.effects.append(Entry(run_id="a", token=old, what="done"))
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
    assert told.found().undisturbed == [10.5]
    told.hit(Blow.CUT_WORKER, "worker-2", 14, 15)
    assert faults(told) == []
    assert (told.found().redeliveries, told.found().undisturbed) == ([10.5], [])


def test_a_redelivery_does_not_count_the_time_in_which_a_job_blocked_the_fellow() -> None:
    told = Told()
    for run, job in (("a", "work"), ("b", "blocks")):
        told.accept(run, job)
    told.attempt("b", job="blocks", at=12, seconds=9, worker="worker-2")
    told.attempt("a", at=10, seconds=None)
    told.attempt("a", number=2, at=21.5, worker="worker-2")
    told.hit(Blow.KILL_WORKER, "worker-1", 11)
    assert faults(told) == []
    assert told.found().undisturbed == [1.5]


@pytest.mark.parametrize("blow", [Blow.STEP_WORKER, Blow.LOSE_KEY])
def test_a_wrong_clock_and_a_lost_key_explain_no_repeat(blow: Blow) -> None:
    told = Told()
    told.accept("a")
    told.attempt("a", at=10, seconds=None)
    told.attempt("a", number=3, at=16, worker="worker-2")
    told.hit(blow, "worker-1", 10.5)
    assert set(faults(told)) == {Fault.EXTRA, Fault.SKIPPED_CLAIM}


def test_a_fire_that_began_early_is_found() -> None:
    told = Told()
    told.lines = [replace(line, at=line.at - 1.5) if line.run_id == "fire-2" else line for line in told.lines]
    assert faults(told) == [Fault.EARLY]


def test_a_fire_of_an_internal_job_may_be_early_where_its_sidecar_started_without_the_store() -> None:
    told = Told()
    told.record.jobs = (BEAT,)
    told.lines = [replace(line, job="beat", worker="s", at=line.at - 1.5) for line in told.lines]
    told.record.starts["s"] = (0.1, 0.2)
    assert set(faults(told)) == {Fault.EARLY}
    told.hit(Blow.CUT_SIDECAR, "s", 0, 0.15)
    assert set(faults(told)) == {Fault.EARLY}
    told.hit(Blow.RESTART_STORE, STORE, 0, 0.15)
    assert faults(told) == []


def test_a_fire_of_an_internal_job_is_missed_only_where_a_sidecar_or_the_store_was_hit() -> None:
    told = Told()
    told.record.jobs = (BEAT,)
    told.lines = [replace(line, job="beat") for line in told.lines if line.run_id != "fire-1"]
    told.hit(Blow.STEP_SIDECAR, "sidecar-1", 1)
    told.hit(Blow.KILL_WORKER, "worker-1", 1)
    assert faults(told) == [Fault.MISSING_FIRE]
    told.hit(Blow.KILL_SIDECAR, "sidecar-1", 1)
    assert faults(told) == []


def test_a_fire_is_forgotten_only_with_its_schedule_and_where_a_sidecar_was_started() -> None:
    told = Told()
    told.lines = [line for line in told.lines if line.run_id != "fire-1"]
    told.hit(Blow.LOSE_KEY, "key job:other", 1)
    told.hit(Blow.KILL_SIDECAR, "sidecar-1", 1)
    assert faults(told) == [Fault.MISSING_FIRE]
    told.hit(Blow.LOSE_KEY, "key job:tick", 1)
    assert (faults(told), len(told.found().forgotten)) == ([], 1)
    told.record.hits.pop(1)
    assert faults(told) == [Fault.MISSING_FIRE]


def a_plan(seed: int, provider: str = "nats") -> Plan:
    return plan_of(seed=seed, jobs=300, jobs_a_second=10, seconds_between_kills=1, provider=provider)


def test_the_same_seed_is_the_same_plan() -> None:
    assert a_plan(7).as_json() == a_plan(7).as_json()
    assert a_plan(7).as_json() != a_plan(8).as_json()


def test_each_kind_of_blow_is_dealt() -> None:
    plans = [a_plan(7, STORE_ITSELF), a_plan(7, "nats")]
    assert {strike.blow for plan in plans for strike in plan.strikes} == set(Blow)
