"""Rules about providers: runs that wait for one without settings, move records, and signed messages."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from horae.checks.provider_rules import misrouted, signing_faults, unmet_needs
from horae.findings import ERROR, HINT
from horae.jobs.job import Job
from horae.jobs.policies import Need, Tier
from horae.settings import QueueSettings, Settings, StoreSettings
from horae.store.values import Move, ProviderRuns, Routes

SETTINGS = Settings(store=StoreSettings(url=SecretStr("redis://127.0.0.1:1/0")))
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def waiting(provider: str, outbox: int = 0, queued: int = 0) -> ProviderRuns:
    none = timedelta(0)
    return ProviderRuns(provider=provider, outbox=outbox, overdue=none, queued=queued, oldest=none)


def job(name: str = "backup", **fields: object) -> Job:
    return Job(name=name, tier=Tier.ONEIRIC, **fields)  # type: ignore[arg-type]


def test_a_provider_with_runs_is_not_dropped() -> None:
    [found] = misrouted(SETTINGS, [], Routes(runs=[waiting("nats", 3, 4)], moves={}))
    assert (found.code, found.level) == ("HR713", ERROR)
    assert found.message.startswith("runs wait for nats (3 in the outbox, 4 at the broker): ")
    assert "give url in [queue.nats]" in found.message
    assert "horae move --all --to" in found.remedy


def test_an_unknown_provider_with_runs_is_said_to_be_unknown() -> None:
    [found] = misrouted(SETTINGS, [], Routes(runs=[waiting("natz", 1)], moves={}))
    assert "unknown queue provider 'natz', did you mean 'nats'" in found.message


def test_without_runs_or_with_its_settings_there_is_nothing_to_say() -> None:
    runs = [waiting("nats"), waiting("redis", 1, 1), waiting("", 1), waiting("own", 1)]
    assert list(misrouted(SETTINGS, [job()], Routes(runs=runs, moves={}))) == []


def test_a_move_record_is_shown_until_the_code_agrees() -> None:
    routes = Routes(runs=[], moves={"backup": Move(provider="nats", at=NOW), None: Move(provider="redis", at=NOW)})
    flow = Job(name="sweep/weekly", tier=Tier.PREFECT)
    jobs = [job(), job("report"), job("scan", provider="nats"), flow]
    found = list(misrouted(SETTINGS, jobs, routes))
    assert [(one.code, one.level, one.job) for one in found] == [("HR714", HINT, "backup"), ("HR714", HINT, "scan")]
    assert found[0].message == "backup: the code names redis, but a move record sends its runs to nats"
    agreed = [job(provider="nats"), job("report")]
    assert list(misrouted(SETTINGS, agreed, routes)) == []


@pytest.mark.parametrize(
    ("queue", "codes"),
    [
        ({}, []),
        ({"signing_keys_file": "none"}, ["HR726"]),
        ({"signing_keys_file": "keys"}, ["HR727"]),
        ({"signing_keys_file": "keys", "redis_url": "redis://127.0.0.1:2/0"}, []),
        ({"signing_keys_file": "keys", "provider": "nats"}, []),
    ],
)
def test_keys_are_usable_and_protect_something(tmp_path: Path, queue: dict[str, Any], codes: list[str]) -> None:
    (tmp_path / "keys").write_text("k" * 32)
    own = {"project": tmp_path, "queue": QueueSettings.model_validate(queue)}
    assert [one.code for one in signing_faults(SETTINGS.model_copy(update=own))] == codes


def test_what_a_job_needs_is_offered_by_the_provider_that_it_names() -> None:
    ordered = frozenset({Need.ORDERING})
    jobs = [
        job(needs=ordered),
        job("report", needs=ordered, provider="nats"),
        job("scan", needs=ordered, provider="kafka"),
        job("log", provider="kafka"),
    ]
    [found] = unmet_needs(SETTINGS, jobs)
    assert (found.code, found.level, found.job) == ("HR728", ERROR, "scan")
    assert found.message == "scan: the job names the provider kafka, which does not offer ordering"


def test_the_size_is_that_of_the_settings() -> None:
    large = SETTINGS.model_copy(update={"queue": QueueSettings(message_limit_bytes=2_000_000)})
    sized = job(needs=frozenset({Need.SIZE}), provider="cloudtasks")
    assert list(unmet_needs(SETTINGS, [sized])) == []
    assert [one.code for one in unmet_needs(large, [sized])] == ["HR728"]
