"""Backing up PostgreSQL with its own tools, which must not be older than the server."""

import os
import shutil
import subprocess
from pathlib import Path

from infra._backup.artefact import sync
from infra._backup.databases import Postgres
from infra._backup.sqlite import BackupFailed, Made

SUFFIX = ".dump"


def back_up(database: Postgres, work: Path, timeout_seconds: float, tools: str | None = None) -> Made:
    """Dump into `work` in pg_dump's own compressed format, then read the whole archive again; raises BackupFailed.

    pg_dump sees one snapshot, however much is written meanwhile. `tools` is the folder of pg_dump and pg_restore.
    """
    packed = work / f"artefact{SUFFIX}"
    dump = [
        _program("pg_dump", tools),
        "--format=custom",
        "--no-password",
        f"--file={packed}",
        f"--dbname={database.url}",
    ]
    _run(dump, database, timeout_seconds)
    sync(packed)
    restore = _program("pg_restore", tools)
    listed = _run([restore, "--list", str(packed)], database, timeout_seconds).decode(errors="replace")
    tables = sum(" TABLE DATA " in line for line in listed.splitlines() if not line.startswith(";"))
    script = work / "restored.sql"
    _run([restore, f"--file={script}", str(packed)], database, timeout_seconds)
    copied, rows = count(script)
    if copied != tables:
        raise BackupFailed(f"the dump of {database} lists the data of {tables} tables and holds that of {copied}")
    script.unlink()
    return Made(file=packed, suffix=SUFFIX, tables=tables, rows=rows)


def count(script: Path) -> tuple[int, int]:
    """Tables and rows in a script of pg_restore: the blocks between `COPY ... FROM stdin;` and `\\.`."""
    tables = rows = 0
    copying = False
    with script.open("rb") as lines:
        for line in lines:
            if copying:
                copying = line != b"\\.\n"
                rows += copying
            elif line.startswith(b"COPY ") and line.endswith(b" FROM stdin;\n"):
                copying = True
                tables += 1
    if copying:
        raise BackupFailed("the dump ends in the middle of a table")
    return tables, rows


def _run(command: list[str], database: Postgres, timeout_seconds: float) -> bytes:
    environment = dict(os.environ)
    environment.setdefault("PGCONNECT_TIMEOUT", "15")
    if database.password is not None:
        environment["PGPASSWORD"] = database.password  # a command line can be read by every user of the machine
    tool = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BackupFailed(f"{tool} of {database} took longer than {timeout_seconds:g} s") from error
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[-500:]
        if database.password:
            said = said.replace(database.password, "***")
        raise BackupFailed(f"{tool} of {database} failed: {said}")
    return done.stdout


def _program(name: str, folder: str | None) -> str:
    found = shutil.which(name, path=folder)
    if found is None:
        where = folder or "PATH"
        raise BackupFailed(
            f"{name} is not in {where}; install it (Debian: apt install postgresql-client; macOS: brew install libpq) "
            "or say where it is: [jobs.database-backup] postgres_bin"
        )
    return found
