"""Restores and drills on real SQLite files: what is restored, what is refused, what a drill finds."""

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyrage
import pytest

from horae.errors import InvalidSettings
from horae.jobs.context import RunContext, running
from horae.jobs.restoring import Restored, RestoreOptions
from infra._backup import artefact, restoring, sqlite
from infra._backup.engine import BackupFailed, RestoreRefused
from infra._backup.settings import BackupSettings
from infra.database_backup import database_backup


@pytest.fixture
def project(project: Path) -> Path:
    with closing(sqlite3.connect(project / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE goods (name)")
        connection.executemany("INSERT INTO goods VALUES (?)", [(f"x{n}",) for n in range(500)])
        connection.execute("CREATE TABLE empty_one (a)")
    return project


def back_up(project: Path, attempt: int = 1, **settings: Any) -> tuple[dict[str, Any], list[str]]:
    """The result's entry, and the lines that were reported."""
    told: list[str] = []
    context = RunContext(
        job="database-backup",
        run_id="r",
        project=project,
        attempt=attempt,
        settings=BackupSettings(**settings),
        report=told.append,
    )
    with running(context):
        [entry] = database_backup(databases=["shop.db"])["databases"]
    return entry, told


def restorer(project: Path, *, dry_run: bool = False, identity: Path | None = None, **settings: Any) -> Any:
    options = RestoreOptions(dry_run=dry_run, identity=identity)
    return restoring.BackupRestorer(project, BackupSettings(**settings), options)


def drilled(project: Path, **given: Any) -> Restored:
    found = restorer(project, **given)
    result = found.drill(found.backups()[0])
    assert isinstance(result, Restored)
    return result


def restored(project: Path, target: Path, **given: Any) -> Restored:
    found = restorer(project, **given)
    result = found.restore(found.backups()[0], str(target))
    assert isinstance(result, Restored)
    return result


def tampered(project: Path, statement: str) -> None:
    """Change what is in the newest backup and write its checksum anew, as a fault of the backup itself would."""
    folder = project / ".horae/backups"
    [backup] = artefact.artefacts(artefact.files_in(folder))
    plain = project / "tampered.db"
    plain.write_bytes(gzip.decompress((folder / backup.name).read_bytes()))
    with closing(sqlite3.connect(plain)) as connection, connection:
        connection.execute(statement)
    (folder / backup.name).write_bytes(gzip.compress(plain.read_bytes()))
    digest = artefact.sha256(folder / backup.name)
    (folder / f"{backup.name}.sha256").write_text(f"{digest}  {backup.name}\n")


def test_a_restore_into_a_new_file(project: Path, tmp_path: Path) -> None:
    entry, _ = back_up(project)
    target = tmp_path / "new.db"
    result = restored(project, target)
    assert sqlite.check(target) == {"goods": 500, "empty_one": 0}
    assert (result.tables, result.rows, result.compared, result.differences) == (2, 500, 2, [])
    assert result.backup == Path(entry["file"]).name
    assert set(result.steps) == {"fetch", "restore", "count"}
    assert 0 < result.recovery_seconds < 60
    assert 0 <= result.age_seconds < 600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.db", "project"]


@pytest.mark.parametrize("ending", ["", "-wal", "-journal"])
def test_a_database_that_is_there_is_not_overwritten(project: Path, tmp_path: Path, ending: str) -> None:
    """A log that another database left would be applied to the restored one."""
    back_up(project)
    there = tmp_path / f"live.db{ending}"
    there.write_bytes(b"")
    with pytest.raises(RestoreRefused, match=f"live.db{ending} exists, and a restore overwrites nothing"):
        restored(project, tmp_path / "live.db")
    assert there.read_bytes() == b""
    assert len(list(tmp_path.iterdir())) == 2


def test_a_target_that_appears_during_the_restore_is_not_overwritten(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(project)
    target, check = tmp_path / "new.db", sqlite.check

    def meanwhile(path: Path) -> dict[str, int]:
        target.write_text("a program's new database")
        return check(path)

    monkeypatch.setattr(sqlite, "check", meanwhile)
    with pytest.raises(RestoreRefused, match="exists now"):
        restored(project, target)
    assert target.read_text() == "a program's new database"


def test_a_dry_run_restores_nothing(project: Path, tmp_path: Path) -> None:
    back_up(project)
    result = restored(project, tmp_path / "new.db", dry_run=True)
    assert result.compared == 2
    assert not (tmp_path / "new.db").exists()


def test_a_damaged_backup_is_not_restored(project: Path, tmp_path: Path) -> None:
    entry, _ = back_up(project)
    path = Path(entry["file"])
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(BackupFailed, match=r"is damaged: its SHA-256 is .*; use another backup"):
        restored(project, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM goods WHERE name = 'x7'", ["table goods has 499 rows and 500 were backed up"]),
        ("DROP TABLE empty_one", ["table empty_one is missing"]),
    ],
)
def test_a_drill_finds_what_a_checksum_cannot(project: Path, statement: str, found: list[str]) -> None:
    back_up(project)
    assert drilled(project).differences == []
    tampered(project, statement)
    assert drilled(project).differences == found


def test_the_job_drills_each_backup(project: Path) -> None:
    entry, told = back_up(project, drill="folder")
    assert (entry["drill"]["tables"], entry["drill"]["rows"], entry["drill"]["compared"]) == (2, 500, 2)
    assert "restore drilled from the folder" in told[-1]
    assert not list(project.rglob("scratch*"))


def test_a_drill_that_fails_fails_the_run_and_keeps_older_backups(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few: dict[str, Any] = {"keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}
    good, _ = back_up(project, **few)
    count = sqlite.SQLiteEngine.count

    def lossy(self: Any, database: Any) -> Any:
        with closing(sqlite3.connect(database.path)) as connection, connection:
            connection.execute("DELETE FROM goods")
        return count(self, database)

    monkeypatch.setattr(sqlite.SQLiteEngine, "count", lossy)
    with pytest.raises(
        BackupFailed, match=r"1 of 1 databases failed: .*differs from the original: table goods has 0 rows"
    ):
        back_up(project, drill="folder", **few)
    assert Path(good["file"]).exists()
    [bad] = [path for path in Path(good["file"]).parent.glob("*.json") if "failed_drill" in path.read_text()]
    monkeypatch.undo()
    again, _ = back_up(project, attempt=2, drill="folder", **few)
    assert f"{again['file']}.json" != str(bad)  # a retry does not go on with the bad one
    assert again["drill"]["differences"] == []


def test_an_encrypted_backup_needs_its_key(project: Path, tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    entry, _ = back_up(project, recipients=(str(identity.to_public()),))
    assert entry["file"].endswith(".sqlite3.gz.age")
    assert entry["encrypted"]
    with pytest.raises(InvalidSettings, match="is encrypted; give the file with the private key: --identity FILE"):
        restored(project, tmp_path / "new.db")
    key = tmp_path / "key"
    key.write_text(str(identity))
    result = restored(project, tmp_path / "new.db", identity=key)
    assert (result.rows, result.compared) == (500, 2)
    assert drilled(project, identity_file=str(key)).differences == []


def test_a_backup_of_an_earlier_release_restores_without_a_comparison(project: Path, tmp_path: Path) -> None:
    entry, _ = back_up(project)
    Path(f"{entry['file']}.json").unlink()
    result = restored(project, tmp_path / "new.db")
    assert (result.rows, result.compared) == (500, None)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("postgresql://u@h/d", "names another kind of database .*; give the path of a new file"),
        ("oracle://u@h/d", "--to: a database of kind 'oracle'"),
        ("absent/new.db", "there is no folder .*absent"),
    ],
)
def test_a_target_that_does_not_fit_is_explained(project: Path, target: str, reason: str) -> None:
    back_up(project)
    with pytest.raises((InvalidSettings, RestoreRefused), match=reason):
        restored(project, Path(target) if "://" not in target else target)  # type: ignore[arg-type]


def test_a_dry_run_of_the_job_changes_nothing(project: Path) -> None:
    few: dict[str, Any] = {"keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}
    entry, _ = back_up(project, **few)
    before = sorted(project.rglob("*"))
    told: list[str] = []
    context = RunContext(
        job="database-backup", run_id="r", project=project, settings=BackupSettings(**few), report=told.append
    )
    with running(context):
        planned = database_backup(databases=["shop.db"], dry_run=True)
        with pytest.raises(
            BackupFailed, match=r"1 of 2 databases cannot be backed up: .*the database .*absent.db does not exist"
        ):
            database_backup(databases=["shop.db", "absent.db"], dry_run=True)
    assert planned["databases"][0]["would_remove"] == [Path(entry["file"]).name]
    assert "nothing was changed" in " ".join(told)
    assert sorted(project.rglob("*")) == before
