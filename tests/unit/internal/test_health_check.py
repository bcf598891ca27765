"""The health check: what each check says when its object is well, unwell, slow or not configured."""

import asyncio
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from horae.clock import now
from horae.jobs.context import RunContext, running
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.local.ports import free_port
from horae.schedules.making import every
from horae.settings import PrefectSettings, Settings, StoreSettings
from horae.store import connect
from internal._health.checks import (
    CHECKS,
    WRITES,
    Seen,
    check_disk,
    check_fires,
    check_prefect,
    check_queue,
    check_store,
    judged,
    known_jobs,
    run_checks,
)
from internal._health.settings import HealthSettings
from internal.health_check import health_check

LIMITS = HealthSettings()
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def settings_of(project: Path, namespace: str, store_url: str) -> Settings:
    return Settings(project=project, namespace=namespace, store=StoreSettings(url=SecretStr(store_url)))


def with_a_job(project: Path) -> None:
    """Give the project an hourly job, `tidy`."""
    (project / "infra" / "tidy.py").write_text(
        "from horae import job\nfrom horae import every\n\n\n"
        '@job(schedule=every("1h"), traits=["infrastructure"])\ndef tidy():\n    """Tidy up."""\n'
    )
    known_jobs.cache_clear()


async def test_what_is_not_configured_is_neither_well_nor_unwell(project: Path) -> None:
    bare = Settings(project=project)
    names = ("prefect", "store", "queue", "fires")
    results = await run_checks(bare, LIMITS, {name: CHECKS[name] for name in names})
    assert [(result.ok, result.detail) for result in results] == [(None, "not configured")] * 4


async def test_a_store_that_takes_writes_is_well(project: Path, namespace: str, valkey_url: str) -> None:
    settings = settings_of(project, namespace, valkey_url)
    seen = await check_store(settings, LIMITS)
    assert seen.ok is True
    assert abs(seen.figures["clock_offset_seconds"]) < 2
    async with connect(settings) as store:
        (line,) = await store.ledger.log(WRITES)
    assert line.endswith("the store takes writes")


async def test_a_queue_that_answers_is_well(project: Path, namespace: str, valkey_url: str) -> None:
    seen = await check_queue(settings_of(project, namespace, valkey_url), LIMITS)
    assert (seen.ok, seen.detail) == (True, "redis answers")


async def test_what_is_down_is_named_and_hides_nothing(project: Path, namespace: str) -> None:
    with_a_job(project)
    gone = free_port()
    settings = Settings(
        project=project,
        namespace=namespace,
        store=StoreSettings(url=SecretStr(f"redis://:s3cret@127.0.0.1:{gone}/0")),
        prefect=PrefectSettings(api_url=f"http://127.0.0.1:{gone}/api"),
    )
    results = {result.name: result for result in await run_checks(settings, LIMITS, CHECKS)}
    assert {name: result.ok for name, result in results.items()} == {
        "prefect": False,
        "store": False,
        "queue": False,
        "disk": True,
        "fires": False,
    }
    assert f"127.0.0.1:{gone}" in results["store"].detail
    assert f"127.0.0.1:{gone}/api does not answer" in results["prefect"].detail
    assert "s3cret" not in str(results)


async def test_a_check_that_hangs_or_breaks_is_cut_off_alone(project: Path) -> None:
    async def hangs(_settings: Settings, _limits: HealthSettings) -> Seen:
        await asyncio.Event().wait()
        raise AssertionError

    async def breaks(_settings: Settings, _limits: HealthSettings) -> Seen:
        raise ZeroDivisionError("by zero")

    limits = HealthSettings(timeout_seconds=0.05)
    checks = {"hangs": hangs, "breaks": breaks, "disk": check_disk}
    hung, broke, disk = await run_checks(Settings(project=project), limits, checks)
    assert (hung.ok, hung.detail) == (False, "no answer within 0.05 s")
    assert 0.05 <= hung.seconds < 2
    assert (broke.ok, broke.detail) == (False, "ZeroDivisionError: by zero")
    assert disk.ok is True


async def test_a_hanging_server_is_cut_off(project: Path) -> None:
    """A real listener that takes connections and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/api"
        settings = Settings(project=project, prefect=PrefectSettings(api_url=url))
        (result,) = await run_checks(settings, HealthSettings(timeout_seconds=0.2), {"prefect": check_prefect})
    assert (result.ok, result.detail) == (False, "no answer within 0.2 s")


async def test_a_full_disk_is_unwell_at_its_limit(project: Path) -> None:
    settings = Settings(project=project)  # its state folder is not there yet
    free = shutil.disk_usage(project).free >> 20
    assert (await check_disk(settings, HealthSettings(free_disk_mib=free // 2))).ok is True
    seen = await check_disk(settings, HealthSettings(free_disk_mib=free * 2))
    assert seen.ok is False
    assert f"fewer than {free * 2}" in seen.detail


HOURLY = Job(name="hourly", tier=Tier.ONEIRIC, schedule=every("1h"))


@pytest.mark.parametrize(
    ("last", "since", "at", "ok"),
    [
        (NOON, NOON, NOON + timedelta(minutes=59), True),  # not due yet
        (NOON, NOON, NOON + timedelta(minutes=65), True),  # due, and the patience just not over
        (NOON, NOON, NOON + timedelta(minutes=65, seconds=1), False),
        (None, NOON, NOON + timedelta(minutes=65, seconds=1), False),  # it never fired
        (NOON - timedelta(days=9), NOON, NOON + timedelta(minutes=59), True),  # missed before this process began
    ],
)
def test_a_job_is_late_when_it_was_due_and_patience_is_over(
    last: datetime | None, since: datetime, at: datetime, ok: bool
) -> None:
    seen = judged([HOURLY], {"hourly": last} if last else {}, at, since, timedelta(minutes=5))
    assert seen.ok is ok
    if not ok:
        assert seen.detail == "not fired: hourly was due 2026-11-24T13:00:00Z"
    if last:
        assert seen.figures == {"hourly_age_seconds": (at - last).total_seconds()}


def test_a_job_without_a_next_fire_is_never_late() -> None:
    manual = Job(name="manual", tier=Tier.ONEIRIC)
    assert judged([manual], {}, NOON, NOON, timedelta(0)).ok is True


async def test_the_ledger_tells_how_long_ago_each_job_fired(project: Path, namespace: str, valkey_url: str) -> None:
    from horae.runs import Cause, Run, State, fire_id

    with_a_job(project)
    at = now() - timedelta(minutes=10)
    settings = settings_of(project, namespace, valkey_url)
    run = Run(
        run_id=fire_id(namespace, "tidy", at),
        job="tidy",
        tier=Tier.ONEIRIC,
        cause=Cause.SCHEDULE,
        state=State.RAN,
        scheduled_for=at,
    )
    async with connect(settings) as store:
        await store.ledger.record([run])
    seen = await check_fires(settings, LIMITS)
    assert seen.ok is True
    assert seen.figures["tidy_age_seconds"] == pytest.approx(600, abs=30)


async def test_the_job_reports_in_a_sentence_and_returns_json(
    project: Path, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    told: list[str] = []
    context = RunContext(job="health-check", run_id="r", project=project, report=told.append)
    with running(context):
        result = await health_check()
    assert result["ok"] is True
    assert told == ["1 checks are healthy"]
    assert [check["name"] for check in result["checks"]] == ["prefect", "store", "queue", "disk", "fires"]

    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    monkeypatch.setenv("HORAE_STORE__URL", valkey_url)
    with running(context):
        result = await health_check()
    assert result["ok"] is False
    assert told[-1].startswith("prefect: http://127.0.0.1:")
    assert {check["name"]: check["ok"] for check in result["checks"]} == {
        "prefect": False,
        "store": True,
        "queue": True,
        "disk": True,
        "fires": True,
    }
