"""Rules about a job and what surrounds it: each trips, and its neighbour does not."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from horae.checks.fit_rules import misfits, percentile
from horae.findings import Finding, Level
from horae.jobs.job import Job
from horae.jobs.policies import Overlap, Tier
from horae.queues.providers import names, provider
from horae.schedules.making import cron, every
from horae.settings import QueueSettings, Settings, StoreSettings, WorkerSettings

SECONDS = timedelta(seconds=1)


def durable(**options: Any) -> Job:
    sound = {"schedule": cron("0 2 * * *"), "idempotent": True}
    return Job(name="backup", tier=Tier.ONEIRIC, **{**sound, **options})


def findings(job: Job, settings: Settings | None = None, took: Sequence[float] = ()) -> list[Finding]:
    given: Mapping[str, Sequence[float]] = {job.name: took}
    return list(misfits(settings or Settings(), [job], given))


def codes(job: Job, settings: Settings | None = None, took: Sequence[float] = ()) -> list[str]:
    return [finding.code for finding in findings(job, settings, took)]


def test_sound_jobs_in_sound_settings_trip_nothing() -> None:
    assert codes(durable(), took=[3.0] * 100) == []


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (Settings(store=StoreSettings(keep_runs_days=1)), []),
        (Settings(store=StoreSettings(keep_runs_days=0.99)), ["HR708"]),
        (Settings(queue=QueueSettings(provider="elsewhere"), store=StoreSettings(keep_runs_days=0.1)), []),
    ],
)
def test_retention_by_age_outlasts_the_broker(settings: Settings, found: list[str]) -> None:
    assert codes(durable(), settings) == found


@pytest.mark.parametrize("name", names())
def test_retention_outlasts_each_provider_that_a_job_names(name: str) -> None:
    longest = provider(name).capabilities.redelivers_for / timedelta(days=1)

    def kept(days: float) -> list[Finding]:
        elsewhere = QueueSettings(provider="elsewhere")
        return findings(durable(provider=name), Settings(store=StoreSettings(keep_runs_days=days), queue=elsewhere))

    assert kept(longest) == []
    [finding] = kept(longest - 0.01)
    assert (finding.code, finding.level, finding.file, finding.line) == ("HR708", Level.WARNING, "horae.toml", 1)
    assert name in finding.message


def test_retention_by_number_outlasts_the_broker() -> None:
    often = durable(schedule=every("1m"))
    assert codes(often, Settings(store=StoreSettings(keep_runs_per_job=1440))) == []
    [finding] = findings(often, Settings(store=StoreSettings(keep_runs_per_job=1439)))
    assert (finding.code, finding.job) == ("HR708", "backup")


def test_a_job_that_is_not_idempotent_ends_within_the_grace_period() -> None:
    def with_limit(limit: timedelta | None) -> list[str]:
        settings = Settings(worker=WorkerSettings(grace_seconds=8))
        return codes(durable(idempotent=False, time_limit=limit), settings)

    assert with_limit(8 * SECONDS) == []
    assert with_limit(8.1 * SECONDS) == ["HR710"]
    assert with_limit(None) == ["HR710"]
    assert codes(durable(time_limit=timedelta(hours=1))) == []


def test_a_job_is_faster_than_its_fires_follow() -> None:
    job = durable(schedule=every("1m"), overlap=Overlap.QUEUE)
    assert codes(job, took=[59.0] * 94 + [61.0] * 5) == ["HR709"]
    assert codes(job, took=[59.0] * 95 + [61.0] * 5) == []
    assert codes(job, took=[60.0] * 100) == []
    assert codes(job, took=[61.0] * 9) == []
    [finding] = findings(job, took=[61.0] * 10)
    assert "overlap='queue'" in finding.message
    assert codes(durable(schedule=None), took=[61.0] * 10) == []


def test_a_flow_is_judged_by_how_long_it_took_alone() -> None:
    flow = Job(name="sweep", tier=Tier.PREFECT, schedule=every("1m"), time_limit=None)
    assert codes(flow, took=[61.0] * 10) == ["HR709"]


def test_percentile() -> None:
    assert [percentile([1, 2, 3, 4], share) for share in (0.0, 0.25, 0.5, 0.95, 1.0)] == [1, 1, 2, 4, 4]
