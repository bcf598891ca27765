"""The database backup on real SQLite files: what it makes, what it refuses, what it keeps."""

import gzip
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from horae.errors import InvalidSettings
from horae.jobs.context import RunContext, running
from infra._backup import artefact, databases, postgres, retention, sqlite
from infra._backup.artefact import Artefact
from infra._backup.engine import BackupFailed
from infra._backup.settings import BackupSettings
from infra.database_backup import database_backup

NEXT = "x-20261124T020000000Z.dump.sha256"
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


@pytest.fixture
def project(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*databases.PREFECT_URLS, "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    return project


def make(path: Path, rows: int = 100) -> Path:
    """A database with an odd table name, an index, a virtual table and a deleted row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('CREATE TABLE "odd "" name" (id INTEGER PRIMARY KEY AUTOINCREMENT, text)')
        connection.execute('CREATE INDEX by_text ON "odd "" name" (text)')
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(word)")
        connection.executemany('INSERT INTO "odd "" name" (text) VALUES (?)', [(f"row {n}",) for n in range(rows)])
    return path


def run(project: Path, *given: str, reported: list[str] | None = None, **settings: Any) -> dict[str, Any]:
    told = [] if reported is None else reported
    context = RunContext(
        job="database-backup",
        run_id="r",
        project=project,
        settings=BackupSettings(**settings),
        report=told.append,
    )
    with running(context):
        return database_backup(databases=list(given) or None)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def restored(entry: dict[str, Any], to: Path) -> sqlite3.Connection:
    to.write_bytes(gzip.decompress(Path(entry["file"]).read_bytes()))
    return sqlite3.connect(to)


def test_a_backup_restores_to_the_same_rows(project: Path, tmp_path: Path) -> None:
    make(project / "shop.db", 500)
    (entry,) = run(project, "shop.db")["databases"]
    with closing(restored(entry, tmp_path / "restored.db")) as connection:
        assert connection.execute('SELECT count(*), max(text) FROM "odd "" name"').fetchone() == (500, "row 99")
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert entry["name"].startswith("shop-")
    assert entry["bytes"] == Path(entry["file"]).stat().st_size
    assert entry["rows"] >= 501  # the rows, and SQLite's own count of them


def test_the_documented_restore_commands_work(project: Path, tmp_path: Path) -> None:
    make(project / "shop.db")
    (entry,) = run(project, "shop.db")["databases"]
    folder, name = Path(entry["file"]).parent, Path(entry["file"]).name
    checked = subprocess.run(
        ["sha256sum", "--check", f"{name}.sha256"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout) == (0, f"{name}: OK\n")
    subprocess.run(f"gzip -dc {name} > {tmp_path}/back.db", shell=True, cwd=folder, check=True)
    assert sqlite.check(tmp_path / "back.db")['odd " name'] == 100


def test_the_same_content_gives_the_same_bytes(project: Path) -> None:
    make(project / "shop.db")
    one, two = (run(project, "shop.db")["databases"][0] for _ in range(2))
    assert one["file"] != two["file"]
    assert one["sha256"] == two["sha256"] == artefact.sha256(Path(two["file"]))


def test_only_the_owner_may_read_a_backup(project: Path) -> None:
    make(project / "shop.db")
    (entry,) = run(project, "shop.db")["databases"]
    assert Path(entry["file"]).stat().st_mode & 0o777 == 0o600
    assert Path(entry["file"]).parent.stat().st_mode & 0o777 == 0o700


def test_prefects_own_database_is_the_default(project: Path) -> None:
    make(project / ".horae" / "prefect" / "prefect.db")
    (entry,) = run(project)["databases"]
    assert Path(entry["file"]).parent == project / ".horae" / "backups"
    assert Path(entry["file"]).name.startswith("prefect-")


def test_prefects_variables_say_where_else_it_is(project: Path, tmp_path: Path) -> None:
    state = project / ".horae"
    make(state / "prefect" / "prefect.db")
    home = make(tmp_path / "home" / "prefect.db")
    url = f"sqlite+aiosqlite:///{tmp_path}/else/p%20f.db?timeout=60"

    def found(**environment: str) -> str:
        return str(databases.prefect_database(project, state, environment))

    assert found() == str(state / "prefect" / "prefect.db")
    assert found(PREFECT_HOME=str(home.parent)) == str(home)
    assert found(PREFECT_HOME=str(tmp_path / "empty")) == str(state / "prefect" / "prefect.db")
    assert found(PREFECT_API_DATABASE_CONNECTION_URL=url) == f"{tmp_path}/else/p f.db"
    server = "postgresql+asyncpg://u:p@h/prefect"
    assert found(PREFECT_SERVER_DATABASE_CONNECTION_URL=server, PREFECT_HOME=str(home)) == "postgresql://u@h/prefect"
    with pytest.raises(InvalidSettings, match="in memory"):
        found(PREFECT_API_DATABASE_CONNECTION_URL="sqlite+aiosqlite:///:memory:")


def test_without_any_database_it_says_what_to_do(project: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"Prefect has none at .*prefect\.db; give some in horae\.toml"):
        run(project)


def bad(project: Path, kind: str) -> str:
    path = project / f"{kind}.db"
    if kind == "empty":
        path.touch()
    if kind == "text":
        path.write_text("this is no database at all")
    if kind == "damaged":
        make(path, 5000)
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 8192)
    if kind == "folder":
        path.mkdir()
    return path.name


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "the database .*missing.db does not exist"),
        ("empty", "is empty"),
        ("text", "is not an SQLite database"),
        ("damaged", "integrity check failed|malformed"),
        ("folder", "is not a file"),
    ],
)
def test_one_that_fails_is_named_and_does_not_stop_the_others(project: Path, kind: str, reason: str) -> None:
    make(project / "good.db")
    with pytest.raises(BackupFailed, match=rf"^1 of 2 databases failed: .*{kind}\.db: .*({reason})"):
        run(project, bad(project, kind), "good.db")
    kept = names(project / ".horae" / "backups")
    assert len(kept) == 3
    assert all(name.startswith("good-") for name in kept)


def test_a_retry_makes_only_what_is_missing(project: Path) -> None:
    """The other databases may be large."""
    make(project / "good.db")
    backups = project / ".horae" / "backups"

    def attempt(number: int, run_id: str = "one") -> dict[str, Any]:
        context = RunContext(job="j", run_id=run_id, project=project, attempt=number, settings=BackupSettings())
        with running(context):
            return database_backup(databases=["good.db", "late.db"])

    with pytest.raises(BackupFailed, match=r"1 of 2 databases failed: .*late\.db"):
        attempt(1)
    [first] = backups.glob("good-*.gz")
    make(project / "late.db")
    made = attempt(2)["databases"]
    assert made[0]["file"] == str(first)
    assert (made[0]["tables"], made[0]["sha256"]) == (made[1]["tables"], artefact.sha256(first))
    assert list(backups.glob("good-*.gz")) == [first]
    attempt(2, "another")
    assert len(list(backups.glob("good-*.gz"))) == 2


def test_a_malformed_entry_is_numbered_and_its_password_not_shown(project: Path) -> None:
    make(project / "good.db")
    given = ["good.db", "oracle://root:hunter2@db/x", "postgresql://root:hunter2@[db/x"]
    with pytest.raises(BackupFailed) as caught:
        run(project, *given)
    assert "database 2 of the list: a database of kind 'oracle' cannot be backed up" in caught.value.message
    assert "database 3 of the list: its URL is malformed" in caught.value.message
    assert "hunter2" not in caught.value.message
    assert "hunter2" not in repr(BackupSettings(databases=tuple(given)))


def test_a_full_disk_is_said_before_anything_is_written(project: Path) -> None:
    with pytest.raises(OSError, match="MiB are needed"):
        artefact.require_space(project, 1 << 60)


def test_a_database_that_stays_locked_is_given_up(tmp_path: Path) -> None:
    source = make(tmp_path / "locked.db")
    with closing(sqlite3.connect(source, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BackupFailed, match=r"stayed locked|is locked"):
            sqlite.copy(source, tmp_path / "copy.db", 0.2)


def test_what_another_process_wrote_into_the_log_is_in_the_backup(project: Path, tmp_path: Path) -> None:
    source = make(project / "wal.db")
    with closing(sqlite3.connect(source)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("PRAGMA wal_autocheckpoint=0")
        with writer:
            writer.execute("CREATE TABLE late AS SELECT 42 AS answer")
        (entry,) = run(project, "wal.db")["databases"]
    with closing(restored(entry, tmp_path / "restored.db")) as connection:
        assert connection.execute("SELECT answer FROM late").fetchone() == (42,)


def test_what_a_death_left_behind_is_cleared_away(project: Path) -> None:
    make(project / "shop.db")
    backups = project / ".horae" / "backups"
    dead = backups / f"{artefact.WORKSPACE}dead"
    dead.mkdir(parents=True)
    (dead / "copy.sqlite3").write_text("half")
    (backups / "shop-1-20261124T020000000Z.sqlite3.gz.sha256").write_text("of nothing")
    run(project, "shop.db")
    assert len(names(backups)) == 3


def test_a_live_run_keeps_its_workspace_and_checksum(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    with artefact.workspace(folder) as other:
        (folder / NEXT).touch()  # the other run is about to rename its artefact
        with artefact.workspace(folder) as mine:
            assert other.exists()
            assert mine != other
        assert (folder / NEXT).exists()
    with artefact.workspace(folder) as last:
        assert names(folder) == [last.name]
    assert names(folder) == []


def test_a_project_that_was_moved_keeps_its_backups(tmp_path: Path) -> None:
    one = databases.parse("data/shop.db", tmp_path / "a")
    two = databases.parse("data/shop.db", tmp_path / "b")
    elsewhere = databases.parse("/data/shop.db", tmp_path / "a")
    assert one.name == two.name != elsewhere.name


def test_a_database_named_twice_is_backed_up_once(project: Path) -> None:
    make(project / "shop.db")
    assert len(run(project, "shop.db", "./shop.db", f"sqlite:///{project}/shop.db")["databases"]) == 1


def test_a_password_leaves_the_url(tmp_path: Path) -> None:
    database = databases.parse("postgresql+asyncpg://us%40er:p%2Fw@db:5433/shop?ssl=require", tmp_path)
    assert isinstance(database, databases.Postgres)
    assert (database.url, database.password) == ("postgresql://us%40er@db:5433/shop?sslmode=require", "p/w")
    assert "p/w" not in repr(database)
    hidden = databases.parse("postgresql:///shop?host=/run/pg&password=s", tmp_path)
    assert isinstance(hidden, databases.Postgres)
    assert (hidden.url, hidden.password) == ("postgresql:///shop?host=%2Frun%2Fpg", "s")


def test_missing_tools_are_named_with_the_way_to_get_them(project: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match=f"pg_dump is not in {tmp_path}; install it"):
        run(project, "postgresql://u@localhost/x", postgres_bin=str(tmp_path))


def test_tables_and_rows_are_counted_in_the_restored_script() -> None:
    whole = [b"COPY public.t (a) FROM stdin;\n", b"1\n", b"\\\\.\n", b"\\.\n", b"SELECT 1;\n"]
    odd = [b'COPY "My Schema"."odd ""(x)" (a, "b c") FROM stdin;\n', b"\\.\n"]
    assert postgres.count([*whole, *odd]) == ({"public.t": 2, 'My Schema.odd "(x)': 0}, True)
    assert postgres.count(whole[:2]) == ({}, False)


def backup_of(at: datetime, database: str = "shop-1") -> Artefact:
    found = artefact.named(artefact.file_name(database, at, ".dump"))
    assert found
    return found


def test_the_last_ones_and_the_last_of_each_day_week_and_month_stay() -> None:
    settings = BackupSettings(keep_last=2, keep_daily=3, keep_weekly=2, keep_monthly=2)
    hourly = [backup_of(NOW - timedelta(hours=h)) for h in range(24 * 70)]
    stay = sorted(backup.at for backup in retention.kept(hourly, settings))
    assert [f"{at:%m-%dT%H}" for at in stay] == [
        "10-31T23",  # the month before
        "11-22T23",  # the week before: its Sunday; also the day before yesterday
        "11-23T23",  # yesterday
        "11-24T01",  # the last but one
        "11-24T02",  # the last, of its day, week and month
    ]


def test_nothing_but_the_newest_stays_when_little_is_asked_for() -> None:
    settings = BackupSettings(keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0)
    assert retention.kept([backup_of(NOW), backup_of(NOW - timedelta(days=1))], settings) == {backup_of(NOW)}
    assert retention.kept([], settings) == set()


def test_a_backup_of_the_future_neither_counts_nor_goes() -> None:
    """A clock that was wrong once must not cost the backup that was just made."""
    settings = BackupSettings(keep_last=1, keep_daily=1, keep_weekly=0, keep_monthly=0)
    yesterday, future = backup_of(NOW - timedelta(days=1)), backup_of(NOW + timedelta(days=3650))
    newest = backup_of(NOW)
    assert retention.superseded([yesterday, newest, future], newest, settings, NOW) == [yesterday.name]
    # The clock went back: what was just made is older than others, and stays.
    earlier = backup_of(NOW - timedelta(hours=5))
    assert retention.superseded([earlier, newest], earlier, settings, NOW) == []


def test_rotation_removes_artefact_and_checksum_of_that_database_alone(project: Path) -> None:
    make(project / "shop.db")
    make(project / "other.db")
    few: dict[str, Any] = {"keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}
    first = run(project, "shop.db", "other.db", **few)
    backups = project / ".horae" / "backups"
    (backups / "notes.txt").write_text("mine")
    own = first["databases"][0]["name"]
    foreign = (f"{own}-20200124T020000000Z.sqlite3.gz", "shop-20261124T020000000Z.sqlite3.gz", "x.dump.sha256")
    for name in foreign:  # of the same form, but not written by the job: nothing has a checksum beside it
        (backups / name).write_text("somebody's")
    second = run(project, "shop.db", **few)
    gone = Path(first["databases"][0]["file"]).name
    assert second["removed"] == [gone]
    assert not {gone, f"{gone}.sha256", f"{gone}.json"} & set(names(backups))
    assert len(names(backups)) == 7 + len(foreign)


def test_a_failed_backup_removes_nothing(project: Path) -> None:
    make(project / "shop.db")
    few: dict[str, Any] = {"keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}
    run(project, "shop.db", **few)
    before = names(project / ".horae" / "backups")
    (project / "shop.db").unlink()
    with pytest.raises(BackupFailed):
        run(project, "shop.db", **few)
    assert names(project / ".horae" / "backups") == before


def test_it_says_how_far_it_is(project: Path) -> None:
    make(project / "shop.db")
    told: list[str] = []
    run(project, "shop.db", reported=told)
    assert told[0].endswith(f"backing up {project / 'shop.db'}")
    assert told[-1].startswith("1 backed up and checked")


def test_names_sort_by_age_and_say_what_they_are(tmp_path: Path) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    name = artefact.file_name("a-b-12", at, ".sqlite3.gz")
    assert name == "a-b-12-20260102T030405678Z.sqlite3.gz"
    (tmp_path / name).touch()
    (tmp_path / f"{name}.sha256").touch()
    (found,) = artefact.artefacts(artefact.files_in(tmp_path))
    assert (found.database, found.at) == ("a-b-12", at.replace(microsecond=678_000))


def test_a_folder_that_is_none_is_named(project: Path) -> None:
    make(project / "shop.db")
    (project / "taken").touch()
    with pytest.raises(BackupFailed, match=r"File exists: .*taken"):
        run(project, "shop.db", folder="taken")
