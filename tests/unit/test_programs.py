"""A program with a time limit: its output, its end, and the end of all that it started."""

import sys
from pathlib import Path

import pytest

from horae.programs import run_program
from tests.waiting import wait_for

PARENT = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
print("begun", flush=True)
time.sleep(600)
"""


def test_what_it_prints_and_how_it_ends() -> None:
    code = "import sys; print(repr(sys.stdin.read())); print('no', file=sys.stderr); sys.exit(3)"
    done = run_program([sys.executable, "-c", code], timeout_seconds=20)
    assert (done.status, done.stdout, done.stderr, done.timed_out) == (3, b"''\n", b"no\n", False)


def test_at_the_time_limit_its_children_end_too(tmp_path: Path) -> None:
    note = tmp_path / "child"
    done = run_program([sys.executable, "-c", PARENT, str(note)], timeout_seconds=3)
    assert (done.timed_out, done.status, done.stdout) == (True, -9, b"begun\n")
    wait_for(lambda: _gone(int(note.read_text())), "the child's end")


def test_a_descendant_that_left_the_group_keeps_nobody_waiting() -> None:
    code = "import subprocess; subprocess.Popen(['sleep', '4'], start_new_session=True); print('done', flush=True)"
    done = run_program([sys.executable, "-c", code], timeout_seconds=1)
    assert (done.timed_out, done.stdout) == (True, b"done\n")


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        run_program(["no-such-program-anywhere"], timeout_seconds=1)


def _gone(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"
