"""The snapshot on a real Valkey, and `horae jobs` when that Valkey is gone."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from horae import RunContext, Verdict
from horae.jobs.context import running
from horae.settings import Settings, StoreSettings
from horae.store import connect
from internal.cache_warming import cache_warming
from tests.contract.stores import new, run_through
from tests.processes import ROOT
from tests.servers import OwnValkey
from tests.waiting import wait_for

pytestmark = pytest.mark.requires("valkey")
JOBS = '''
from horae import job


@job(traits={"infrastructure"}, idempotent=True)
async def copy_files() -> None:
    """Copy files."""
'''


class User:
    """Somebody at a shell in a project with a job."""

    def __init__(self, project: Path) -> None:
        self.project = project
        (project / "infra" / "copy_files.py").write_text(JOBS)
        (project / "internal" / "cache_warming.py").symlink_to(ROOT / "internal" / "cache_warming.py")

    def horae(self, *arguments: str, store: str | None) -> tuple[Any, str]:
        """What it prints as JSON, and what it says on stderr."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("HORAE_", "PREFECT_"))}
        done = subprocess.run(
            [sys.executable, "-m", "horae", *arguments, "--json"],
            cwd=self.project,
            env=environment | ({"HORAE_STORE__URL": store} if store else {}),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout), done.stderr

    def verdict(self, store: str | None) -> tuple[str | None, str]:
        """The last verdict of `copy-files` by `horae jobs`, and what it says on stderr."""
        jobs, said = self.horae("jobs", store=store)
        [found] = [job["last_verdict"] for job in jobs if job["name"] == "copy-files"]
        return found, said


@pytest.fixture
def user(project: Path) -> User:
    return User(project)


async def test_horae_jobs_shows_the_snapshot_while_the_store_is_away(user: User, tmp_path: Path) -> None:
    server = OwnValkey(tmp_path)
    server.start()
    try:
        store_settings = StoreSettings(url=SecretStr(server.url))
        async with connect(Settings(project=user.project, store=store_settings)) as store:
            await run_through(store, new("copy-files"), Verdict.FAILED, reason="raised")
            run, _ = user.horae("run", "cache-warming", store=server.url)
            assert run["verdict"] == "ran"
            await run_through(store, new("copy-files"), Verdict.RAN)
        assert user.verdict(server.url) == ("ran", ""), "while the store answers, it is asked"
    finally:
        server.kill()
    found, said = user.verdict(server.url)
    assert found == "failed"
    assert said.startswith("horae: the verdicts come from a snapshot, ")
    assert "does not answer" in said
    found, said = user.verdict(None)
    assert (found, "no state store is configured" in said) == ("failed", True)
    found, said = user.verdict("redis://127.0.0.1:1/0")
    assert (found, said.startswith("horae: the verdicts cannot be shown: ")) == (None, True), "it is another store's"


async def test_a_store_that_is_away_or_refuses_leaves_the_snapshot_before(
    user: User, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.horae("run", "cache-warming", store=valkey_url)
    path = user.project / ".horae" / "snapshot.json"
    before, told = path.read_text(), list[str]()
    context = RunContext(job="cache-warming", run_id="r", project=user.project, report=told.append)
    for url in ("redis://:s3cret@127.0.0.1:1/0", valkey_url.replace("redis://", "redis://nobody:s3cret@")):
        monkeypatch.setenv("HORAE_STORE__URL", url)
        with running(context):
            assert (await cache_warming())["ok"] is False
        assert told[-1].startswith("the jobs were not read, so the last snapshot stays: ")
        assert "s3cret" not in told[-1]
    monkeypatch.setenv("HORAE_STORE__URL", valkey_url)
    with running(context):
        assert (await cache_warming(dry_run=True))["ok"] is True
    assert path.read_text() == before


async def test_a_snapshot_that_cannot_be_written_is_told(
    user: User, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = user.project / ".horae" / "snapshot.json"
    path.mkdir(parents=True)  # nothing can take its place
    told: list[str] = []
    monkeypatch.setenv("HORAE_STORE__URL", valkey_url)
    with running(RunContext(job="cache-warming", run_id="r", project=user.project, report=told.append)):
        assert (await cache_warming())["ok"] is False
    assert told == [f"the last snapshot stays, because {path} cannot be written: Is a directory"]
    assert list(path.parent.iterdir()) == [path], "and no draft is left"


def changed(process: "subprocess.Popen[bytes]", path: Path, seen: int) -> bool:
    return process.poll() is not None or path.stat().st_mtime_ns != seen


def test_killed_at_any_moment_the_snapshot_is_whole(user: User, valkey_url: str) -> None:
    """What is put in place in one step is there, or what was there before."""
    user.horae("run", "cache-warming", store=valkey_url)
    path = user.project / ".horae" / "snapshot.json"
    command = [sys.executable, "-m", "horae", "run", "cache-warming"]
    environment = os.environ | {"HORAE_STORE__URL": valkey_url}
    for _ in range(2):
        seen = path.stat().st_mtime_ns
        with subprocess.Popen(command, cwd=user.project, env=environment, stdout=subprocess.DEVNULL) as process:
            wait_for(partial(changed, process, path, seen), "the file to change", 30)
            process.kill()
        assert set(json.loads(path.read_text())["jobs"]) >= {"copy-files", "cache-warming"}
    user.horae("run", "cache-warming", store=valkey_url)
