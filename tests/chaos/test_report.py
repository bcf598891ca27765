"""What a report says of a run, and the table of several."""

from chaos.driver import Played
from chaos.plan import Blow, plan_of
from chaos.report import healed, report_of, table_of
from chaos.told import Told


def played(told: Told) -> Played:
    return Played(journal=told.journal, record=told.record, runs=[], seconds=0)


def test_healing_is_from_the_last_blow_to_the_end_of_the_last_accepted_run() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a", at=9, seconds=1.5)
    told.attempt("fire of later", job="tick", at=90)
    told.hit(Blow.PAUSE_BROKER, "broker", 2, ended=7)
    assert healed(played(told)) == 3.5


def test_what_ended_before_the_last_blow_needed_no_healing() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a", at=1)
    told.hit(Blow.KILL_WORKER, "worker-2", 5)
    assert healed(played(told)) == 0


def test_the_table_has_a_row_for_each_provider() -> None:
    told = Told()
    told.accept("a")
    told.attempt("a", at=1)
    told.hit(Blow.CUT_BROKER, "broker", 0.5)
    told.record.stopped += [0.5, 1.25]
    plans = [
        plan_of(seed=1, jobs=1, jobs_a_second=1, seconds_between_kills=1, provider=one) for one in ("redis", "nats")
    ]
    lines = table_of([report_of(plan, played(told)) for plan in plans]).splitlines()
    assert lines[2:] == [
        "| redis | 1 | 1 | 0 | 0 | - | - | - | 0.6 | 1.25 |",
        "| nats | 1 | 1 | 0 | 0 | - | - | - | 0.6 | 1.25 |",
    ]
