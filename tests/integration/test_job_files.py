"""Whatever a job file does when it is imported: it is named, nothing else is hurt, and all others load."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from horae.project.loading import load
from horae.project.probing import probe
from horae.settings import load as load_settings
from tests.processes import services
from tests.waiting import wait_for

GOOD = """
    from horae import job

    @job(traits=["infrastructure"])
    def good() -> None:
        "A sound job."
"""
JOB = """
import asyncio, os, signal, subprocess, sys, threading, time
from horae import job

{}

@job(traits=["infrastructure"])
def x() -> None:
    "Odd."
"""
PROXY = """
class Proxy:
    def __getattr__(self, name):
        raise {}
current_app = Proxy()
"""
CLASS = """
class Odd:
    @property
    def __class__(self):
        raise RuntimeError
odd = Odd()
"""
NO_HARM = {
    "getattr raises": PROXY.format("RuntimeError('Working outside of application context.')"),
    "getattr exits": PROXY.format("SystemExit(3)"),
    "class raises": CLASS,
    "mock": "from unittest.mock import MagicMock\nmock = MagicMock()",
}
"""The job is there, and nothing is to be said."""
RAISES = {
    "sys.exit": "sys.exit(0)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "CancelledError": "raise asyncio.CancelledError",
    "GeneratorExit": "raise GeneratorExit",
    "of its own": "class Boo(BaseException): ...\nraise Boo('boo')",
    "without words": "class Boo(Exception):\n    def __str__(self): raise SystemExit\nraise Boo",
    "removes itself": "del sys.modules['infra.x']",
    "replaces itself": "class M:\n    __slots__ = ()\nsys.modules['infra.x'] = M()",
}
"""An exception, in one way or another."""
EFFECTS = {
    "print": ("print('hello')", "prints to standard output"),
    "raw": ("os.write(1, b'raw')", "prints to standard output"),
    "of a program": ("subprocess.run(['echo', 'sub'])", "prints to standard output"),
    "closes it": ("sys.stdout.close()", ""),
    "closes 1": ("os.close(1)", "closes standard output"),
    "chdir": ("os.chdir('/')", "changes the working directory to '/'"),
    "thread": ("threading.Thread(target=time.sleep, args=(60,), name='mine').start()", "from ending (mine)"),
    "signal": ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "handles SIGTERM"),
    "forks": ("os.fork()", ""),
}
NO_END = {
    "loop": ("while True: pass", "it does not end within 1 s"),
    "stubborn": ("while True:\n    try: time.sleep(9)\n    except BaseException: pass", "it does not end within 1 s"),
    "os._exit": ("os._exit(0)", "it ended its process with status 0"),
    "killed": ("os.kill(os.getpid(), 9)", "it was ended by SIGKILL"),
}


@pytest.fixture
def odd(project: Path) -> Path:
    """The project with a sound job."""
    (project / "infra/good.py").write_text(dedent(GOOD))
    return project


def horae(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "horae", *arguments]
    return subprocess.run(
        command, cwd=project, capture_output=True, text=True, timeout=90, check=False, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize("text", NO_HARM.values(), ids=NO_HARM)
def test_the_values_of_a_module_are_not_asked(odd: Path, text: str) -> None:
    (odd / "infra/x.py").write_text(JOB.format(text))
    registry = load(load_settings(odd, {}))
    assert (registry.names, registry.problems) == (("good", "x"), ())


@pytest.mark.parametrize("text", RAISES.values(), ids=RAISES)
def test_whatever_an_import_raises_is_a_finding(odd: Path, text: str) -> None:
    (odd / "infra/x.py").write_text(JOB.format(text))
    settings = load_settings(odd, {})
    for registry in (load(settings), load(settings, probe(settings))):
        [problem] = registry.problems
        assert (problem.code, problem.file, registry.names) == ("HR701", "infra/x.py", ("good",))


@pytest.mark.parametrize(("text", "said"), EFFECTS.values(), ids=EFFECTS)
def test_what_an_import_does_beside_is_named_and_hurts_no_command(odd: Path, text: str, said: str) -> None:
    (odd / "infra/x.py").write_text(JOB.format(text))
    began = time.monotonic()
    done = horae(odd, "jobs", "--json")
    assert time.monotonic() - began < 30, "it does not wait for the thread"
    assert ([job["name"] for job in json.loads(done.stdout)], done.returncode) == (["good", "x"], 0), done.stderr
    found = json.loads(horae(odd, "check", "--json").stdout)
    told = [one["message"] for one in found if one["code"] == "HR712"]
    assert (len(told), said in "".join(told)) == (1 if said else 0, True), found


@pytest.mark.parametrize(("text", "said"), NO_END.values(), ids=NO_END)
def test_an_import_without_an_end_is_named_and_not_done_again(odd: Path, text: str, said: str) -> None:
    (odd / "infra/x.py").write_text(JOB.format(text))
    settings = load_settings(odd, {})
    registry = load(settings, probe(settings, seconds=1))
    [problem] = registry.problems
    assert (problem.code, problem.file, registry.names) == ("HR701", "infra/x.py", ("good",))
    assert said in problem.message


def test_what_is_no_file_is_not_opened(odd: Path) -> None:
    os.mkfifo(odd / "infra/pipe.py")
    (odd / "infra/folder.py").mkdir()
    (odd / "infra/loop.py").symlink_to("loop.py")
    (odd / "infra/broken.py").symlink_to("nowhere")
    registry = load(load_settings(odd, {}))
    assert {one.file for one in registry.problems} == {f"infra/{n}.py" for n in ("pipe", "folder", "loop", "broken")}
    assert registry.names == ("good",)


def test_a_program_that_an_import_leaves_behind_keeps_nobody_waiting(odd: Path) -> None:
    left = "subprocess.Popen(['sleep', '20'], start_new_session=True)"
    (odd / "infra/x.py").write_text(JOB.format(left))
    began = time.monotonic()
    assert set(probe(load_settings(odd, {}))) == {"infra.good", "infra.x"}
    assert time.monotonic() - began < 15


TICK = """
from horae import every, job

@job(schedule=every("1s"), traits={"infrastructure"})
def tick() -> None:
    with open("ticks", "a") as file:
        file.write(".")
"""


@pytest.mark.requires("valkey")
def test_processes_that_live_long_leave_such_a_file_alone(project: Path, valkey_url: str, namespace: str) -> None:
    """Also the process that the runs of synchronous jobs are forked from."""
    (project / "infra/tick.py").write_text(TICK)
    (project / "infra/x.py").write_text(JOB.format("os._exit(3)"))
    with services(project, valkey_url, namespace) as running:
        for kind in ("sidecar", "queue_worker"):
            assert "ended its process with status 3" in running.start(kind).log.read_text()
        wait_for(lambda: (project / "ticks").exists() and len((project / "ticks").read_text()) > 1, "ticks", 30)
