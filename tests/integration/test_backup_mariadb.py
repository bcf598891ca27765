"""The database backup, its restores and its drills on a real MariaDB."""

import gzip
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from horae.jobs.context import RunContext, running
from horae.jobs.restoring import Restored, RestoreOptions
from infra._backup import artefact
from infra._backup.engine import BackupFailed, RestoreRefused
from infra._backup.restoring import BackupRestorer
from infra._backup.settings import BackupSettings
from infra.database_backup import database_backup
from tests.mariadb_server import PASSWORD, MariaDB, mariadb_server
from tests.waiting import wait_for

pytestmark = pytest.mark.requires("mariadb")
ROOT = Path(__file__).parents[2]
# Values and programs that a reader of the script could mistake for rows.
SHOP = r"""
CREATE TABLE goods (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100), raw BLOB, doc JSON, place GEOMETRY,
  bits BIT(3),  size INT AS (LENGTH(name)) STORED);
INSERT INTO goods (name, raw, doc, place, bits) VALUES
  ('a (b), c); ', '(\n;', '{"a": "(1),(2)"}', POINT(1, 2), b'101'), ('it''s \\ ', x'00ff27', NULL, NULL, NULL);
CREATE TABLE `od``d (t)` (a INT) ENGINE=Aria;
INSERT INTO `od``d (t)` VALUES (1), (2), (3);
CREATE TABLE none_yet (a INT);
CREATE TABLE beats (a INT);
CREATE VIEW few AS SELECT id FROM goods;
DELIMITER //
CREATE TRIGGER counted BEFORE INSERT ON none_yet FOR EACH ROW BEGIN
INSERT INTO `goods` (name) VALUES ('x');
END//
CREATE PROCEDURE fill() BEGIN
INSERT INTO `none_yet` VALUES (1), (2);
END//
CREATE EVENT beat ON SCHEDULE EVERY 1 SECOND DO INSERT INTO shop.beats VALUES (1)//
DELIMITER ;
ALTER DATABASE shop CHARACTER SET utf8mb4;
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from horae.jobs.context import RunContext, running
from infra._backup.settings import BackupSettings
from infra.database_backup import database_backup
def watch(event, arguments):
    if event == "subprocess.Popen" and sys.argv[3] in str(arguments[1]):
        os.kill(os.getpid(), signal.SIGKILL)
settings = BackupSettings(drill="folder")
with running(RunContext(job="database-backup", run_id="r", project=Path(sys.argv[1]), settings=settings)):
    sys.addaudithook(watch)
    database_backup(databases=[sys.argv[2]])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with mariadb_server(tmp_path_factory.mktemp("m")) as found:
        found.ask("CREATE DATABASE shop")
        found.ask(SHOP, "shop")
        yield found


def back_up(project: Path, url: str, told: list[str] | None = None, **settings: Any) -> dict[str, Any]:
    report = ([] if told is None else told).append
    found = BackupSettings(**settings)
    context = RunContext(job="database-backup", run_id="r", project=project, settings=found, report=report)
    with running(context):
        [entry] = database_backup(databases=[url])["databases"]
    return dict(entry)


def restorer(project: Path, *databases: str) -> BackupRestorer:
    return BackupRestorer(project, BackupSettings(databases=databases), RestoreOptions())


def restored(project: Path, target: str) -> Restored:
    found = restorer(project)
    return found.restore(found.backups()[0], target)


def by_file(server: MariaDB, database: str, folder: Path) -> str:
    (folder / "password").write_text(f"{PASSWORD}\n")
    return server.url(database).replace(":s3cret%2F%22w%5Co%23rd", "") + f"?password_file={folder / 'password'}"


def databases(server: MariaDB) -> set[str]:
    return set(server.ask("SHOW DATABASES").split()) - {"information_schema", "mysql", "performance_schema", "sys"}


def rows_of(entry: dict[str, Any]) -> int:
    """Without those of the table that an event fills."""
    script = gzip.decompress(Path(entry["file"]).read_bytes())
    return int(entry["rows"]) - script.partition(b"INSERT INTO `beats`")[2].partition(b";\n")[0].count(b"(1)")


def test_everything_in_a_database_comes_back(project: Path, server: MariaDB, tmp_path: Path) -> None:
    told: list[str] = []
    entry = back_up(project, by_file(server, "shop", tmp_path), told)
    note = "tables without transactions may be of another instant than the others: od`d (t)"
    assert told[-1].startswith(f"{entry['name']}: {note}; 1 backed up and checked, restore not drilled")
    assert (entry["tables"], rows_of(entry)) == (4, 5)
    assert entry["notes"] == [note]
    result = restored(project, by_file(server, "shop_new", tmp_path))
    assert (result.tables, result.differences) == (4, [])
    wanted = "SELECT id, name, HEX(raw), doc, ST_AsText(place), bits + 0, size FROM goods"
    assert server.ask(wanted, "shop_new") == server.ask(wanted, "shop")
    assert server.ask("SELECT COUNT(*) FROM few", "shop_new") == "2"
    server.ask("CALL fill()", "shop_new")
    assert server.ask("SELECT COUNT(*) FROM goods", "shop_new") == "4"  # the procedure, and the trigger
    assert "beat" in server.ask("SHOW EVENTS", "shop_new")
    # Its routines were made under another character set, which the dump sets for them.
    script = gzip.decompress(Path(entry["file"]).read_bytes())
    assert script.count(b"ALTER DATABASE CHARACTER SET latin1") == 3  # trigger, event, procedure
    assert b"ALTER DATABASE `shop`" not in script
    server.ask("DROP DATABASE shop_new")


def test_a_database_with_content_or_users_is_not_overwritten(project: Path, server: MariaDB, tmp_path: Path) -> None:
    back_up(project, server.url("shop"))
    with pytest.raises(
        RestoreRefused, match=r"/shop is not empty: it has 7 tables, views.*; give the name of a new database"
    ):
        restored(project, by_file(server, "shop", tmp_path))
    server.ask("CREATE DATABASE waiting")
    with subprocess.Popen(server.client("waiting"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as session:
        seen = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'waiting'"
        wait_for(lambda: server.ask(seen) == "1", "the session")
        with pytest.raises(RestoreRefused, match="is in use by 1 sessions"):
            restored(project, by_file(server, "waiting", tmp_path))
        session.communicate()
    wait_for(lambda: server.ask(seen) == "0", "the end of the session")
    assert restored(project, by_file(server, "waiting", tmp_path)).tables == 4  # empty, and nobody uses it
    server.ask("DROP DATABASE waiting")


def test_a_drill_runs_no_event_and_leaves_nothing(project: Path, server: MariaDB) -> None:
    entry = back_up(project, server.url("shop"), drill="folder")
    assert (entry["drill"]["tables"], entry["drill"]["compared"], entry["drill"]["differences"]) == (4, 4, [])
    assert databases(server) == {"shop"}


def test_a_login_with_the_documented_rights_is_enough(project: Path, server: MariaDB) -> None:
    grants = ("SELECT, SHOW VIEW, TRIGGER, EVENT ON shop.*", "SELECT ON mysql.proc")
    server.ask("CREATE USER keeper@'127.0.0.1' IDENTIFIED BY 'kept'")
    for grant in grants:
        server.ask(f"GRANT {grant} TO keeper@'127.0.0.1'")
    url = server.url("shop").replace("boss:s3cret%2F%22w%5Co%23rd", "keeper:kept")
    with pytest.raises(BackupFailed, match=r"CREATE DATABASE .*Access denied for user 'keeper'"):
        back_up(project, url, drill="folder")
    server.ask("GRANT ALL ON `horae\\_drill\\_%`.* TO keeper@'127.0.0.1'")
    entry = back_up(project, url, drill="folder")
    assert (entry["drill"]["tables"], entry["drill"]["differences"]) == (4, [])
    script = gzip.decompress(Path(entry["file"]).read_bytes())
    assert all(name in script for name in (b"TRIGGER counted", b"PROCEDURE `fill`", b"EVENT `beat`", b"VIEW `few`"))
    assert databases(server) == {"shop"}
    assert not list((project / ".horae/backups").glob(".scratch-*"))


def test_a_drill_finds_a_row_that_was_lost(project: Path, server: MariaDB) -> None:
    """The script is whole, and its checksum is right."""
    path = Path(back_up(project, server.url("shop"))["file"])
    script = gzip.decompress(path.read_bytes())
    assert b"(1),\n(2),\n(3);" in script
    path.write_bytes(gzip.compress(script.replace(b"(1),\n(2),\n(3);", b"(1),\n(3);")))
    Path(f"{path}.sha256").write_text(f"{artefact.sha256(path)}  {path.name}\n")
    found = restorer(project, server.url("shop"))
    result = found.drill(found.backups()[0])
    assert result.differences == ["table od`d (t) has 2 rows and 3 were backed up"]
    assert databases(server) == {"shop"}


@pytest.mark.parametrize("program", ["mariadb-dump", "--binary-mode"])
def test_killed_in_the_middle_the_next_run_cleans_up(project: Path, server: MariaDB, program: str) -> None:
    """During the dump, and during the restore of the drill, when the scratch database is there."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(project), server.url("shop"), program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = project / ".horae/backups"
    assert list(folder.glob(f"{artefact.WORKSPACE}*"))
    assert len(databases(server)) == (1 if program == "mariadb-dump" else 2)
    back_up(project, server.url("shop"), drill="folder")
    assert databases(server) == {"shop"}
    assert not [path for path in folder.iterdir() if path.name.startswith((artefact.WORKSPACE, ".scratch-"))]


def test_a_wrong_password_and_a_missing_database_are_said(project: Path, server: MariaDB) -> None:
    with pytest.raises(
        BackupFailed, match=r"mariadb-dump of mysql://boss@127.*Access denied for user 'boss'"
    ) as caught:
        back_up(project, server.url("shop", "not-it-hush"))
    assert "hush" not in caught.value.message
    with pytest.raises(BackupFailed, match="Unknown database 'absent'"):
        back_up(project, server.url("absent"))
    assert artefact.files_in(project / ".horae/backups") == [".lock"]


def test_an_option_file_of_the_programs_is_read(project: Path, server: MariaDB, tmp_path: Path) -> None:
    file = tmp_path / "client.cnf"
    file.write_text('[client]\nuser=boss\npassword="s3cret/\\"w\\\\o#rd"\nprotocol=tcp\n')
    made = back_up(project, f"mysql://127.0.0.1:{server.port}/shop?option_file={file}")
    assert made["tables"] == 4


def test_missing_programs_are_named_with_their_package(project: Path, server: MariaDB, tmp_path: Path) -> None:
    with pytest.raises(
        BackupFailed, match=r"mariadb-dump or mysqldump is not in .*apt install mariadb-client.*mysql_bin"
    ):
        back_up(project, server.url("shop"), mysql_bin=str(tmp_path))


def test_a_full_disk_is_said(project: Path, server: MariaDB) -> None:
    """A limit on the size of files fails writes as a full disk does, at the same calls."""
    server.ask("CREATE DATABASE large")
    server.ask("CREATE TABLE t (a LONGBLOB); INSERT INTO t VALUES (RANDOM_BYTES(1024))", "large")
    server.ask("INSERT INTO t SELECT RANDOM_BYTES(1024) FROM seq_1_to_500", "large")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(BackupFailed, match=r"File too large.*is full, and older backups stay as they are"):
            back_up(project, server.url("large"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
        server.ask("DROP DATABASE large")
    assert artefact.files_in(project / ".horae/backups") == [".lock"]


def test_no_command_line_holds_the_password(project: Path, server: MariaDB, tmp_path: Path) -> None:
    tools, seen = tmp_path / "tools", tmp_path / "seen"
    tools.mkdir()
    for name in ("mariadb-dump", "mariadb"):
        (tools / name).write_text(f'#!/bin/sh\necho "$0 $*" >>{seen}; env >>{seen}\nexec {shutil.which(name)} "$@"\n')
        (tools / name).chmod(0o755)
    back_up(project, by_file(server, "shop", tmp_path), mysql_bin=str(tools), drill="folder")
    assert "--binary-mode" in seen.read_text()
    assert "--routines" in seen.read_text()
    assert "s3cret" not in seen.read_text()
