"""What a type checker says about job files and calls of the front page, asked of mypy itself."""

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
GOOD = """
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from horae import Isolation, Overlap, Priority, Retry, Scheduler, Trait, any_of, at, cron, current_run, every, job


class Limits(BaseModel):
    keep: int = 3


@job()
def bare() -> None: ...


@job("named", schedule=cron("0 2 * * *", "Europe/Berlin"), retry=Retry(retries=3), overlap="skip", settings=Limits)
def nightly(databases: list[str], keep: int = 7) -> dict[str, int]:
    return {"copied": current_run().attempt}


@job(
    schedule=any_of(every("30s"), at("2027-01-01T00:00:00Z")),
    traits=["survives_restarts", Trait.INFRASTRUCTURE],
    overlap=Overlap.ALLOW,
    concurrency=2,
    catch_up="all",
    catch_up_window=timedelta(hours=1),
    scope="one",
    isolation=Isolation.THREAD,
    unique_by=("path",),
    time_limit=None,
    idempotent=True,
)
async def typed(path: str) -> None: ...


kept: dict[str, int] = nightly(["app.db"])


async def ask(scheduler: Scheduler) -> str:
    await scheduler.enqueue("named", {"keep": 3}, at=datetime.now(UTC), priority="low", provider="redis")
    return (await scheduler.enqueue("named", priority=Priority.HIGH, run_id="mine")).run_id
"""
BAD = """
from datetime import timedelta

from horae import Scheduler, cron, every, job


@job(schedule="0 2 * * *", retries=3, overlap="sikp")  # refused: schedule retries overlap
def nightly() -> None: ...


@job(traits=["dashbord"])  # refused: dashbord
def watched() -> None: ...


@job(time_limit=300, jitter="5m")  # refused: time_limit jitter
def quick() -> None: ...


@job(scope="all", catch_up=True)  # refused: scope catch_up
def beat() -> None: ...


@job(isolation="process", unique_by="path")  # refused: isolation unique_by
def unique(path: str) -> None: ...


async def ask(scheduler: Scheduler) -> None:
    await scheduler.enqueue("named", at="2027-01-01", priority="hihg")  # refused: "at" "priority"
    await scheduler.enqueue("named", run="mine")  # refused: "run"


every(30)  # refused: every
cron(30)  # refused: cron
"""
ERROR = re.compile(r"^(?P<file>\w+)\.py:(?P<line>\d+): error: (?P<text>.*)$")


def test_mypy_takes_good_declarations_and_refuses_each_bad_one(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty", "good.py", "bad.py"]
    command += ["--cache-dir", str(tmp_path / "cache"), "--config-file", os.devnull]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"MYPYPATH": str(REPOSITORY)}, capture_output=True, text=True
    )
    said: dict[tuple[str, int], str] = {}
    for line in done.stdout.splitlines():
        if found := ERROR.match(line):
            place = found["file"], int(found["line"])
            said[place] = said.get(place, "") + found["text"] + "\n"
    expected = {
        ("bad", number): text.partition("# refused: ")[2].split()
        for number, text in enumerate(BAD.splitlines(), start=1)
        if "# refused: " in text
    }
    assert said.keys() == expected.keys(), done.stdout + done.stderr
    for place, names in expected.items():
        assert all(name in said[place] for name in names), (place, names, said[place])
