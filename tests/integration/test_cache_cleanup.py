"""The cache cleanup as a process: Prefect's own results, a file that cannot be deleted, and a kill in the middle."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT
from tests.waiting import wait_for

OLD = time.time() - 40 * 86_400


@pytest.fixture
def with_job(project: Path) -> Path:
    for name in ("cache_cleanup.py", "_cleanup"):
        (project / "internal" / name).symlink_to(ROOT / "internal" / name)
    with (project / "horae.toml").open("a") as file:
        file.write('[[jobs.cache-cleanup.places]]\npath = "cache"\nolder_than_days = 30\n')
    return project


def fill(project: Path, count: int) -> list[Path]:
    folder = project / "cache"
    folder.mkdir()
    found = [folder / f"f{number}" for number in range(count)]
    for path in found:
        path.touch()
        os.utime(path, (OLD, OLD))
    return found


def command(project: Path) -> list[str]:
    return [sys.executable, "-m", "horae", "--project", str(project), "run", "cache-cleanup", "--json"]


def run(project: Path, *, status: int = 0) -> dict[str, Any]:
    done = subprocess.run(command(project), capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"said": done.stderr}


def test_killed_in_the_middle_and_run_again_it_ends_the_work(with_job: Path) -> None:
    paths = fill(with_job, 20_000)
    with subprocess.Popen(command(with_job), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: len(os.listdir(with_job / "cache")) < len(paths), "the first file to go", 30)
        process.kill()
    left = len(os.listdir(with_job / "cache"))
    assert left < len(paths)

    def ended() -> bool:
        """One run is enough, unless the machine is so busy that its time is over before."""
        assert run(with_job)["verdict"] == "ran"
        return os.listdir(with_job / "cache") == []

    wait_for(ended, "the rest to go", 60)


@contextmanager
def undeletable(path: Path) -> Iterator[None]:
    """Root can delete everything but an immutable file; anybody else needs a folder that may be written."""
    root = os.geteuid() == 0
    lock = ["chattr", "+i", str(path)] if root else ["chmod", "555", str(path.parent)]
    unlock = ["chattr", "-i", str(path)] if root else ["chmod", "755", str(path.parent)]
    if subprocess.run(lock, capture_output=True, check=False).returncode:
        pytest.skip("this file system has no immutable files, and these tests run as root")
    try:
        yield
    finally:
        subprocess.run(unlock, check=True)


def test_what_cannot_be_deleted_fails_the_run_and_is_named(with_job: Path) -> None:
    [path] = fill(with_job, 1)
    with undeletable(path):
        failed = run(with_job, status=1)
    assert failed["verdict"] == "failed"
    assert f"1 files could not be deleted: {path}:" in failed["error"]
    assert run(with_job)["verdict"] == "ran"
    assert not path.exists()


def test_the_results_of_prefect_itself_are_known(with_job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written by Prefect's own store, so that a change of its format is noticed."""
    monkeypatch.setenv("PREFECT_HOME", str(with_job / ".horae" / "prefect"))
    storage = with_job / ".horae" / "prefect" / "storage"
    writer = f"""
import asyncio
from datetime import timedelta
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.types._datetime import now

async def main():
    store = ResultStore(result_storage=LocalFileSystem(basepath={str(storage)!r}))
    await store.awrite(key="expired", obj=1, expiration=now() - timedelta(hours=2))
    await store.awrite(key="valid", obj=1, expiration=now() + timedelta(hours=2))
    await store.awrite(key="for-ever", obj=1)

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", writer], check=True, capture_output=True, timeout=60)
    for path in storage.iterdir():
        an_hour_ago = time.time() - timedelta(hours=2).total_seconds()
        os.utime(path, (an_hour_ago, an_hour_ago))
    (with_job / "horae.toml").write_text("[sidecar]\nhealth_port = 0\n")
    found = run(with_job)
    assert found["verdict"] == "ran"
    assert {path.name for path in storage.iterdir()} == {"valid", "for-ever"}
    assert "deleted 1 of 3 files" in found["said"]
