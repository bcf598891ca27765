"""Backing up PostgreSQL with its own tools, which must not be older than the server."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from horae.programs import run_program
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
    copied, rows = _read_all([restore, "--file=-", str(packed)], database, timeout_seconds)
    if copied != tables:
        raise BackupFailed(
            f"the dump of {database} lists the data of {tables} tables, but contains the data of {copied}"
        )
    return Made(file=packed, suffix=SUFFIX, tables=tables, rows=rows)


def count(script: Iterable[bytes]) -> tuple[int, int, bool]:
    """Tables and rows in a script of pg_restore, the blocks between `COPY ... FROM stdin;` and `\\.`, and whether the
    last of them is whole."""
    tables = rows = 0
    copying = False
    for line in script:
        if copying:
            copying = line != b"\\.\n"
            rows += copying
        elif line.startswith(b"COPY ") and line.endswith(b" FROM stdin;\n"):
            copying = True
            tables += 1
    return tables, rows, not copying


def _read_all(command: list[str], database: Postgres, timeout_seconds: float) -> tuple[int, int]:
    """Count what pg_restore prints, as it comes: unpacked, a dump may be larger than the disk."""
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said) as tool:
            assert tool.stdout
            alarm = threading.Timer(timeout_seconds, tool.kill)
            alarm.start()
            try:
                tables, rows, whole = count(tool.stdout)
            finally:
                alarm.cancel()
        said.seek(0)
        if tool.returncode == -signal.SIGKILL:
            raise BackupFailed(f"pg_restore of {database} took longer than {timeout_seconds:g} s")
        if tool.returncode:
            raise BackupFailed(_failure(command, database, said.read()))
    if not whole:
        raise BackupFailed(f"the dump of {database} ends in the middle of a table")
    return tables, rows


def _run(command: list[str], database: Postgres, timeout_seconds: float) -> bytes:
    environment = dict(os.environ)
    environment.setdefault("PGCONNECT_TIMEOUT", "15")
    if database.password is not None:
        environment["PGPASSWORD"] = database.password  # a command line can be read by every user of the machine
    tool = Path(command[0]).name
    done = run_program(command, env=environment, timeout_seconds=timeout_seconds)
    if done.timed_out:
        raise BackupFailed(f"{tool} of {database} took longer than {timeout_seconds:g} s")
    if done.status:
        raise BackupFailed(_failure(command, database, done.stderr))
    return done.stdout


def _failure(command: list[str], database: Postgres, stderr: bytes) -> str:
    said = " ".join(stderr.decode(errors="replace").split())[-500:]
    if database.password:
        said = said.replace(database.password, "***")
    return f"{Path(command[0]).name} of {database} failed: {said}"


def _program(name: str, folder: str | None) -> str:
    found = shutil.which(name, path=folder)
    if found is None:
        where = folder or "PATH"
        raise BackupFailed(
            f"{name} is not in {where}; install it (Debian: apt install postgresql-client; macOS: brew install libpq) "
            "or say where it is: [jobs.database-backup] postgres_bin"
        )
    return found
