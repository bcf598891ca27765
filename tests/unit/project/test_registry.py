"""The registry is one list of jobs over three tiers."""

import pytest

from horae.errors import InvalidJob, UnknownName, UsageError
from horae.findings import Source
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.project.registry import Registry


def make(name: str, tier: Tier, file: str = "infra/a.py", line: int = 3) -> Job:
    return Job(name=name, tier=tier, source=Source(file=file, line=line))


def filled() -> Registry:
    registry = Registry()
    for name, tier in (
        ("heartbeat", Tier.APSCHEDULER),
        ("secret-rotation", Tier.ONEIRIC),
        ("code-sweep", Tier.PREFECT),
        ("database-backup", Tier.ONEIRIC),
    ):
        registry.add(make(name, tier))
    return registry


def test_jobs_come_by_tier_and_name_however_they_were_added() -> None:
    registry = filled()
    assert registry.names == ("code-sweep", "database-backup", "secret-rotation", "heartbeat")
    assert [job.name for job in registry.by_tier(Tier.ONEIRIC)] == ["database-backup", "secret-rotation"]
    assert len(registry) == 4
    assert "heartbeat" in registry
    assert "heartbeats" not in registry


def test_a_name_taken_is_refused_with_both_places() -> None:
    registry = filled()
    with pytest.raises(InvalidJob, match=r"'heartbeat'.*infra/a\.py:3 and internal/b\.py:9"):
        registry.add(make("heartbeat", Tier.APSCHEDULER, "internal/b.py", 9))
    assert registry.get("heartbeat").source == Source(file="infra/a.py", line=3)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown job 'databse-backup', did you mean 'database-backup'"):
        filled().get("databse-backup")
    with pytest.raises(UnknownName, match="There is no job yet"):
        Registry().get("x")


def test_a_flow_has_its_address_for_a_name_and_a_short_one_while_that_is_its_own() -> None:
    registry = Registry()
    for name in ("ingest/nightly", "ingest/hourly", "export/nightly", "report/heartbeat"):
        registry.add(make(name, Tier.PREFECT))
    registry.add(make("heartbeat", Tier.APSCHEDULER))
    assert registry.get("ingest/nightly").name == "ingest/nightly"
    assert registry.get("hourly").name == "ingest/hourly"
    assert registry.get("heartbeat").tier is Tier.APSCHEDULER
    with pytest.raises(
        UsageError, match="'nightly' is the short name of 2 jobs; give the full name: export/nightly, ingest/nightly"
    ):
        registry.get("nightly")
    assert registry.ambiguous == {
        "nightly": ["export/nightly", "ingest/nightly"],
        "heartbeat": ["heartbeat", "report/heartbeat"],
    }
    with pytest.raises(UnknownName, match="did you mean 'hourly'"):
        registry.get("hourl")
