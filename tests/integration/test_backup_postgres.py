"""Restores and drills of the database backup on a real PostgreSQL."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from horae.errors import InvalidSettings
from horae.jobs.context import RunContext, running
from horae.jobs.restoring import Restored, RestoreOptions
from infra._backup import artefact
from infra._backup.engine import BackupFailed, RestoreRefused
from infra._backup.restoring import BackupRestorer
from infra._backup.settings import BackupSettings
from infra.database_backup import database_backup
from tests.postgres_server import postgres_server, psql
from tests.waiting import wait_for

pytestmark = pytest.mark.requires("postgres")
ROOT = Path(__file__).parents[2]
# A drill that dies while it restores into its scratch database.
KILLED = """
import os, signal, sys
from pathlib import Path
from horae.jobs.restoring import RestoreOptions
from infra._backup.restoring import BackupRestorer
from infra._backup.settings import BackupSettings
def watch(event, arguments):
    if event == "subprocess.Popen" and "pg_restore" in str(arguments[1]):
        os.kill(os.getpid(), signal.SIGKILL)
settings = BackupSettings(databases=(sys.argv[2],))
restorer = BackupRestorer(Path(sys.argv[1]), settings, RestoreOptions())
sys.addaudithook(watch)
restorer.drill(restorer.backups()[0])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database `shop` with an extension, a view, odd names and a user without rights."""
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        psql(url, "CREATE ROLE keeper LOGIN PASSWORD 'kept'")
        psql(url, "CREATE DATABASE shop")
        shop = at(url, "shop")
        psql(shop, "CREATE TABLE goods AS SELECT n, 'x' || n AS name FROM generate_series(1, 1000) AS n")
        psql(shop, 'CREATE SCHEMA "My Schema"; CREATE TABLE "My Schema"."odd ""(x)" ("a b" int)')
        psql(shop, "CREATE TABLE parted (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF parted DEFAULT")
        psql(shop, "INSERT INTO parted VALUES (1), (2); CREATE VIEW few AS SELECT * FROM goods WHERE n < 5")
        psql(shop, "GRANT SELECT ON goods TO keeper; ALTER TABLE parted OWNER TO keeper")
        yield shop


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another server, without the roles of the first."""
    with postgres_server(tmp_path_factory.mktemp("other")) as url:
        yield url


def at(url: str, database: str) -> str:
    return f"{url.rpartition('/')[0]}/{database}"


def by_file(url: str, folder: Path) -> str:
    """The URL with its password in a file."""
    (folder / "password").write_text("s3cret/word\n")
    return f"{url.replace(':s3cret%2Fword', '')}?password_file={folder / 'password'}"


def back_up(project: Path, url: str, **settings: Any) -> dict[str, Any]:
    context = RunContext(job="database-backup", run_id="r", project=project, settings=BackupSettings(**settings))
    with running(context):
        [entry] = database_backup(databases=[url])["databases"]
    return dict(entry)


def restorer(project: Path, *databases: str, owners: bool = False, **settings: Any) -> BackupRestorer:
    found = BackupSettings(databases=databases, **settings)
    return BackupRestorer(project, found, RestoreOptions(owners=owners))


def restored(project: Path, target: str, owners: bool = False) -> Restored:
    found = restorer(project, owners=owners)
    return found.restore(found.backups()[0], target)


def databases(url: str) -> set[str]:
    return set(psql(url, "SELECT datname FROM pg_database WHERE NOT datistemplate").splitlines())


def test_a_restore_creates_the_database_that_is_named(project: Path, server: str, tmp_path: Path) -> None:
    made = back_up(project, by_file(server, tmp_path))
    assert (made["tables"], made["rows"]) == (3, 1002)
    target = at(by_file(server, tmp_path).partition("?")[0], "new shop").replace(" ", "%20")
    result = restored(project, f"{target}?password_file={tmp_path / 'password'}")
    assert (result.tables, result.rows, result.compared, result.differences) == (3, 1002, 3, [])
    new = at(server, "new%20shop")
    assert psql(new, "SELECT count(*) FROM few") == "4"
    assert psql(new, "SELECT tableowner FROM pg_tables WHERE tablename = 'parted'") == "boss"
    psql(server, 'DROP DATABASE "new shop"')


def test_owners_and_grants_come_back_if_they_are_asked_for(project: Path, server: str, tmp_path: Path) -> None:
    back_up(project, server)
    url = by_file(at(server, "owned"), tmp_path)
    restored(project, url, owners=True)
    owned = at(server, "owned")
    assert psql(owned, "SELECT tableowner FROM pg_tables WHERE tablename = 'parted'") == "keeper"
    assert psql(owned, "SELECT has_table_privilege('keeper', 'goods', 'SELECT')") == "t"
    psql(server, "DROP DATABASE owned")


def test_a_database_with_content_or_users_is_not_overwritten(project: Path, server: str, tmp_path: Path) -> None:
    back_up(project, server)
    with pytest.raises(
        RestoreRefused, match=r"/shop is not empty: it has \d+ tables.*; give the name of a new database"
    ):
        restored(project, by_file(server, tmp_path))
    assert psql(server, "SELECT count(*) FROM goods") == "1000"
    psql(server, "CREATE DATABASE waiting")
    waiting = at(server, "waiting")
    with subprocess.Popen(["psql", "-X", waiting], stdin=subprocess.PIPE) as session:
        seen = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'waiting'"
        wait_for(lambda: psql(server, seen) == "1", "the session")
        with pytest.raises(RestoreRefused, match="is in use by 1 other sessions"):
            restored(project, by_file(waiting, tmp_path))
        session.communicate()
    wait_for(lambda: psql(server, seen) == "0", "the end of the session")
    assert restored(project, by_file(waiting, tmp_path)).rows == 1002  # empty, and nobody uses it
    psql(server, "DROP DATABASE waiting")


def test_a_restore_that_fails_leaves_no_database(project: Path, server: str, other: str, tmp_path: Path) -> None:
    """The role of the owner is missing on that server."""
    back_up(project, server)
    with pytest.raises(BackupFailed, match=r'pg_restore of .*role "keeper" does not exist'):
        restored(project, by_file(at(other, "owned"), tmp_path), owners=True)
    assert databases(other) == {"postgres"}


def test_a_password_on_the_command_line_is_refused(project: Path, server: str) -> None:
    back_up(project, server)
    with pytest.raises(InvalidSettings, match=r"write \?password_file=PATH") as caught:
        restored(project, at(server, "new"))
    assert "s3cret" not in caught.value.message


def test_the_job_drills_on_another_server(project: Path, server: str, other: str) -> None:
    entry = back_up(project, server, drill="folder", drill_postgres=other)
    assert (entry["drill"]["tables"], entry["drill"]["rows"], entry["drill"]["differences"]) == (3, 1002, [])
    assert f"127.0.0.1:{other.split(':')[-1].split('/')[0]}/horae_drill_" in entry["drill"]["target"]
    assert databases(other) == {"postgres"}
    assert databases(server) == {"postgres", "shop"}


def test_a_drill_finds_rows_that_the_dump_lost(project: Path, server: str) -> None:
    """The dump restores without an error, and its checksum is right."""
    entry = back_up(project, server)
    path = Path(entry["file"])
    psql(server, "CREATE DATABASE lossy TEMPLATE shop")
    psql(at(server, "lossy"), 'DELETE FROM goods WHERE n = 7; DROP TABLE "My Schema"."odd ""(x)"')
    subprocess.run(["pg_dump", "--format=custom", f"--file={path}", at(server, "lossy")], check=True)
    Path(f"{path}.sha256").write_text(f"{artefact.sha256(path)}  {path.name}\n")
    found = restorer(project, server)
    result = found.drill(found.backups()[0])
    assert result.differences == [
        'table My Schema.odd "(x) is missing',
        "table public.goods has 999 rows and 1000 were backed up",
    ]
    psql(server, "DROP DATABASE lossy")
    assert databases(server) == {"postgres", "shop"}


def test_a_drill_that_was_killed_is_cleaned_up_by_the_next(project: Path, server: str) -> None:
    back_up(project, server)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(project), server],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    psql(server, "CREATE DATABASE horae_drill_by_somebody_else")
    assert len(databases(server)) == 4
    found = restorer(project, server)
    assert found.drill(found.backups()[0]).differences == []
    assert databases(server) == {"postgres", "shop", "horae_drill_by_somebody_else"}
    psql(server, "DROP DATABASE horae_drill_by_somebody_else")
    assert not list((project / ".horae/backups").glob(".scratch-*"))


def test_a_login_that_may_not_create_databases_is_told_so(project: Path, server: str) -> None:
    psql(server, "GRANT pg_read_all_data TO keeper")
    keeper = server.replace("boss:s3cret%2Fword", "keeper:kept")
    with pytest.raises(BackupFailed, match=r"psql of .*permission denied to create database"):
        back_up(project, keeper, drill="folder")
    assert len(artefact.artefacts(artefact.files_in(project / ".horae/backups"))) == 1


def test_a_full_disk_is_said(project: Path, server: str) -> None:
    """A limit on the size of files ends pg_dump as a full disk does, at the same calls."""
    psql(server, "CREATE DATABASE large")
    large = at(server, "large")
    psql(large, "CREATE TABLE t AS SELECT md5(random()::text) AS a FROM generate_series(1, 20000)")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(BackupFailed, match=r"pg_dump of .*is full, and older backups stay as they are"):
            back_up(project, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        psql(server, "DROP DATABASE large")
    assert artefact.files_in(project / ".horae/backups") == [".lock"]


def test_no_command_line_holds_the_password(project: Path, server: str, tmp_path: Path) -> None:
    tools, seen = tmp_path / "tools", tmp_path / "seen"
    tools.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        (tools / name).write_text(f'#!/bin/sh\necho "$0 $*" >>{seen}\nexec {shutil.which(name)} "$@"\n')
        (tools / name).chmod(0o755)
    back_up(project, server, postgres_bin=str(tools), drill="folder")
    said = seen.read_text()
    assert {line.split()[0].rpartition("/")[2] for line in said.splitlines() if line.startswith(str(tools))} == {
        "pg_dump",
        "pg_restore",
        "psql",
    }
    assert "s3cret" not in said
