"""`[folders]`: jobs of each tier live where the project says, and what is said about them names that place."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from horae.checks.project import check_project
from horae.errors import InvalidSettings
from horae.jobs.policies import Tier
from horae.project.loading import load
from horae.runners.revision import revision_of
from horae.settings import Settings
from horae.settings import load as load_settings

MOVED = """
[folders]
flows = "jobs/flows"
infra = "jobs/durable/"
internal = "upkeep"
"""
DURABLE = """
from horae import job, every
from jobs.durable._helper import SPAN

@job(schedule=every(SPAN), traits=["survives_restarts"])
def keep() -> None: ...
"""
INTERNAL = "from horae import job\n\n@job(traits=['survives_restarts'])\ndef tidy() -> None: ...\n"
FLOW = 'from prefect import flow\n\n@flow\ndef sweep():\n    """Sweeps."""\n'
YAML = """
deployments:
  - name: sweep
    entrypoint: jobs/flows/sweep.py:sweep
    tags: ["horae:dashboard"]
    work_pool: {name: horae}
  - name: lost
    entrypoint: jobs/flows/swep.py:sweep
    work_pool: {name: horae}
"""


@pytest.fixture
def moved(tmp_path: Path) -> Settings:
    files = {
        "horae.toml": MOVED,
        "jobs/durable/keep.py": DURABLE,
        "jobs/durable/_helper.py": 'SPAN = "1h"\n',
        "upkeep/tidy.py": INTERNAL,
        "jobs/flows/sweep.py": FLOW,
        "prefect.yaml": YAML,
        "infra/terraform.py": "raise RuntimeError('no job file of this project')\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return load_settings(tmp_path, {})


def test_jobs_load_from_the_folders_that_are_set(moved: Settings) -> None:
    registry = load(moved)
    found = {job.name: (job.tier, job.source.file) for job in registry if job.source}
    assert found == {
        "keep": (Tier.ONEIRIC, "jobs/durable/keep.py"),
        "tidy": (Tier.APSCHEDULER, "upkeep/tidy.py"),
        "sweep/sweep": (Tier.PREFECT, "prefect.yaml"),
    }
    [lost] = registry.problems
    assert "did you mean 'jobs/flows/sweep.py'?" in lost.message


def test_the_check_names_the_folders_that_are_set(moved: Settings) -> None:
    findings = check_project(moved, datetime(2026, 1, 1, tzinfo=UTC)).findings
    [misplaced] = [finding for finding in findings if finding.code == "HR401"]
    assert misplaced.message.startswith(
        "tidy is in upkeep/ (APScheduler), but the decision matrix leads to Oneiric queue"
    )
    assert misplaced.remedy.startswith("Move it to jobs/durable/ ")
    [durable] = [finding for finding in findings if finding.code == "HR304"]
    assert "`jobs/durable/`" in durable.remedy
    assert not [finding for finding in findings if finding.code == "HR701"]


def test_the_revision_is_that_of_the_job_files(moved: Settings) -> None:
    newest = max(path.stat().st_mtime for path in moved.project.glob("*/*/*.py"))
    assert revision_of(moved) >= int(newest)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('infra = "../infra"', "folders.infra: '../infra' must be a folder below the project"),
        ('infra = "/srv/jobs"', "its parts must be Python names, such as jobs/durable"),
        ('infra = ""', "must be a folder below the project"),
        ('infra = "my-jobs"', "'my-jobs' must be a folder"),
        ('infra = "json/jobs"', "begins with 'json', which is the name of a library"),
        ('flows = "prefect"', "begins with 'prefect', which is the name of a library"),
        ('infra = "internal"', "internal = 'internal' is inside the folder of infra; choose separate folders"),
        ('internal = "infra/small"', "internal = 'infra/small' is inside the folder of infra"),
        ('infar = "jobs"', "unknown setting 'infar', did you mean 'infra'?"),
    ],
)
def test_a_folder_that_cannot_hold_jobs_is_refused(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "horae.toml").write_text(f"[folders]\n{table}\n")
    with pytest.raises(InvalidSettings) as refused:
        load_settings(tmp_path, {})
    assert said in refused.value.message
