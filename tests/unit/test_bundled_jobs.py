"""The bundled jobs as a whole: the rows of the decision matrix, deleting jobs, and the settings in horae.toml."""

import ast
import importlib
import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from horae.checks.project import check_project
from horae.cli import run
from horae.jobs.policies import Tier
from horae.project.loading import load
from horae.schedules.making import cron, every
from horae.settings import load as load_settings
from tests.shipped import ROOT, ship
from tests.specification import PAGE

type Output = pytest.CaptureFixture[str]

JOBS = {
    "Health checks": "health-check",
    "Metrics collection": "metrics-collection",
    "Cache cleanup": "cache-cleanup",
    "DLQ processing": "dlq-processing",
    "Secret rotation": "secret-rotation",
    "Database backup": "database-backup",
    "Log aggregation": "log-aggregation",
    "Code sweep": "code-sweep",
    "Dependency audit": "dependency-audit",
    "ML pipeline": "ml-pipeline",
    "ETL workflow": "etl",
}
"""The job of each row of the quick reference table."""
ELSEWHERE = {
    "Security scans (weekly)": ("security-scan", "Weekly", Tier.ONEIRIC),
    "Heartbeat monitoring (every 10s)": ("heartbeat", "10s", Tier.APSCHEDULER),
    "Cache warming (every 45s)": ("cache-warming", "45s", Tier.APSCHEDULER),
    "Report generation": ("report-generation", "Weekly", Tier.PREFECT),
}
"""Use cases of the matrix that its table leaves out."""
TIERS = {"APScheduler": Tier.APSCHEDULER, "Oneiric": Tier.ONEIRIC, "Prefect": Tier.PREFECT}
HOURS = {"Hourly": 1, "1h": 1, "Daily": 24, "Weekly": 168}
"""Hours between two fires."""
HELPERS = re.compile(r"_[a-z]+")


def rows() -> Iterator[tuple[str, str, Tier]]:
    """Job, frequency and tier of each row of the matrix."""
    for line in PAGE.read_text().partition("## Quick Reference Table")[2].splitlines():
        cells = [cell.strip(" *") for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[4] in TIERS:
            yield JOBS[cells[0]], cells[1], TIERS[cells[4]]
    for words, row in ELSEWHERE.items():
        assert f"- {words}" in PAGE.read_text()
        yield row


ROWS = list(rows())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped jobs, in a folder of this module."""
    folder = tmp_path_factory.mktemp("bundled")
    return ship(folder, "flows", "infra", "internal", "horae.toml", "prefect.yaml")


def test_every_row_and_every_job_is_in_the_other() -> None:
    assert len(ROWS) == len(JOBS) + len(ELSEWHERE) == 15
    bundled = {job.short_name for job in load(load_settings(ROOT, {}))}
    assert {name for name, _, _ in ROWS} <= bundled


@pytest.mark.parametrize(("name", "frequency", "tier"), ROWS, ids=[name for name, _, _ in ROWS])
def test_a_job_has_the_tier_and_the_schedule_of_its_row(
    project: Path, capsys: Output, name: str, frequency: str, tier: Tier
) -> None:
    job = load(load_settings(project, {})).get(name)
    assert job.tier is tier
    assert run(["--project", str(project), "explain", name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tier"] == found["decision"]["tier"] == tier.value
    if frequency == "Ad-hoc":
        assert job.schedule is None
    elif frequency == "Scheduled":
        assert job.schedule == cron("0 6 * * 1")
    elif frequency in HOURS:
        assert job.schedule is not None
        first = job.schedule.next_after(datetime(2026, 6, 1, tzinfo=UTC))
        second = job.schedule.next_after(first) if first else None
        assert first
        assert second
        assert (second - first).total_seconds() == HOURS[frequency] * 3600
    else:
        assert job.schedule == every(frequency)


def job_files(project: Path) -> list[Path]:
    folders = ("flows", "infra", "internal")
    return sorted(
        path for folder in folders for path in (project / folder).glob("*.py") if not path.name.startswith("_")
    )


def imported(path: Path) -> set[str]:
    """The helper folders, as `flows._etl`, that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] in ("flows", "infra", "internal") and len(parts) > 1 and HELPERS.fullmatch(parts[1]):
                found.add(".".join(parts[:2]))
    return found


def test_each_job_has_its_helpers_to_itself() -> None:
    """So that a job can be deleted, and copied into another repository, with one file and one folder."""
    used = {path: imported(path) for path in job_files(ROOT)}
    assert all(len(folders) <= 1 for folders in used.values())
    owned = [folder for folders in used.values() for folder in folders]
    assert len(owned) == len(set(owned))
    for folder in owned:
        for path in ROOT.joinpath(*folder.split(".")).glob("*.py"):
            assert imported(path) <= {folder}, path


def without(document: dict[str, Any], path: Path) -> str:
    """The text of prefect.yaml without the deployments of a flow file."""
    entry = f"flows/{path.name}:"
    left = [one for one in document["deployments"] if not one["entrypoint"].startswith(entry)]
    return yaml.safe_dump(document | {"deployments": left})


def test_a_project_without_one_of_the_jobs_has_no_findings(project: Path, tmp_path: Path) -> None:
    settings = load_settings(project, {})
    whole = {job.short_name for job in load(settings)}
    text = (project / "prefect.yaml").read_text()
    for path in job_files(project):
        aside = tmp_path / path.name
        shutil.move(path, aside)
        if path.parent.name == "flows":
            (project / "prefect.yaml").write_text(without(yaml.safe_load(text), path))
        registry = load(settings)
        assert registry.problems == (), path
        assert {job.short_name for job in registry} == whole - {path.stem.replace("_", "-")}
        shutil.move(aside, path)
        (project / "prefect.yaml").write_text(text)


def test_a_project_without_any_of_the_jobs_has_no_findings(tmp_path: Path) -> None:
    ship(tmp_path, "flows", "infra", "internal", "horae.toml", "prefect.yaml")
    for path in job_files(tmp_path):
        path.unlink()
    for folder in tmp_path.glob("*/_*"):
        if folder.is_dir():
            shutil.rmtree(folder)
    document = yaml.safe_load((tmp_path / "prefect.yaml").read_text())
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(document | {"deployments": []}))
    report = check_project(load_settings(tmp_path, {}), datetime(2026, 1, 1, tzinfo=UTC))
    assert list(report.findings) == []


def models() -> Iterator[tuple[str, type[BaseModel]]]:
    """The settings of each job that has some."""
    for path in sorted(ROOT.glob("*/_*/settings.py")):
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        named = re.search(r"\[jobs\.([\w-]+)\]", module.__doc__ or "")
        assert named, path
        job = load(load_settings(ROOT, {})).get(named[1])
        own = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
        if job.settings:
            [model] = [one for one in own if one.__qualname__ == job.settings.__qualname__]
        else:  # of a flow, which Horae does not import: the last model of the file
            model = own[-1]
        yield named[1], model


def blocks(text: str) -> dict[str, dict[str, tuple[str, str]]]:
    """The commented tables of the jobs: value and comment of each key."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    table = None
    for line in text.splitlines():
        if head := re.fullmatch(r"# \[jobs\.([\w-]+)\]", line):
            table = found.setdefault(head[1], {})
        elif table is not None and (row := re.fullmatch(r"# (\w+) = (.*?)\s+# (\S.*)", line)):
            table[row[1]] = (row[2], row[3])
        elif not line.startswith("#"):
            table = None
    return found


def test_horae_toml_shows_each_setting_of_each_job_with_its_default() -> None:
    shown = blocks((ROOT / "horae.toml").read_text())
    found = dict(models())
    assert set(shown) == set(found)
    for name, model in found.items():
        assert set(shown[name]) == set(model.model_fields), f"[jobs.{name}]"
        for key, (value, comment) in shown[name].items():
            default = to_jsonable_python(model.model_fields[key].get_default(call_default_factory=True))
            assert comment, f"{name}.{key}"
            if value not in ('"..."', "[...]", "{...}"):
                assert tomllib.loads(f"x = {value}")["x"] == default, f"{name}.{key}"
            else:
                assert default is None or isinstance(default, list), f"{name}.{key}: its default is {default!r}"
