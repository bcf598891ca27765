"""The matrix decides as the specification says, and always."""

import itertools
import re
from datetime import timedelta
from pathlib import Path

import pytest

from horae.jobs.policies import Tier, Trait
from horae.matrix import OTHERWISE, STEPS, Frequency, decide, frequency
from horae.schedules.kinds import Schedule
from horae.schedules.making import cron, every
from horae.shapes.jobs import decision_shape

DOCUMENT = Path(__file__).parents[2] / "docs/reference/decision-matrix.md"
T = Trait
USER = {T.DASHBOARD, T.OBSERVABILITY, T.USER_TRIGGERED}

QUICK_REFERENCE: dict[str, tuple[set[Trait], Schedule | None]] = {
    "Health checks": (set(), every("30s")),
    "Metrics collection": (set(), every("1m")),
    "Cache cleanup": (set(), cron("0 * * * *")),
    "DLQ processing": (set(), every("5m")),
    "Secret rotation": ({T.INFRASTRUCTURE, T.SURVIVES_RESTARTS}, every("90d")),
    "Database backup": ({T.INFRASTRUCTURE, T.SURVIVES_RESTARTS}, cron("0 2 * * *")),
    "Log aggregation": ({T.INFRASTRUCTURE}, cron("0 * * * *")),
    "Code sweep": ({T.DASHBOARD, T.DAG}, cron("0 2 * * *")),
    "Dependency audit": ({T.DASHBOARD, T.DAG}, cron("0 6 * * 1")),
    "ML pipeline": ({T.USER_TRIGGERED, T.DEPENDENT_STEPS}, None),
    "ETL workflow": ({T.DASHBOARD, T.DEPENDENT_STEPS}, cron("0 6 * * 1")),
}
SPOKEN = {"APScheduler": Tier.APSCHEDULER, "Oneiric": Tier.ONEIRIC, "Prefect": Tier.PREFECT}


def rows() -> dict[str, Tier]:
    """Task type and scheduler of each row of the document's quick reference."""
    table = DOCUMENT.read_text().partition("## Quick Reference Table")[2].partition("---\n\n##")[0]
    found = re.findall(r"^\| ([^|]+?) \|.*\| \*\*(\w+)\*\* \|$", table, re.MULTILINE)
    return {task: SPOKEN[scheduler] for task, scheduler in found}


def test_the_document_has_eleven_rows_and_each_is_tested() -> None:
    assert list(rows()) == list(QUICK_REFERENCE)
    assert len(rows()) == 11


@pytest.mark.parametrize("task", QUICK_REFERENCE)
def test_a_row_of_the_quick_reference_decides_as_written(task: str) -> None:
    traits, schedule = QUICK_REFERENCE[task]
    assert decide(frozenset(traits), schedule).tier is rows()[task]


def test_example_1_health_monitoring() -> None:
    decision = decide(frozenset(), every("30s"))
    assert decision.tier is Tier.APSCHEDULER
    assert [(a.step, a.answer) for a in decision.path] == [(1, "no"), (2, "no"), (3, "high")]
    assert "under a minute" in decision.reason


def test_example_2_daily_backup() -> None:
    decision = decide(frozenset({T.SURVIVES_RESTARTS, T.INFRASTRUCTURE}), cron("0 2 * * *"))
    assert decision.tier is Tier.ONEIRIC
    assert [(a.step, a.answer) for a in decision.path] == [(1, "no"), (2, "yes")]
    assert "infrastructure, survives_restarts" in decision.reason


def test_example_3_user_code_sweep() -> None:
    decision = decide(frozenset({T.DASHBOARD, T.OBSERVABILITY, T.DAG, T.MULTI_REPO}), cron("0 2 * * *"))
    assert decision.tier is Tier.PREFECT
    assert [(a.step, a.answer) for a in decision.path] == [(1, "yes")]


def test_an_internal_simple_rare_job_goes_all_the_way() -> None:
    decision = decide(frozenset(), cron("0 2 * * *"))
    assert decision.tier is Tier.APSCHEDULER
    assert [(a.step, a.answer) for a in decision.path] == [(1, "no"), (2, "no"), (3, "low"), (4, "no")]


def test_the_reason_is_a_sentence_and_the_path_is_documented_json() -> None:
    decided = decision_shape(decide(frozenset({T.DAG}), None))
    assert decided["tier"] == "prefect"
    assert str(decided["reason"]).endswith(".")
    assert decided["path"][-1] == {
        "step": 4,
        "question": "Is this a complex workflow?",
        "answer": "yes",
    }


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (None, Frequency.LOW),
        (every("1s"), Frequency.HIGH),
        (every("59s"), Frequency.HIGH),
        (every("60s"), Frequency.MEDIUM),
        (every("1h"), Frequency.MEDIUM),
        (every(timedelta(hours=1, seconds=1)), Frequency.LOW),
        (cron("* * * * *"), Frequency.MEDIUM),
        (cron("0 * * * *"), Frequency.MEDIUM),
        (cron("0 */2 * * *"), Frequency.LOW),
        (cron("0,30 2 * * 1"), Frequency.MEDIUM),
    ],
)
def test_frequency_is_the_shortest_gap_with_both_boundaries_inside_medium(
    schedule: Schedule | None, expected: Frequency
) -> None:
    assert frequency(schedule) is expected


SCHEDULES = {
    "none": (None, Frequency.LOW),
    "high": (every("10s"), Frequency.HIGH),
    "medium": (every("10m"), Frequency.MEDIUM),
    "low": (every("1d"), Frequency.LOW),
}


def expected_tier(traits: frozenset[Trait], often: Frequency) -> Tier:
    """The tree of the document, written once more and differently."""
    if traits & USER:
        return Tier.PREFECT
    if traits & {T.MULTI_MACHINE, T.SURVIVES_RESTARTS, T.INFRASTRUCTURE}:
        return Tier.ONEIRIC
    complex_ = bool(traits & {T.DEPENDENT_STEPS, T.DAG, T.MULTI_REPO})
    return Tier.PREFECT if often is Frequency.LOW and complex_ else Tier.APSCHEDULER


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_combination_of_traits_and_frequency_decides(name: str) -> None:
    schedule, often = SCHEDULES[name]
    for size in range(len(Trait) + 1):
        for chosen in itertools.combinations(Trait, size):
            decision = decide(frozenset(chosen), schedule)
            assert decision.tier is expected_tier(frozenset(chosen), often), chosen
            assert [a.step for a in decision.path] == list(range(1, len(decision.path) + 1))
            assert decision.reason


def test_every_trait_belongs_to_exactly_one_step() -> None:
    named = [trait for step in STEPS for trait in step.yes_traits]
    assert sorted(named) == sorted(Trait)


def test_the_steps_are_those_of_the_document() -> None:
    text = DOCUMENT.read_text()
    for step in STEPS:
        section = text.partition(f"## Step {step.number}:")[2].partition("\n## ")[0]
        assert f"**Question**: {step.question}" in section
        leads = re.search(r"(?:YES|\(< 1 minute\)|1-60 minutes\)\S*) → Use \*\*(\w+)", section)
        assert leads is not None
        assert SPOKEN[leads[1]] is step.yes
    assert "#### NO → Use **APScheduler**" in text.partition("## Step 4:")[2]
    assert OTHERWISE[0] is Tier.APSCHEDULER
