"""Each synchronous run has a process like a fresh one: nothing of an earlier run, and nothing of the worker's."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from horae.errors import ChildDied, RunFailed
from horae.execution.children import TARGET, Children
from horae.execution.fork_server import ForkServer
from horae.execution.run_log import RunLog, Streams
from horae.execution.tree import children_of
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(60)

HEAD = """
import asyncio, atexit, logging, os, resource, signal, subprocess, sys, threading, time
from horae import current_run, job

"""


@dataclass
class Trial:
    """Runs of one job file."""

    children: Children
    name: str
    lines: list[str] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)

    async def run(self, **context: object) -> Any:
        """The result of one run; what it wrote is in `lines`, without instants."""
        request = {
            "job": self.name,
            "file": f"infra/{self.name}.py",
            "run": {"run_id": "r1", "attempt": 3, "token": 7},
            "context": context,
        }
        streams = Streams(lambda line: self.lines.append(line.partition(" ")[2]))
        with RunLog(lambda: streams) as log:
            return await self.children.run(request, log, self.progress.append)


type Make = Callable[[str], Trial]


@pytest.fixture
async def make(project: Path) -> AsyncIterator[Make]:
    """A trial of the body of a job file, which declares the job `work`."""
    (project / "horae.toml").write_text("")
    async with Children(project) as children:

        def trial(body: str) -> Trial:
            (project / "infra" / "work.py").write_text(HEAD + body)
            return Trial(children, "work")

        yield trial


SPOILS = """
seen = []

@job(traits={"infrastructure"})
def work(*, spoil: bool):
    found = {
        "cwd": os.getcwd(),
        "umask": os.umask(0o22),
        "environment": os.environ.get("LEFT"),
        "handler": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
        "ignored": signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL,
        "level": logging.getLogger().level,
        "stdout": type(sys.stdout).__name__,
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64,
        "path": "/left" in sys.path,
        "threads": threading.active_count(),
        "globals": len(seen),
        "leader": os.getpgid(0) == os.getpid(),
    }
    if spoil:
        os.chdir("/")
        os.umask(0o777)
        os.environ["LEFT"] = "behind"
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        logging.basicConfig(force=True, level=logging.CRITICAL)
        sys.stdout.close()
        sys.stdout = None
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        sys.path.append("/left")
        threading.Thread(target=time.sleep, args=(600,)).start()
        seen.append(1)
    return found
"""


async def test_nothing_of_a_run_is_left_to_the_next(make: Make, project: Path) -> None:
    work = make(SPOILS)
    first = await work.run(spoil=True)
    assert await work.run(spoil=False) == first
    assert (first["cwd"], first["environment"], first["threads"]) == (str(project), None, 1)
    assert first["leader"]


STDIN = """
@job(traits={"infrastructure"})
def work(*, how: str):
    if how == "cat":
        return subprocess.run(["cat"], capture_output=True, text=True).stdout
    if how == "leave":
        subprocess.Popen(["cat"], stdout=subprocess.DEVNULL)
        return os.readlink("/proc/self/fd/0") if os.path.exists("/proc") else "/dev/null"
    if how == "exit":
        exit(1)
    return input("sure? ")
"""


async def test_what_reads_stdin_meets_its_end(make: Make) -> None:
    work = make(STDIN)
    assert await work.run(how="leave") == "/dev/null"
    assert await work.run(how="cat") == ""
    with pytest.raises(RunFailed, match="EOFError"):
        await work.run(how="ask")
    assert work.lines == ["PRINT sure? "]
    with pytest.raises(RunFailed, match="SystemExit: 1"):
        await work.run(how="exit")


FORKS = """
from multiprocessing import get_context

def double(n):
    print("doubles", n)
    logging.getLogger("pool").info("of attempt %d", current_run().attempt)
    return 2 * n

@job(traits={"infrastructure"})
def work():
    with get_context("fork").Pool(2) as pool:
        return pool.map(double, [1, 2, 3])
"""


async def test_a_pool_of_forks_is_part_of_the_run(make: Make) -> None:
    work = make(FORKS)
    assert await work.run() == [2, 4, 6]
    assert sorted(work.lines) == sorted(
        [*(f"PRINT doubles {n}" for n in (1, 2, 3)), *(["INFO pool: of attempt 3"] * 3)]
    )


THREADS = """
from concurrent.futures import ThreadPoolExecutor

def look(n):
    print("looks")
    logging.getLogger("pool").info("looks")
    return current_run().attempt

@job(traits={"infrastructure"})
def work():
    threading.Thread(target=print, args=("begins",)).start()
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(look, range(2)))
"""


async def test_threads_are_part_of_the_run(make: Make) -> None:
    work = make(THREADS)
    assert await work.run() == [3, 3]
    assert sorted(work.lines) == ["INFO pool: looks", "INFO pool: looks", "PRINT begins", "PRINT looks", "PRINT looks"]


LEAVES = """
@job(traits={"infrastructure"})
def work(*, how: str):
    line = ["sh", "-c", "setsid sleep 600 & sleep 600"]
    left = [subprocess.Popen(line, start_new_session=new).pid for new in (False, True)]
    with open(current_run().project / "left", "w") as file:
        file.write(" ".join(map(str, left)))
    if how == "die":
        os.kill(os.getpid(), 9)
    if how == "wait":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
"""


def state(pid: int) -> str:
    """As ps shows it, such as T for stopped; Z once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def sleeping(project: Path) -> list[int]:
    """The processes that this project's runs started and that are still there."""
    return [pid for pid in map(int, (project / "left").read_text().split()) if state(pid) != "Z"]


@pytest.mark.skipif(not Path("/proc").exists(), reason="orphans are adopted on Linux only")
async def test_what_a_run_started_ends_with_it(make: Make, project: Path) -> None:
    work = make(LEAVES)
    await work.run(how="return")
    await wait_until(lambda: not sleeping(project), "what it left to end", 5)
    with pytest.raises(ChildDied, match="SIGKILL"):
        await work.run(how="die")
    await wait_until(lambda: not sleeping(project), "what it left to end", 5)
    (project / "left").unlink()
    task = asyncio.create_task(work.run(how="wait"))
    await wait_until((project / "left").exists, "the run to begin")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until(lambda: not sleeping(project), "what it left to end", 5)


DIES_LATER = """
@job(traits={"infrastructure"})
def work(*, dies: bool):
    if dies:
        threading.Timer(0.05, os._exit, [1]).start()
        return os.getpid()
    time.sleep(0.2)
    return os.getpid()
"""


async def test_a_run_is_not_charged_for_what_an_earlier_one_left(make: Make) -> None:
    work = make(DIES_LATER)
    pids = [await work.run(dies=dies) for dies in (True, False, True, False)]
    assert len(set(pids)) == 4, "each has a process of its own"


TEMPLATE = """
@job(traits={"infrastructure"})
def work(*, sign: int = 0):
    parent = os.getppid()
    if sign:
        os.kill(parent, sign)
        time.sleep(600)
    return parent
"""


async def test_a_killed_template_is_replaced(make: Make) -> None:
    work = make(TEMPLATE)
    first = await work.run()
    with pytest.raises(ChildDied):
        await work.run(sign=signal.SIGKILL)
    assert await work.run() != first


@pytest.mark.skipif(not Path("/proc").exists(), reason="the state of a process is read from /proc")
async def test_a_template_that_a_job_stops_is_replaced_at_nobodys_charge(make: Make) -> None:
    work = make(TEMPLATE)
    template = await work.run()
    task = asyncio.create_task(work.run(sign=signal.SIGSTOP))
    await wait_until(lambda: state(template) == "T", "the template to be stopped")
    assert await work.run() != template
    with pytest.raises(ChildDied):
        await task


UNFIT = """
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()

@job(traits={"infrastructure"})
def work():
    return threading.active_count()
"""


async def test_what_starts_a_thread_at_import_is_imported_in_each_run(make: Make, project: Path) -> None:
    other = make(DIES_LATER.replace("def work(", "def other("))
    (project / "infra" / "work.py").rename(project / "infra" / "other.py")
    work = make(UNFIT)
    assert await work.run() == 2
    assert await work.run() == 2
    other.name = "other"
    assert await other.run(dies=False) != await other.run(dies=False)


async def test_a_template_that_is_still_starting_ends_with_its_server(project: Path) -> None:
    (project / "infra" / "slow.py").write_text("import time\ntime.sleep(600)\n")
    server, others = ForkServer(TARGET, [str(project)], project), set(children_of(os.getpid()))
    async with server:
        run = asyncio.create_task(server.run(b"", Deaf()))
        await wait_until(lambda: set(children_of(os.getpid())) - others, "the template to start")
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    await wait_until(lambda: not set(children_of(os.getpid())) - others, "the template to end")


class Deaf:
    """Hears nothing."""

    def message(self, message: dict[str, Any]) -> None: ...

    def output(self, data: bytes) -> None: ...

    def errors(self, data: bytes) -> None: ...


EXITS = """
@job(traits={"infrastructure"})
def work():
    atexit.register(print, "registered")
"""


async def test_exit_functions_are_called_while_they_are_heard(make: Make) -> None:
    work = make(EXITS)
    await work.run()
    assert work.lines == ["PRINT registered"]


CLOSES = """
@job(traits={"infrastructure"})
def work():
    os.closerange(0, 256)
    return "whole"
"""


async def test_closing_every_file_leaves_the_answer(make: Make) -> None:
    work = make(CLOSES)
    assert await work.run() == "whole"


FLOODS = """
@job(traits={"infrastructure"})
def work():
    for number in range(20_000):
        current_run().report(f"step {number}")
        print("x" * 50)
        os.write(2, b"y" * 50 + b"\\n")
    return "whole"
"""


async def test_a_flood_drowns_neither_the_answer_nor_what_came_before_it(make: Make) -> None:
    work = make(FLOODS)
    assert await work.run() == "whole"
    assert len(work.progress) == 20_000
    assert [line[:8] for line in work.lines].count("PRINT xx") == 20_000
    assert [line[:9] for line in work.lines].count("STDERR yy") == 20_000
