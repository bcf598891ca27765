"""One verdict for each run and fire, and the journal's: what the ledger says is held against what the jobs wrote."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from chaos.checker import DEATHS
from chaos.told import BEGIN, Told, given_up
from chaos.verdicts import check_verdicts
from horae.jobs.policies import Tier
from horae.reasons import Reason
from horae.runs import Cause, Event, Run, State


def row(run_id: str = "a", state: State = State.RAN, **more: object) -> Run:
    return replace(
        Run(run_id=run_id, job="work", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, state=state, attempts=1),
        **more,  # type: ignore[arg-type] # fields of a row, by name
    )


def fires(*numbers: int) -> list[Run]:
    first = BEGIN.replace(microsecond=0)
    return [
        row(f"fire-{number}", job="tick", scheduled_for=first + timedelta(seconds=number + 1)) for number in numbers
    ]


def contradictions(told: Told, rows: list[Run]) -> list[str]:
    return [violation.text for violation in check_verdicts(rows, told.journal, told.record, told.found())]


def done() -> Told:
    told = Told()
    told.accept("a")
    told.attempt("a")
    return told


def test_one_verdict_each_that_the_journal_bears_out_passes() -> None:
    assert contradictions(done(), [row(), *fires(0, 1, 2)]) == []
    died = row(state=State.FAILED, reason=Reason.WORKER_DIED, attempts=DEATHS)
    assert contradictions(given_up(), [died, *fires(0, 1, 2)]) == []


def settled_twice() -> Run:
    event = Event(at=BEGIN, what="settled", generation=1)
    return row(story=(event, event))


@pytest.mark.parametrize(
    ("told", "rows", "text"),
    [
        (done, [], "the run was accepted, but the ledger does not have it"),
        (done, [row(state=State.RUNNING)], "the run has no verdict; its state is running"),
        (done, [settled_twice()], "the run was settled 2 times"),
        (
            done,
            [row(state=State.SKIPPED, reason=Reason.OVERLAP)],
            "the ledger says skipped: overlap, but the run began 1 times",
        ),
        (done, [row(state=State.FAILED, reason=Reason.RAISED)], "the ledger says failed: raised"),
        (done, [row(attempts=0)], "the ledger says 0 attempts, but the journal has attempt 1"),
        (given_up, [row(attempts=DEATHS)], "the ledger says ran, but the effect never happened"),
    ],
)
def test_a_verdict_that_the_journal_contradicts_is_found(told: Callable[[], Told], rows: list[Run], text: str) -> None:
    assert text in contradictions(told(), [*rows, *fires(0, 1, 2)])


def test_a_fire_without_a_row_or_with_two_is_found() -> None:
    assert contradictions(done(), [row(), *fires(0, 2)]) == ["0 rows for 2026-12-01T02:00:02+00:00"]
    twin = replace(fires(1)[0], run_id="other", state=State.MISSED)
    assert contradictions(done(), [row(), twin, *fires(0, 1, 2)]) == ["2 rows for 2026-12-01T02:00:02+00:00"]
