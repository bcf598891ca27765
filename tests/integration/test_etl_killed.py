"""The ETL job killed in the middle, on a full disk, and without a network: no doubles, no holes, nothing half."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.etl_projects import Project, commit, git, history, repository
from tests.postgres_server import postgres_server, psql
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require("postgres")
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


def command(project: Project, how: str) -> list[str]:
    program = str(Path(__file__).with_name("etl_child.py"))
    return [sys.executable, program, str(project.folder), json.dumps(project.table), *project.repos, how]


def environment(project: Project) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(project.folder / "home")}


def child(project: Project, how: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(project, how), env=environment(project), capture_output=True, text=True, timeout=200, check=False
    )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project that was loaded once. Since then its repository has a new commit, and lost the one before."""
    shop = repository(tmp_path / "shop", 3)
    found = Project(folder=tmp_path, repos=["shop"])
    found.run()
    git(shop, "reset", "-q", "--hard", "HEAD~1")
    commit(shop, "new.txt")
    return found


def whole(project: Project) -> None:
    """Run again, and see that the warehouse has each commit and each file once."""
    assert project.run().sound
    shop = project.folder / "shop"
    assert [row[0] for row in project.rows("sha", "commits")] == sorted(history(shop))
    files = git(shop, "ls-files").splitlines()
    assert [row[0] for row in project.rows("path", "files")] == sorted(files)
    assert project.run().total("extracted") == len(files), "no commit is read again"
    assert not (project.folder / ".horae/etl/work").exists()


@pytest.mark.parametrize("step", ["load", "record"])
def test_killed_after_a_step_it_goes_on_with_the_next_run(project: Project, step: str) -> None:
    assert child(project, step).returncode == -signal.SIGKILL
    whole(project)


def test_killed_while_dlt_loads_it_loads_whole_with_the_next_run(project: Project) -> None:
    """At several of the moves of files by which dlt keeps its state."""
    assert [child(project, str(move)).returncode for move in (3, 10, 17)] == [-signal.SIGKILL] * 3
    whole(project)


def test_killed_while_a_statement_runs_on_the_server_it_ends_that_statement(
    project: Project, postgres: str, tmp_path: Path
) -> None:
    project.table = {"warehouse": postgres}
    project.run()
    commit(tmp_path / "shop", "newer.txt")
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'horae-etl-etl'"
    )
    held = "BEGIN; LOCK TABLE etl.commits IN SHARE MODE; SELECT 'held'; SELECT pg_sleep(600)"
    session = ["psql", "-XAqt", "-v", "ON_ERROR_STOP=1", postgres]
    with (
        (tmp_path / "output").open("w") as output,
        subprocess.Popen(session, stdin=subprocess.PIPE, stdout=output) as holder,
    ):
        try:
            assert holder.stdin
            holder.stdin.write(held.replace("; ", ";\n").encode() + b";\n")
            holder.stdin.flush()
            wait_for(lambda: "held" in (tmp_path / "output").read_text(), "the lock", 30)
            loading = subprocess.Popen(command(project, "never"), env=environment(project), stdout=subprocess.DEVNULL)
            wait_for(lambda: psql(postgres, waiting) != "0", "the merge that waits for the lock", 90)
            loading.kill()
            loading.wait(30)
            assert psql(postgres, waiting) == "1", "the server goes on with it"
            with project.warehouse.held():
                assert psql(postgres, waiting) == "0"
            psql(postgres, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'ShareLock' AND granted")
        finally:
            holder.kill()
    whole(project)


@pytest.mark.parametrize(("limit", "words"), [(200_000, "git log was ended by SIGXFSZ"), (1_500_000, "File too large")])
def test_a_full_disk_fails_it_in_a_sentence_and_the_next_run_is_whole(project: Project, limit: int, words: str) -> None:
    for number in range(6):
        commit(project.folder / "shop", f"{number}.md", message="x" * 100_000)
    done = child(project, f"full-{limit}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith(("NOTHING WAS LOADED", "refused: "))
    assert words in done.stdout
    whole(project)


def test_files_of_a_run_that_was_killed_are_not_trusted(project: Project) -> None:
    left = project.folder / ".horae/etl/work/repository-0"
    left.mkdir(parents=True)
    (left / "commits.ndjson").write_text('{"sha": "half')
    whole(project)


def test_it_connects_to_nobody_and_writes_nothing_at_home(project: Project) -> None:
    done = child(project, "calls")
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr[-3000:]
    assert not (project.folder / "home").exists()
