"""The log aggregation while it is killed, on a disk that is full, and beside a writer that rotates all the time."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from infra._logs import collected

ROOT = Path(__file__).parents[2]
START = datetime.now(UTC) - timedelta(hours=3)
# Kills itself at its n-th touch of the file system, as Python's audit events tell them; "full": the disk ends there.
COLLECTION = """
import os, resource, signal, sys
from pathlib import Path
import duckdb
from horae import RunContext
from horae.jobs.context import running
from infra._logs import aggregation
from infra._logs.settings import LogSettings
from infra.log_aggregation import log_aggregation
project, left, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
WATCHED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "fcntl.flock", "os.listdir"}
def watch(event, arguments):
    global left
    if event in WATCHED:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
settings = LogSettings(files=("app.log",), own=False, quiet_seconds=0, zone="UTC")
context = RunContext(job="log-aggregation", run_id="r", project=project, settings=settings, report=lambda text: None)
with running(context):
    sys.addaudithook(watch)
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    log_aggregation()
"""
WRITER = """
import os, sys, time
from pathlib import Path
log, number, until = Path(sys.argv[1]), 0, time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    with log.open("a") as file:
        for _ in range(20):
            file.write(f"{sys.argv[3]} INFO entry {number}\\n")
            number += 1
            file.flush()
    os.rename(log, log.with_name(f"app.log.{number // 20}"))
    time.sleep(0.03)
print(number)
"""


def collect(project: Path, kill_at: int = 0, limit: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COLLECTION, str(project), str(kill_at), str(limit)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def write(log: Path, *numbers: int) -> None:
    with log.open("a") as file:
        # Two days, so that one batch is several files.
        file.writelines(
            f"{START + timedelta(seconds=n) - timedelta(days=n % 2):%Y-%m-%dT%H:%M:%SZ} INFO entry {n}\n"
            for n in numbers
        )


def numbers(project: Path) -> list[int]:
    home = project / ".horae/collected-logs"
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT message FROM read_parquet('{home}/entries/*/*.parquet')").fetchall()
    return sorted(int(message.removeprefix("entry ")) for (message,) in found)


def test_a_run_that_is_killed_anywhere_is_made_up_for_by_the_next(project: Path) -> None:
    log, killed, at, written = project / "app.log", 0, 0, 1
    write(log, 0)
    assert collect(project).returncode == 0
    while True:
        at += 7
        write(log, *range(written, written + 4))
        written += 4
        done = collect(project, kill_at=at)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
        if killed % 3 == 0:
            log.rename(project / f"app.log.{killed}")  # rotated while nobody looks
    assert killed > 5
    assert numbers(project) == [*range(written)]
    assert not list((project / ".horae/collected-logs").glob(".unfinished-*"))


def test_a_full_disk_fails_the_run_and_the_next_one_makes_up_for_it(project: Path) -> None:
    log = project / "app.log"
    write(log, *range(10))
    assert collect(project).returncode == 0
    write(log, *range(10, 5000))
    full = collect(project, limit=20_000)
    assert full.returncode == 1
    assert "File too large" in full.stderr or "cannot be written" in full.stderr
    assert numbers(project) == [*range(10)]
    assert collect(project).returncode == 0
    assert numbers(project) == [*range(5000)]


def test_rotation_while_it_reads_loses_nothing(project: Path) -> None:
    log = project / "app.log"
    write(log, -2, -1)
    assert collect(project).returncode == 0
    stamp = f"{START:%Y-%m-%dT%H:%M:%SZ}"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(log), "3", stamp], stdout=subprocess.PIPE, text=True
    ) as writer:
        while writer.poll() is None:
            done = collect(project)
            assert done.returncode in (0, 1), done.stderr
            assert done.returncode == 0 or "does not exist" in done.stderr
        assert writer.stdout
        written = int(writer.stdout.read())
    write(log, written)
    assert collect(project).returncode == 0
    assert numbers(project) == [*range(-2, written + 1)]
    assert len(collected.batches(project / ".horae/collected-logs")) > 2
