"""Backs up every configured database, daily at 02:00 UTC.

It runs on the queue because it must survive restarts: a backup that was due while everything was down is caught up. It
may run on start, and twice: it adds a file and changes no database.
"""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from horae import Retry, RunContext, clock, cron, current_run, job
from horae.settings import load
from infra._backup import artefact, postgres, retention, sqlite
from infra._backup.databases import Database, SQLite, chosen
from infra._backup.settings import BackupSettings
from infra._backup.sqlite import BackupFailed


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
def database_backup(*, databases: Sequence[str] | None = None) -> dict[str, Any]:
    """Back up every configured database, prove that each backup restores, and drop the oldest.

    `databases` replaces the configured ones for this run. Do not put passwords into it, because the context is stored.
    A database that fails does not stop the others: the run fails at its end, and names it.
    """
    run = current_run()
    settings: BackupSettings = run.settings or BackupSettings()
    state = load(run.project).state
    folder = run.project / Path(settings.folder).expanduser() if settings.folder else state / "backups"
    given = settings.databases if databases is None else tuple(databases)
    made: list[dict[str, Any]] = []
    removed: list[str] = []
    wanted, failed = chosen(given, run.project, state, os.environ)
    for database in wanted:
        run.report(f"{database.name}: backing up {database}")
        try:
            with artefact.workspace(folder) as work:
                made.append(_back_up(database, work, folder, settings))
        except Exception as error:  # any failure: the other databases must still be backed up
            failed[str(database)] = str(error) or type(error).__name__
            run.report(f"{database.name}: {failed[str(database)]}")
        else:
            backups = [backup for backup in artefact.artefacts(folder) if backup.database == database.name]
            removed += retention.rotate(backups, settings)
    _conclude(run, made, failed)
    return {"databases": made, "removed": removed}


def _back_up(database: Database, work: Path, folder: Path, settings: BackupSettings) -> dict[str, Any]:
    began, at = monotonic(), clock.now()
    if isinstance(database, SQLite):
        result = sqlite.back_up(database.path, work, settings.timeout_seconds)
    else:
        result = postgres.back_up(database, work, settings.timeout_seconds, settings.postgres_bin)
    name = artefact.file_name(database.name, at, result.suffix)
    size = result.file.stat().st_size
    digest = artefact.publish(result.file, folder, name)
    return {
        "name": database.name,
        "file": str(folder / name),
        "bytes": size,
        "sha256": digest,
        "tables": result.tables,
        "rows": result.rows,
        "seconds": round(monotonic() - began, 3),
    }


def _conclude(run: RunContext, made: list[dict[str, Any]], failed: dict[str, str]) -> None:
    if failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise BackupFailed(f"{len(failed)} of {len(made) + len(failed)} databases were not backed up: {reasons}")
    total = sum(entry["bytes"] for entry in made)
    run.report(f"{len(made)} backed up and checked, {total / 1e6:.1f} MB")
