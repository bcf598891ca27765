"""`horae restore` in this process, on a project that has the bundled backup job."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from horae.cli import run

REPOSITORY = Path(__file__).parents[3]
SHAPES = (REPOSITORY / "docs/reference/json.md").read_text()

type Output = pytest.CaptureFixture[str]


@pytest.fixture
def shop(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the backup job, no store, and a backup of `shop.db`."""
    for name in ("HORAE_STORE__URL", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("database_backup.py", "_backup"):
        (project / "infra" / name).symlink_to(REPOSITORY / "infra" / name)
    with (project / "horae.toml").open("a") as file:
        file.write('[jobs.database-backup]\ndatabases = ["shop.db"]\n')
    with closing(sqlite3.connect(project / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE goods AS SELECT 1 AS n UNION SELECT 2")
    monkeypatch.chdir(project)
    back_up(project)
    return project


def back_up(project: Path) -> None:
    from horae.jobs.context import RunContext, running
    from horae.project.loading import job_settings, load
    from horae.settings import load as load_settings

    settings = load_settings(project)
    job = load(settings).get("database-backup")
    context = RunContext(job=job.name, run_id="r", project=project, settings=job_settings(settings, job), report=print)
    assert job.function
    with running(context):
        job.function()


def asked(capsys: Output, *arguments: str, status: int = 0) -> Any:
    capsys.readouterr()
    assert run(["restore", *arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def documented(title: str) -> list[str]:
    section = next(part for part in SHAPES.split("\n## ")[1:] if part.splitlines()[0] == title)
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def test_the_list_has_its_documented_shape(shop: Path, capsys: Output) -> None:
    [found] = asked(capsys)
    assert list(found) == documented("horae restore")
    assert found["database"].startswith("shop-")
    assert (found["encrypted"], found["places"]) == (False, ["folder"])
    assert run(["restore"]) == 0
    assert found["backup"] in capsys.readouterr().out


def test_a_restore_by_the_short_name_of_a_database(shop: Path, capsys: Output) -> None:
    [found] = asked(capsys, "shop", "--to", "new.db")
    assert list(found) == documented("horae restore --to, horae restore --drill")
    assert (found["tables"], found["rows"], found["compared"], found["differences"]) == (1, 2, 1, [])
    with closing(sqlite3.connect("new.db")) as connection:
        assert connection.execute("SELECT count(*) FROM goods").fetchone() == (2,)


def test_a_restore_overwrites_nothing(shop: Path, capsys: Output) -> None:
    assert run(["restore", "shop", "--to", "shop.db"]) == 1
    assert "shop.db exists, and a restore overwrites nothing; give the path of a new file" in capsys.readouterr().err


def test_a_drill_of_every_database_names_the_bad_one_first(shop: Path, capsys: Output) -> None:
    with closing(sqlite3.connect(shop / "zoo.db")) as connection, connection:
        connection.execute("CREATE TABLE animals (name)")
    toml = shop / "horae.toml"
    toml.write_text(toml.read_text().replace('["shop.db"]', '["shop.db", "zoo.db"]'))
    back_up(shop)
    newest = max((shop / ".horae/backups").glob("zoo-*.gz"))
    newest.write_bytes(b"broken")
    failed, good = asked(capsys, "--drill", status=1)
    assert (failed["backup"], good["error"]) == (newest.name, None)
    assert "is damaged" in failed["error"]
    assert run(["restore", "--drill"]) == 1
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"failed: {newest.name}: ")
    assert second.startswith("drilled shop-")
    assert run(["restore", "shop", "--drill"]) == 0
    said = capsys.readouterr().out
    assert "recovery point" in said
    assert "recovery time" in said
    assert "1 table, 2 rows; 1 table compared with the manifest, 0 differ" in said


def test_nothing_to_drill_is_not_a_clean_drill(shop: Path, capsys: Output) -> None:
    for path in (shop / ".horae/backups").iterdir():
        path.unlink()
    assert run(["restore", "--drill"]) == 2
    assert "there is no backup yet, so nothing was drilled" in capsys.readouterr().err
    assert run(["restore"]) == 0


def test_an_older_backup_is_chosen_by_time(shop: Path, capsys: Output) -> None:
    back_up(shop)
    newest, oldest = asked(capsys)
    [found] = asked(capsys, "shop", "--before", oldest["recovery_point"], "--to", "old.db", "--dry-run")
    assert found["backup"] == oldest["backup"] != newest["backup"]
    assert not Path("old.db").exists()
    assert run(["restore", "shop", "--before", "20d", "--to", "old.db"]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "x.db"], "--to needs the name of a backup or of a database"),
        (["shop", "--drill", "--to", "x.db"], "--drill restores into a scratch database of its own"),
        (["shop", "--dry-run"], "--dry-run and --owners belong to a restore"),
        (["shpo", "--to", "x.db"], "unknown backup or database 'shpo', did you mean 'shop"),
        (["--from", "tape"], "unknown place 'tape'"),
        (["--job", "nope"], "unknown job 'nope'"),
    ],
)
def test_wrong_use_is_explained(shop: Path, capsys: Output, arguments: list[str], said: str) -> None:
    assert run(["restore", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_project_without_a_backup_job_is_told_what_to_do(project: Path, capsys: Output) -> None:
    assert run(["--project", str(project), "restore"]) == 2
    assert "no job of this project makes backups that can be restored" in capsys.readouterr().err
