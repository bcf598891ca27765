"""What the bundled jobs of the queue have in common: their tier, and what they say when their library is missing."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from horae import RunContext, Tier, decide
from horae.errors import RunError
from horae.jobs.context import running
from horae.project.loading import load
from horae.settings import Settings
from infra._backup.settings import BackupSettings, BucketSettings
from infra._secrets.settings import RotationSettings
from infra.database_backup import database_backup
from infra.log_aggregation import log_aggregation
from infra.secret_rotation import secret_rotation
from infra.security_scan import security_scan

ROOT = Path(__file__).parents[3]
SECRETS = {"x": {"kind": "random"}}


@pytest.mark.parametrize("name", ["database-backup", "log-aggregation", "security-scan", "secret-rotation"])
def test_it_belongs_on_the_queue(name: str) -> None:
    job = load(Settings(project=ROOT)).get(name)
    assert job.tier is Tier.ONEIRIC is decide(job.traits, job.schedule).tier


@pytest.mark.parametrize(
    ("job", "library", "extra", "settings"),
    [
        (log_aggregation, "duckdb", "logs", None),
        (security_scan, "bandit", "scan", None),
        (secret_rotation, "cryptography", "secrets", RotationSettings.model_validate({"secrets": SECRETS})),
        (database_backup, "pyrage", "backup", BackupSettings(databases=("a.db",), recipients=("age1x",))),
        (database_backup, "boto3", "backup", BackupSettings(databases=("a.db",), s3=BucketSettings(bucket="b"))),
    ],
)
def test_a_missing_library_is_said_in_a_sentence(
    project: Path, monkeypatch: pytest.MonkeyPatch, job: Callable[[], Any], library: str, extra: str, settings: Any
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    context = RunContext(job="x", run_id="r", project=project, settings=settings, report=lambda text: None)
    with running(context), pytest.raises(RunError, match=rf"install it with: pip install 'horae\[{extra}\]'"):
        job()
