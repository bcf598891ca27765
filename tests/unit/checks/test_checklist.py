"""Each rule of the checklist trips on a job that breaks it, and not on its neighbour that does not."""

import functools
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from horae.checks.checklist import CHECKLIST, check_job, review
from horae.checks.job_rule import spoken
from horae.checks.reference import all_rules, page
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Isolation, Overlap, Retry, Scope, Tier, Trait
from horae.prefect.yaml import FlowSource
from horae.schedules.making import cron, every

DOCS = Path(__file__).parents[3] / "docs/reference"
T = Trait
OFTEN, HOURLY, DAILY = every("10s"), every("1h"), cron("0 2 * * *")


async def quick() -> None: ...


def slow() -> None: ...


def needs(path: str) -> None: ...


def defaulted(path: str = ".") -> None: ...


def lazy() -> Iterator[int]:
    yield 1


def timed(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


async def shown() -> None: ...


hidden = timed(shown)


def flow_job(**options: Any) -> Job:
    sound = {"traits": frozenset({T.DASHBOARD, T.DAG}), "schedule": DAILY, "description": "Sweeps.", "time_limit": None}
    return Job(name="sweep", tier=Tier.PREFECT, **{**sound, **options})


def durable(**options: Any) -> Job:
    sound = {"traits": frozenset({T.INFRASTRUCTURE}), "schedule": DAILY, "function": slow, "idempotent": True}
    return Job(name="backup", tier=Tier.ONEIRIC, **{**sound, **options})


def internal(**options: Any) -> Job:
    sound = {"schedule": every("1m"), "function": quick, "time_limit": timedelta(seconds=5)}
    return Job(name="beat", tier=Tier.APSCHEDULER, **{**sound, **options})


def source(**options: Any) -> FlowSource:
    sound = {"file": "flows/sweep.py", "line": 3, "function": "sweep", "name": "sweep", "retries": 1}
    return FlowSource(**{**sound, **options})


def traits(*names: Trait) -> frozenset[Trait]:
    return frozenset(names)


CASES: dict[str, tuple[Job, Job]] = {
    # code: (a job that trips it, a neighbour that does not)
    "HR101": (flow_job(schedule=OFTEN), flow_job(schedule=every("1m"))),
    "HR102": (flow_job(schedule=HOURLY, traits=traits(T.DASHBOARD)), flow_job(schedule=HOURLY)),
    "HR103": (flow_job(traits=traits(T.DASHBOARD, T.SURVIVES_RESTARTS)), flow_job()),
    "HR104": (flow_job(traits=traits(T.INFRASTRUCTURE)), flow_job(traits=traits(T.OBSERVABILITY))),
    "HR111": (flow_job(description=" "), flow_job()),
    "HR105": (flow_job(traits=traits()), flow_job()),
    "HR201": (durable(schedule=OFTEN), durable(schedule=every("1m"))),
    "HR202": (durable(traits=traits(T.INFRASTRUCTURE, T.OBSERVABILITY)), durable()),
    "HR203": (durable(traits=traits(T.INFRASTRUCTURE, T.USER_TRIGGERED)), durable()),
    "HR204": (durable(traits=traits()), durable(traits=traits(T.MULTI_MACHINE))),
    "HR211": (durable(provider="redsi"), durable(provider="redis")),
    "HR212": (
        durable(traits=traits(T.SURVIVES_RESTARTS), catch_up=CatchUp.NONE),
        durable(traits=traits(T.SURVIVES_RESTARTS), catch_up=CatchUp.LATEST),
    ),
    "HR213": (durable(traits=traits(T.MULTI_MACHINE, T.DAG)), durable(traits=traits(T.INFRASTRUCTURE, T.DAG))),
    "HR214": (durable(idempotent=False), durable(idempotent=True)),
    "HR215": (durable(retry=Retry(retries=1), idempotent=False), durable(retry=Retry(retries=1))),
    "HR221": (durable(run_on_start=True, idempotent=False), durable(run_on_start=True)),
    "HR222": (durable(scope=Scope.EACH), durable(scope=Scope.ONE)),
    "HR301": (internal(traits=traits(T.DASHBOARD)), internal()),
    "HR302": (internal(time_limit=timedelta(minutes=5, seconds=1)), internal(time_limit=timedelta(minutes=5))),
    "HR303": (internal(traits=traits(T.INFRASTRUCTURE)), internal()),
    "HR304": (internal(traits=traits(T.SURVIVES_RESTARTS)), internal()),
    "HR311": (internal(provider="redis"), internal()),
    "HR312": (internal(schedule=OFTEN), internal(schedule=OFTEN, scope=Scope.EACH)),
    "HR313": (internal(time_limit=timedelta(seconds=5.1)), internal(time_limit=timedelta(seconds=5))),
    "HR314": (internal(catch_up=CatchUp.ALL), internal(catch_up=CatchUp.LATEST)),
    "HR315": (internal(unique_by=()), internal()),
    "HR316": (internal(overlap=Overlap.CANCEL_OTHER), internal(overlap=Overlap.ALLOW)),
    "HR321": (internal(traits=traits(T.DAG)), internal()),
    "HR401": (durable(traits=traits(T.DASHBOARD)), durable()),
    "HR721": (durable(isolation=Isolation.THREAD), durable(isolation=Isolation.THREAD, function=quick)),
    "HR722": (durable(function=needs), durable(function=defaulted)),
    "HR723": (internal(function=lazy), internal()),
    "HR724": (
        internal(jitter=timedelta(minutes=1)),
        internal(jitter=timedelta(seconds=59)),
    ),
    "HR725": (internal(function=hidden), internal(function=shown)),
}
FLOW_CASES: dict[str, tuple[FlowSource, FlowSource]] = {
    "HR112": (source(silent_print=7), source()),
    "HR113": (source(has_tasks=False), source(has_tasks=True)),
    "HR114": (source(retries=0), source(retries=2)),
}


def codes(job: Job, flow: FlowSource | None = None) -> set[str]:
    return {finding.code for finding in check_job(job, flow)}


@pytest.mark.parametrize("code", CASES)
def test_a_rule_trips_and_its_neighbour_does_not(code: str) -> None:
    wrong, right = CASES[code]
    assert code in codes(wrong)
    assert code not in codes(right)


@pytest.mark.parametrize("code", FLOW_CASES)
def test_a_rule_about_a_flows_source_trips_and_its_neighbour_does_not(code: str) -> None:
    wrong, right = FLOW_CASES[code]
    assert codes(flow_job(), wrong) == {code}
    assert codes(flow_job(), right) == set()


def test_a_decorator_hides_no_generator() -> None:
    assert "HR723" in codes(internal(function=timed(lazy)))


def test_sound_jobs_trip_nothing() -> None:
    assert [codes(job) for job in (flow_job(retry=Retry(retries=1)), durable(), internal())] == [set()] * 3


def test_other_ways_to_trip() -> None:
    assert "HR302" in codes(internal(time_limit=None))
    assert "HR215" not in codes(durable(idempotent=False))
    assert "HR315" in codes(internal(retry=Retry(retries=1)))
    assert "HR315" in codes(internal(overlap=Overlap.ALLOW, concurrency=2))
    assert "HR316" in codes(internal(overlap=Overlap.QUEUE))
    assert "HR722" not in codes(durable(function=needs, schedule=None))
    assert "HR722" in codes(durable(function=needs, schedule=None, run_on_start=True))


def test_every_rule_is_tested() -> None:
    assert {row.rule.code for row in CHECKLIST} <= CASES.keys() | FLOW_CASES.keys()


def test_messages_name_what_was_given() -> None:
    (finding,) = [f for f in check_job(internal(time_limit=timedelta(minutes=90))) if f.code == "HR302"]
    assert finding.message == "beat is an internal job with a time limit of 1h30m"
    (finding,) = [f for f in check_job(durable(provider="redsi")) if f.code == "HR211"]
    assert "did you mean 'redis'" in finding.message
    (finding,) = [f for f in check_job(flow_job(schedule=OFTEN)) if f.code == "HR101"]
    assert "fires every 10s" in finding.message


@pytest.mark.parametrize(
    ("given", "schedule", "expected"),
    [
        (traits(T.DASHBOARD), OFTEN, {"HR101"}),
        (traits(T.DASHBOARD), HOURLY, {"HR102"}),
        (traits(T.DASHBOARD, T.DAG), DAILY, set()),
        (traits(T.USER_TRIGGERED), None, set()),
        (traits(T.DASHBOARD, T.INFRASTRUCTURE), DAILY, {"HR103"}),
        (traits(T.SURVIVES_RESTARTS), OFTEN, {"HR201"}),
        (traits(T.SURVIVES_RESTARTS), DAILY, set()),
        (traits(T.SURVIVES_RESTARTS, T.DAG), DAILY, {"HR213"}),
        (traits(), OFTEN, set()),
        (traits(T.DAG), HOURLY, {"HR321"}),
        (traits(T.DAG), DAILY, set()),
        (traits(), None, set()),
    ],
)
def test_a_hypothetical_job_is_reviewed_on_the_tier_it_belongs_to(
    given: frozenset[Trait], schedule: Any, expected: set[str]
) -> None:
    assert {finding.code for finding in review(given, schedule)} == expected


def test_collisions_of_tree_and_mistakes_propose_the_split() -> None:
    for given in (traits(T.DASHBOARD), traits(T.SURVIVES_RESTARTS)):
        (finding,) = review(given, OFTEN)
        assert "fires every 10s" in finding.message
        assert finding.remedy.startswith("Split it: write the fast check as an internal job")


def bullets(heading: str) -> list[str]:
    """The lines of one part of the specification, each with the title of its list."""
    part = (DOCS / "decision-matrix.md").read_text().partition(f"## {heading}")[2].partition("\n---")[0]
    found, title = [], ""
    for line in part.splitlines():
        if line.startswith("### "):
            title = line.removeprefix("### ").strip("*: ")
        elif match := re.match(r"- (?:\[ \] )?(.+)", line):
            found.append(f"{title}: {match[1]}")
    return found


def normal(line: str) -> str:
    for old, new in (
        ("Oneiric Queue Tasks", "Oneiric"),
        (" Tasks:", ":"),
        (" as Mahavishnu", ""),
        ("Mahavishnu", "the process"),
    ):
        line = line.replace(old, new)
    return line.lower().replace(":", "", 1)


def test_every_line_of_checklist_and_mistakes_is_exactly_one_rule() -> None:
    specified = [normal(line) for line in bullets("Validation Checklist") + bullets("Common Mistakes")]
    ruled = [normal(row.rule.line) for row in CHECKLIST if row.rule.line]
    assert len(specified) == 24
    assert sorted(ruled) == sorted(specified)


def test_codes_are_unique_and_their_hundreds_mean_something() -> None:
    found = [rule.code for rule in all_rules()]
    assert len(found) == len(set(found))
    hundreds = {"HR1": {Tier.PREFECT}, "HR2": {Tier.ONEIRIC}, "HR3": {Tier.APSCHEDULER}}
    for row in CHECKLIST:
        assert row.tiers == hundreds.get(row.rule.code[:3], {Tier.ONEIRIC, Tier.APSCHEDULER})


def test_the_reference_page_is_what_the_rules_say() -> None:
    assert (DOCS / "checks.md").read_text() == page(), "run python -m horae.checks.reference > docs/reference/checks.md"


@pytest.mark.parametrize(
    ("duration", "text"),
    [(None, "never"), (timedelta(seconds=10), "10s"), (timedelta(seconds=1.5), "1s500ms"), (timedelta(days=1), "1d"),
     (timedelta(hours=1, minutes=30), "1h30m")],
)  # fmt: skip
def test_durations_are_spoken(duration: timedelta | None, text: str) -> None:
    assert spoken(duration) == text
