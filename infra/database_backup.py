"""Backs up every configured database, daily at 02:00 UTC.

It runs on the queue because it must survive restarts: a backup that was due while everything was down is caught up. It
may run on start, and twice: it adds a file and changes no database.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from horae import Retry, cron, current_run, job
from horae.jobs.restoring import RestoreOptions, Restorer, restores
from infra._backup.settings import BackupSettings


@job(
    name="database-backup",
    schedule=cron("0 2 * * *"),
    traits={"infrastructure", "survives_restarts"},
    time_limit=timedelta(hours=1),
    retry=Retry(retries=2, base_delay=timedelta(seconds=30)),
    run_on_start=True,
    idempotent=True,
    settings=BackupSettings,
)
def database_backup(*, databases: Sequence[str] | None = None, dry_run: bool = False) -> dict[str, Any]:
    """Back up every configured database, prove that each backup restores, and drop the oldest.

    `databases` replaces the configured ones for this run. Do not put passwords into it, because the context is stored.
    `dry_run` logs in everywhere, says what would be done, and changes nothing. A database that fails does not stop the
    others: the run fails at its end, and names it.
    """
    from infra._backup.backing_up import BackupRun

    run = current_run()
    backup = BackupRun(run, run.settings or BackupSettings(), databases)
    return backup.plan() if dry_run else backup.back_up()


@restores(database_backup)
def restorer(project: Path, settings: Any, options: RestoreOptions) -> Restorer:
    """Called by `horae restore`."""
    from infra._backup.restoring import BackupRestorer

    return BackupRestorer(project, settings or BackupSettings(), options)
