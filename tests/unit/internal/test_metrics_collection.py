"""The metrics collection: what is measured, and that what could not be measured is absent and named."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from horae import RunContext, Settings
from horae.jobs.context import running
from internal._metrics.measurements import (
    Measured,
    host,
    ledger,
    measure,
    memory_limit,
    prefect,
    process,
    queues,
)
from internal._metrics.settings import MetricsSettings
from internal.metrics_collection import metrics_collection

OWN = MetricsSettings()


async def test_this_process_is_measured(project: Path) -> None:
    [found] = await process(Settings(project=project), OWN)
    assert found.ok
    assert f"pid {os.getpid()}" in found.detail
    assert found.figures["resident_bytes"] > 1 << 20
    assert found.figures["cpu_seconds"] > 0
    assert found.figures["open_files"] >= 3


async def test_this_machine_is_measured_and_the_disk_of_a_state_folder_that_is_not_there_yet(project: Path) -> None:
    machine, disk = await host(Settings(project=project), OWN)
    assert 0 < machine.figures["memory_available_bytes"] <= machine.figures["memory_bytes"]
    assert machine.figures["cpus"] >= 1
    assert (disk.name, disk.ok) == ("disk", True)
    assert 0 < disk.figures["free_bytes"] <= disk.figures["total_bytes"]


async def test_a_disk_that_is_not_there_is_named_and_hides_none(project: Path) -> None:
    _, here, gone = await host(Settings(project=project), MetricsSettings(disks=(".", "gone")))
    assert (here.name, here.ok) == ("disk .", True)
    assert (gone.name, gone.ok, gone.figures) == ("disk gone", False, {})
    assert gone.detail == f"{project / 'gone'} cannot be measured: No such file or directory"


@pytest.mark.parametrize(("text", "limit"), [("536870912\n", 536870912), ("max\n", None), ("", None)])
def test_the_limit_of_a_container_is_read(tmp_path: Path, text: str, limit: int | None) -> None:
    (tmp_path / "memory.max").write_text(text)
    assert memory_limit(tmp_path / "memory.max") == limit
    assert memory_limit(tmp_path / "gone") is None


async def test_what_is_not_configured_has_no_figures_and_no_verdict(project: Path) -> None:
    bare = Settings(project=project)
    for measurement in (queues, ledger, prefect):
        [found] = await measurement(bare, OWN)
        assert (found.ok, found.detail, found.figures) == (None, "not configured", {})


async def test_a_measurement_that_hangs_or_breaks_has_no_figures_and_hides_none(project: Path) -> None:
    async def hangs(_settings: Settings, _own: MetricsSettings) -> list[Measured]:
        await asyncio.Event().wait()
        raise AssertionError

    async def breaks(_settings: Settings, _own: MetricsSettings) -> list[Measured]:
        raise ZeroDivisionError("by zero")

    own = MetricsSettings(timeout_seconds=0.05)
    hung, broke, here = await measure(
        Settings(project=project), own, {"hangs": hangs, "breaks": breaks, "process": process}
    )
    assert (hung.ok, hung.detail, hung.figures) == (False, "no answer within 0.05 s", {})
    assert (broke.ok, broke.detail, broke.figures) == (False, "ZeroDivisionError: by zero", {})
    assert here.ok


async def run_job(project: Path) -> tuple[dict[str, Any], str]:
    told: list[str] = []
    with running(RunContext(job="metrics-collection", run_id="r", project=project, report=told.append)):
        return await metrics_collection(), told[-1]


async def test_the_report_begins_with_what_was_not_measured(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    result, told = await run_job(project)
    assert result["ok"] is True
    assert told.startswith("not configured: queue, ledger, prefect; ")
    monkeypatch.setenv("HORAE_STORE__URL", "redis://:s3cret@127.0.0.1:1/0")
    result, told = await run_job(project)
    assert result["ok"] is False
    assert told.startswith("cannot measure queue redis: ")
    assert "cannot measure ledger: " in told
    assert "s3cret" not in told + str(result)
    absent = {check["name"]: check["figures"] for check in result["checks"] if check["ok"] is False}
    assert absent == {"metrics/queue redis": {}, "metrics/ledger": {}}, "never 0"
