"""The database backup while others write, while it is killed, and of a real PostgreSQL."""

import contextlib
import gzip
import itertools
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from horae.jobs.context import RunContext, running
from horae.jobs.restoring import RestoreOptions
from infra._backup import artefact, sqlite
from infra._backup.engine import BackupFailed
from infra._backup.restoring import BackupRestorer
from infra._backup.settings import BackupSettings
from infra.database_backup import database_backup
from tests.postgres_server import postgres_server, psql
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
# Each transaction moves one unit between two accounts: their sum is what a torn copy would get wrong.
WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute(f"PRAGMA journal_mode={sys.argv[2]}")
number = 0
while True:
    number += 1
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE accounts SET units = units - 1 WHERE id = 1")
    connection.execute("INSERT INTO moves (number, padding) VALUES (?, randomblob(500))", (number,))
    connection.execute("UPDATE accounts SET units = units + 1 WHERE id = 2")
    connection.execute("COMMIT")
    time.sleep(0.005)
"""
# For each number n on stdin, a fork that kills itself at its n-th touch of the file system, which Python's audit events
# report. Prints how the fork ended.
KILLED_BACKUP = """
import os, signal, sys
from pathlib import Path
import horae.clock, horae.settings
from infra._backup import artefact, backing_up, databases, postgres, retention, sqlite
from infra._backup.settings import BackupSettings
from infra.database_backup import database_backup
from horae.jobs.context import RunContext, running
project, left = Path(sys.argv[1]), 0
WATCHED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "fcntl.flock", "sqlite3.connect"}
def watch(event, arguments):
    global left
    if event in WATCHED:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
settings = BackupSettings(keep_last=2, keep_daily=0, keep_weekly=0, keep_monthly=0)
def back_up():
    with running(RunContext(job="database-backup", run_id="r", project=project, settings=settings)):
        sys.addaudithook(watch)
        database_backup(databases=["bank.db"])
for line in sys.stdin:
    left = int(line)
    child = os.fork()
    if child == 0:
        back_up()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

TWO_BACKUPS = """
import json, os, sys
from pathlib import Path
from horae.jobs.context import RunContext, running
from infra._backup.engine import BackupFailed
from infra._backup.restoring import BackupRestorer
from infra._backup.settings import BackupSettings
from infra.database_backup import database_backup
project, folder = Path(sys.argv[1]), Path(sys.argv[2])
told = {}
context = RunContext(job="j", run_id="r", project=project, settings=BackupSettings(folder=str(folder)), report=str)
with running(context):
    database_backup(databases=["small.db"])
    told["before"] = sorted(os.listdir(folder))
    try:
        database_backup(databases=["large.db"])
    except BackupFailed as error:
        told["error"] = error.message
    told["after"] = sorted(os.listdir(folder))
print(json.dumps(told))
"""

# A restore that dies when it has unpacked the database beside its target.
KILLED_RESTORE = """
import os, signal, sys
from pathlib import Path
from horae.jobs.restoring import RestoreOptions
from infra._backup.restoring import BackupRestorer
from infra._backup.settings import BackupSettings
def watch(event, arguments):
    if event == "os.link":
        os.kill(os.getpid(), signal.SIGKILL)
restorer = BackupRestorer(Path(sys.argv[1]), BackupSettings(), RestoreOptions())
sys.addaudithook(watch)
restorer.restore(restorer.backups()[0], sys.argv[2])
"""


def bank(path: Path, padding_rows: int) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, units INTEGER)")
        connection.execute("CREATE TABLE moves (number INTEGER, padding BLOB)")
        connection.execute("INSERT INTO accounts VALUES (1, 1000000), (2, 0)")
        connection.executemany("INSERT INTO moves VALUES (0, randomblob(500))", [()] * padding_rows)
    return path


@contextlib.contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def moves(path: Path) -> int:
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        return int(connection.execute("SELECT max(number) FROM moves").fetchone()[0])


def run(project: Path, database: str, **settings: Any) -> dict[str, Any]:
    context = RunContext(job="database-backup", run_id="r", project=project, settings=BackupSettings(**settings))
    with running(context):
        (made,) = database_backup(databases=[database])["databases"]
    return dict(made)


def restored(file: Path, to: Path) -> Path:
    to.write_bytes(gzip.decompress(file.read_bytes()))
    return to


def assert_sound(path: Path) -> None:
    sqlite.check(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT sum(units) FROM accounts").fetchone() == (1_000_000,)
        moved, last = connection.execute(
            "SELECT (SELECT units FROM accounts WHERE id = 2), (SELECT max(number) FROM moves)"
        ).fetchone()
        assert moved == last


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_backup_under_a_steady_writer_is_one_instant_of_it(project: Path, tmp_path: Path, journal: str) -> None:
    source = bank(project / "bank.db", padding_rows=20_000)
    with process(sys.executable, "-c", WRITER, str(source), journal) as writer:
        wait_for(lambda: moves(source) > 5, "the writer's first moves")
        for number in range(3):
            before = moves(source)
            made = run(project, "bank.db")
            copy = restored(Path(made["file"]), tmp_path / f"{number}.db")
            assert_sound(copy)
            assert before <= moves(copy)
        after = moves(source)
        wait_for(lambda: moves(source) > after, "the writer to go on, undisturbed")
        assert writer.poll() is None


def test_a_backup_after_the_writer_was_killed(project: Path, tmp_path: Path) -> None:
    source = bank(project / "bank.db", padding_rows=10)
    with process(sys.executable, "-c", WRITER, str(source), "wal") as writer:
        wait_for(lambda: moves(source) > 20, "twenty moves in the log")
        writer.kill()
        writer.wait()
        made = run(project, "bank.db")
    assert_sound(restored(Path(made["file"]), tmp_path / "copy.db"))


def assert_whole(folder: Path, copy: Path) -> None:
    """Every backup in the folder has its companions, and restores."""
    for found in artefact.artefacts(artefact.files_in(folder)):
        checksum = (folder / f"{found.name}{artefact.CHECKSUM}").read_text()
        assert checksum == f"{artefact.sha256(folder / found.name)}  {found.name}\n"
        assert json.loads((folder / f"{found.name}{artefact.MANIFEST}").read_text())["file"] == found.name
        assert_sound(restored(folder / found.name, copy))


def test_killed_at_any_moment_leaves_only_whole_backups(project: Path, tmp_path: Path) -> None:
    bank(project / "bank.db", padding_rows=100)
    folder = project / ".horae" / "backups"
    left_behind = 0
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_BACKUP, str(project)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as backups:
        assert backups.stdin
        assert backups.stdout
        for moment in itertools.count(1):
            backups.stdin.write(f"{moment}\n")
            backups.stdin.flush()
            status = int(backups.stdout.readline())
            if status == 0:
                break
            assert status == -signal.SIGKILL
            assert_whole(folder, tmp_path / "copy.db")
            left_behind += any(folder.glob(f"{artefact.WORKSPACE}*"))
    assert moment > 20  # it was killed that often, and most often in the middle of its work
    assert left_behind > 10
    names = {path.name for path in folder.iterdir()}
    finished = artefact.artefacts(names)
    assert len(finished) == 2
    assert names == {f"{found.name}{end}" for found in finished for end in ("", *artefact.COMPANIONS)} | {".lock"}


def test_a_restore_that_was_killed_leaves_no_half_database(project: Path, tmp_path: Path) -> None:
    bank(project / "bank.db", padding_rows=10)
    run(project, "bank.db")
    target = tmp_path / "new.db"
    with process(sys.executable, "-c", KILLED_RESTORE, str(project), str(target)) as restore:
        assert restore.wait(60) == -signal.SIGKILL
    assert not target.exists()
    assert len(list(tmp_path.glob(".new.db.horae-restore-*"))) == 1
    restorer = BackupRestorer(project, BackupSettings(), RestoreOptions())
    assert restorer.restore(restorer.backups()[0], str(target)).differences == []
    assert_sound(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.db", "project"]
    assert not list((project / ".horae/backups").glob(f"{artefact.WORKSPACE}*"))


def test_a_full_disk_is_said_and_older_backups_stay(project: Path, tmp_path: Path) -> None:
    """On a small file system of its own."""
    backups = tmp_path / "small"
    backups.mkdir()
    mount = f"mount -t tmpfs -o size=1m tmpfs {backups} && exec "
    limited = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*limited, mount + "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a file system in a namespace of its own")
    with closing(sqlite3.connect(project / "small.db")) as connection, connection:
        connection.execute("CREATE TABLE goods AS SELECT 1 AS n")
    bank(project / "large.db", padding_rows=1200)  # fits, but not three times
    done = subprocess.run(
        [*limited, mount + shlex.join([sys.executable, "-c", TWO_BACKUPS, str(project), str(backups)])],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    assert "MiB are needed; the disk of" in said["error"]
    assert "is full, and older backups stay as they are" in said["error"]
    assert said["before"] == said["after"]
    assert len(said["after"]) == 4  # a backup with its companions, and the lock


@pytest.fixture(scope="module")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL with a password, a table of 1,000 rows and an empty one."""
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        psql(url, "CREATE TABLE goods AS SELECT n, 'x' || n AS name FROM generate_series(1, 1000) AS n")
        psql(url, "CREATE TABLE nothing (a int)")
        yield url


@pytest.mark.requires("postgres")
def test_postgres_is_dumped_checked_and_restores(project: Path, postgres_url: str) -> None:
    made = run(project, postgres_url.replace("postgresql://", "postgresql+asyncpg://"))
    assert (made["tables"], made["rows"]) == (2, 1000)
    assert made["file"].endswith(".dump")
    assert "s3cret" not in str(made)
    fresh = postgres_url.removesuffix("/postgres") + "/fresh"
    psql(postgres_url, "CREATE DATABASE fresh")
    subprocess.run(["pg_restore", f"--dbname={fresh}", "--exit-on-error", made["file"]], check=True)
    assert psql(fresh, "SELECT count(*), min(name) FROM goods") == "1000|x1"


@pytest.mark.requires("postgres")
def test_a_wrong_password_fails_clearly_and_is_not_shown(project: Path, postgres_url: str) -> None:
    wrong = postgres_url.replace("s3cret%2Fword", "not-it-hush")
    with pytest.raises(
        BackupFailed, match=r"pg_dump of postgresql://boss@127.*password authentication failed"
    ) as caught:
        run(project, wrong)
    assert "hush" not in caught.value.message
    assert artefact.artefacts(artefact.files_in(project / ".horae" / "backups")) == []


@pytest.mark.requires("postgres")
def test_a_dump_that_was_cut_short_is_refused(project: Path, postgres_url: str, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    real = shutil.which("pg_restore")
    assert real is not None
    (tools / "pg_restore").symlink_to(real)
    dump = tools / "pg_dump"  # the real one, and then the disk loses the end of what it wrote
    dump.write_text(
        f'#!/bin/sh\n{shutil.which("pg_dump")} "$@" || exit\n'
        'for a in "$@"; do case $a in --file=*) truncate -s -2000 "${a#--file=}";; esac; done\n'
    )
    dump.chmod(0o755)
    with pytest.raises(BackupFailed, match="pg_restore of"):
        run(project, postgres_url, postgres_bin=str(tools))
    assert artefact.artefacts(artefact.files_in(project / ".horae" / "backups")) == []
