"""The ETL job on real repositories, files and databases, into a real DuckDB and a real PostgreSQL."""

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flows._etl.errors import WarehouseRefused, WarehouseUnavailable
from tests.conftest import require
from tests.etl_projects import NOW, ORDERS, Project, commit, git, history, odd_repository, repository
from tests.postgres_server import postgres_server, psql

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require("postgres")
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


BOTH = pytest.mark.parametrize("project", ["duckdb", "postgres"], indirect=True)


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """A project without a source, with DuckDB or, if the test says so, PostgreSQL. Each test has its own dataset."""
    table: dict[str, Any] = {}
    if getattr(request, "param", "") == "postgres":
        url = request.getfixturevalue("postgres")
        count = psql(url, "SELECT count(*) FROM information_schema.schemata WHERE schema_name LIKE 'etl%'")
        table = {"warehouse": url, "dataset": f"etl{count}"}
    return Project(folder=tmp_path, table=table)


def orders(path: Path, *rows: str) -> None:
    path.write_text("\n".join(["Id,Amount,Changed,Name", *rows, ""]))


def with_orders(project: Project, **more: Any) -> Project:
    source = {"files": "orders.csv", "columns": ORDERS, "key": "id"} | more
    project.table["sources"] = {"orders": source}
    return project


@BOTH
def test_odd_repositories_are_loaded_whole_and_once(project: Project) -> None:
    odd, plain = odd_repository(project.folder / "odd"), repository(project.folder / "plain")
    project.repos = ["odd", "plain"]
    first = project.run()
    assert first.headline == "All 2 sources were loaded and reconciled: 14 rows read, 13 loaded, 1 rejected, 0 removed."
    shas = {row[0] for row in project.rows("sha", "commits")}
    [(far, reason)] = project.rows("row_id, reasons", "rejected")
    assert shas | {far} == history(odd) | history(plain)
    assert reason == 'committed_at: "99999999999999" is not a timestamp'
    paths = {row[0] for row in project.rows("path", "files") if "odd" in project.repos}
    assert {"caf\\xe9.txt", "two\nlines\t.md", "Grün 🌳.PY", "link", "sub"} <= paths
    assert ("odd \\xff bytes", "Ren\\xe9") in project.rows("subject, author_name", "commits")
    assert set(project.rows("suffix, kind", "files")) >= {("py", "file"), ("", "link"), ("", "submodule")}
    before = project.contents()
    again = project.run(now=NOW + timedelta(days=7))
    assert project.contents() == before
    assert [row["mode"] for row in again.rows if row["table"] == "commits"] == ["incremental"] * 2
    assert "8 rows read, 8 loaded, 0 rejected" in again.headline


def test_a_commit_with_an_old_date_that_comes_late_is_loaded(project: Project) -> None:
    shop = repository(project.folder / "shop")
    git(shop, "checkout", "-q", "-b", "side", "HEAD~1")
    late = commit(shop, "late.txt", at="2020-01-01T00:00:00Z")
    git(shop, "checkout", "-q", "main")
    project.repos = ["shop"]
    project.run()
    assert (late,) not in project.rows("sha", "commits")
    git(shop, "merge", "-q", "--no-edit", "side")
    found = project.run()
    assert (late,) in project.rows("sha", "commits")
    assert [row["read"] for row in found.rows] == [2, 3], "the merge and the late commit, and three files"
    assert found.sound


@BOTH
def test_history_that_was_rewritten_leaves_nothing_behind(project: Project) -> None:
    shop = repository(project.folder / "shop", 3)
    project.repos = ["shop"]
    project.run()
    old = git(shop, "rev-parse", "HEAD")
    git(shop, "reset", "-q", "--hard", "HEAD~2")
    commit(shop, "new.txt")
    git(shop, "reflog", "expire", "--expire=now", "--all")
    git(shop, "gc", "-q", "--prune=now")
    with pytest.raises(subprocess.CalledProcessError):
        git(shop, "cat-file", "-e", old)
    found = project.run()
    assert {row[0] for row in project.rows("sha", "commits")} == history(shop)
    assert [row[0] for row in project.rows("path", "files")] == ["0.txt", "new.txt"]
    assert (found.total("gone"), found.sound) == (4, True)
    assert "shop: its history was rewritten, so all commits were read again" in found.notes
    assert [row[0] for row in project.rows("head", "repositories")] == [git(shop, "rev-parse", "HEAD")]


def test_what_cannot_be_read_comes_first_and_stops_nothing(tmp_path: Path) -> None:
    repository(tmp_path / "good")
    repository(tmp_path / "empty", 0)
    broken = repository(tmp_path / "broken")
    tree = git(broken, "rev-parse", "HEAD^{tree}")
    (broken / ".git/objects" / tree[:2] / tree[2:]).unlink()
    (tmp_path / "folder").mkdir()
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{tmp_path}/good", tmp_path / "shallow"], check=True)
    project = Project(folder=tmp_path, repos=["good", "empty", "broken", "folder", "missing", "shallow"])
    found = project.run()
    assert found.headline.startswith("INCOMPLETE: 2 of 6 sources were loaded and reconciled")
    assert found.markdown.startswith("**INCOMPLETE")
    said = " ".join(found.unseen)
    assert "empty was not loaded: it has no commit." in said
    assert "broken was not loaded: git says: not a tree object" in said or "broken was not loaded: git says:" in said
    assert "folder was not loaded: it is not a git repository." in said
    assert "missing was not loaded: there is no such folder." in said
    assert "shallow: it is a shallow clone" in said
    assert {row[0] for row in project.rows("repository", "commits")} == {"good", "shallow"}
    project.repos = ["missing"]
    assert project.run().headline == "NOTHING WAS LOADED: none of 1 sources could be read."


def test_a_repository_that_is_away_keeps_its_rows(tmp_path: Path) -> None:
    shop = repository(tmp_path / "shop")
    project = Project(folder=tmp_path, repos=["shop"])
    project.run()
    before = project.contents()
    shop.rename(tmp_path / "elsewhere")
    project.run()
    assert project.contents() == before


BAD = ["2,x,2026-11-01,b", "3,1.239,,c", "4,1,,d", "4,2,,e", ",1,,f", "5,6,7,8,9", "6", "1.5,1,,g", '7,1,,"\x00"']


@BOTH
def test_rows_that_break_the_contract_are_kept_with_reasons_until_they_are_right(project: Project) -> None:
    with_orders(project)
    file = project.folder / "orders.csv"
    orders(file, "1,1.50,2026-11-01T00:00:00Z,a", *BAD)
    found = project.run()
    assert found.sound
    assert found.headline.endswith("10 rows read, 2 loaded, 8 rejected, 0 removed.")
    assert project.rows("id, name", "orders") == [(1, "a"), (4, "e")]
    reasons = {row[0] for row in project.rows("reasons", "rejected")}
    assert {
        'amount: "x" is not a decimal(10,2)',
        'amount: "1.239" is not a decimal(10,2)',
        "another row has the same key",
        "id: it is empty",
        "missing columns: Expected Number of Columns: 4 Found: 1 (line 9 of orders.csv)",
        'id: "1.5" is not a bigint',
        "name: the text holds a NUL character",
    } <= reasons
    assert [json.loads(row[0])["amount"] for row in project.rows("original", "rejected") if '"x"' in row[0]] == ["x"]
    assert project.run().sound
    assert len(project.rows("row_id", "rejected")) == 8
    orders(file, "1,1.50,,a", "2,3,,b")
    assert project.run().headline.endswith("2 rows read, 2 loaded, 0 rejected, 1 removed.")
    assert (project.rows("id, name", "orders"), project.rows("row_id", "rejected")) == ([(1, "a"), (2, "b")], [])


def test_a_row_that_becomes_wrong_keeps_its_last_good_version(tmp_path: Path) -> None:
    project = with_orders(Project(folder=tmp_path))
    orders(tmp_path / "orders.csv", "1,1,,a", "2,2,,b")
    project.run()
    orders(tmp_path / "orders.csv", "1,1,,a", "2,oops,,b")
    assert project.run().sound
    assert (len(project.rows("id", "orders")), project.rows("row_id", "rejected")) == (2, [("2",)])


def test_the_contract_decides_on_new_columns_and_types(project: Project) -> None:
    with_orders(project)
    orders(project.folder / "orders.csv", "1,1,,a")
    project.run()
    (project.folder / "orders.csv").write_text("Id,Amount,Changed,Name,Extra\n1,1,,a,7\n")
    assert "has columns that the contract does not have: extra." in project.run().unseen[0]
    with_orders(project, new_columns="ignore")
    found = project.run()
    assert (found.sound, found.notes) == (
        True,
        ("orders: columns that the contract does not have were ignored: extra",),
    )
    with_orders(project, columns=ORDERS | {"extra": "bigint"})
    assert project.run().sound
    assert project.rows("id, extra", "orders") == [(1, 7)]
    with_orders(project, columns=ORDERS | {"extra": "text"})
    assert "the contract does not match a table" in project.run().unseen[0]
    assert project.rows("id, extra", "orders") == [(1, 7)]
    (project.folder / "orders.csv").write_text("Id,Amount,Changed\n1,1,\n")
    assert "has no column 'name'" in project.run().unseen[0]


def shop(place: str, statement: str) -> None:
    """Run a statement in the shop's database: SQLite by its path, or PostgreSQL by its URL."""
    if place.startswith("postgresql://"):
        subprocess.run(["psql", "-XAqtc", statement, place], check=True, capture_output=True)
        return
    with closing(sqlite3.connect(place)) as connection:
        connection.executescript(statement)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_rows_that_come_late_are_read_by_the_lag_and_others_by_the_counts(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = request.getfixturevalue("postgres") if kind == "postgres" else str(tmp_path / "shop.db")
    source = {"database": place, "table": "orders", "columns": ORDERS, "key": ["name", "id"], "cursor": "changed"}
    project = Project(folder=tmp_path, table={"sources": {"orders": source}})

    def run(*statements: str) -> tuple[list[Any], int]:
        shop(place, ";".join(statements))
        found = project.run()
        assert found.sound, found.unseen
        return [row[0] for row in project.rows("id", "orders")], found.rows[0]["read"]

    created = "CREATE TABLE orders (id int, amount numeric(10,2), changed timestamp, name text)"
    old = "INSERT INTO orders VALUES (1, 1, '2026-11-01 00:00:00', 'a'), (2, 2, '2026-11-10 00:00:00', 'x')"
    future = "INSERT INTO orders VALUES (3, 3, '2099-01-01 00:00:00', 'a wrong clock')"
    assert run(created, old, future) == ([1, 2, 3], 3)
    late = "INSERT INTO orders VALUES (4, 4, '2026-11-08 00:00:00', 'late, within 72 hours')"
    changed = "UPDATE orders SET amount = 9, changed = '2026-11-11 00:00:00' WHERE id = 2"
    assert run(late, changed) == ([1, 2, 3, 4], 3), "only the rows since 7 November"
    assert (2, 9) in project.rows("id, amount", "orders")
    if kind == "sqlite":
        return
    too_late = "INSERT INTO orders VALUES (5, 5, '2026-10-01 00:00:00', 'too late for the lag')"
    assert run(too_late, "DELETE FROM orders WHERE id = 1") == ([2, 3, 4, 5], 4), "equal counts, so the keys must tell"
    shop(place, "DROP TABLE orders")
    assert "orders was not loaded: orders of" in project.run().unseen[0]
    assert len(project.rows("id", "orders")) == 4


def test_parquet_files_are_a_source(tmp_path: Path) -> None:
    import duckdb

    for number in (1, 2):
        made = (
            f"SELECT {number} AS \"Id\", 1.5::DECIMAL(10,2) AS amount, TIMESTAMP '2026-11-01' AS changed, 'x' AS name"
        )
        duckdb.execute(f"COPY ({made}) TO '{tmp_path}/{number}.parquet'")
    project = with_orders(Project(folder=tmp_path), files=["*.parquet"])
    assert project.run().sound
    assert [(row[0], str(row[1])) for row in project.rows("id, amount", "orders")] == [(1, "1.50"), (2, "1.50")]
    (tmp_path / "2.parquet").write_bytes(b"half")
    assert "2.parquet cannot be read" in project.run().unseen[0]
    assert len(project.rows("id", "orders")) == 2


@BOTH
def test_rows_that_somebody_doubled_or_deleted_are_noticed_and_mended(project: Project) -> None:
    shop = repository(project.folder / "shop", 3)
    project.repos = ["shop"]
    project.run()
    before = project.contents()
    table = project.warehouse.table("commits")
    columns = ", ".join(project.warehouse.columns("commits"))
    double = columns.replace("_dlt_id", "_dlt_id || 'x'")
    copied = f"INSERT INTO {table} ({columns}) SELECT {double} FROM {table} LIMIT 1"
    for statement in (copied, f"DELETE FROM {table}"):
        damage(project, statement)
        found = project.run()
        assert found.sound
        assert "shop: it did not reconcile, so all its rows were read again" in found.notes
        assert project.contents() == before
    assert len(before["commits"]) == len(history(shop))


def damage(project: Project, statement: str) -> None:
    """Run a statement of SQL in the warehouse, as a hand would."""
    if "warehouse" in project.table:
        subprocess.run(["psql", "-XAqtc", statement, project.table["warehouse"]], check=True, capture_output=True)
        return
    import duckdb

    with duckdb.connect(str(project.folder / ".horae/warehouse.duckdb")) as connection:
        connection.execute(statement)


def test_a_dry_run_counts_and_writes_nothing(project: Project) -> None:
    repository(project.folder / "shop")
    project.repos = ["shop"]
    found = project.run(dry_run=True)
    assert found.headline.startswith(
        "DRY RUN, nothing was written. All 1 sources were read: 4 rows read, 4 would be loaded"
    )
    assert project.warehouse.columns("commits") == []
    assert not (project.folder / ".horae/warehouse.duckdb").exists()
    project.run()
    commit(project.folder / "shop", "new.txt")
    before = project.contents()
    assert "4 would be loaded" in project.run(dry_run=True).headline, "one commit and three files"
    assert project.contents() == before


@pytest.mark.requires("postgres")
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (("s3cret%2Fword", "wr0ng%2Fword"), WarehouseRefused, "refuses the login"),
        (("/postgres", "/nothere"), WarehouseRefused, 'database "nothere" does not exist'),
        (("127.0.0.1:", "127.0.0.2:"), WarehouseUnavailable, "does not answer"),
        (("postgresql://", "mysql://"), WarehouseRefused, "Allowed: a postgresql:// URL, or the path of a DuckDB file"),
    ],
)
def test_a_warehouse_that_cannot_be_used_is_told_without_its_password(
    postgres: str, tmp_path: Path, change: tuple[str, str], error: Any, words: str
) -> None:
    project = Project(folder=tmp_path, table={"warehouse": postgres.replace(*change), "connect_seconds": 2})
    with pytest.raises(error, match=words) as caught:
        project.run()
    said = str(caught.value)
    assert not [secret for secret in ("s3cret", "wr0ng") if secret in said]


def test_a_file_that_is_no_warehouse_is_refused(tmp_path: Path) -> None:
    (tmp_path / "warehouse").write_text("something else" * 1000)
    with pytest.raises(WarehouseRefused, match="cannot be opened"):
        Project(folder=tmp_path, table={"warehouse": "warehouse"}, repos=["."]).run()
    assert (tmp_path / "warehouse").read_text().startswith("something else")


def test_a_database_source_that_refuses_is_told_without_its_password(postgres: str, tmp_path: Path) -> None:
    url = postgres.replace("s3cret", "wr0ng")
    source = {"database": url, "table": "orders", "columns": ORDERS, "key": "id"}
    [said] = Project(folder=tmp_path, table={"sources": {"orders": source}}).run().unseen
    assert "password authentication failed" in said
    assert "wr0ng" not in said


@BOTH
def test_two_runs_do_not_load_at_the_same_time(project: Project) -> None:
    repository(project.folder / "shop")
    project.repos = ["shop"]
    other = Project(folder=project.folder / "other", table=project.table)
    with project.warehouse.held():
        if "warehouse" in project.table:
            with pytest.raises(WarehouseUnavailable, match="another run loads into"):
                other.run()
    from flows._etl.warehouse import work_folder

    with work_folder(project.folder / ".horae"), pytest.raises(WarehouseUnavailable, match="another run of etl"):
        project.run()
    assert project.run().sound
