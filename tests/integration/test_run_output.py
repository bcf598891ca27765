"""What a job prints, logs and lets subprocesses write: the same lines in a process, on the loop, and in a thread."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from horae.execution.capture import capturing
from horae.execution.work import Work
from horae.messages import Message
from horae.metrics.process import Metrics
from horae.project.loading import load as load_registry
from horae.runs import Verdict, new_run_id
from horae.settings import load
from horae.store.values import Answer, Claim, Settlement
from tests.model import ModelStore

pytestmark = pytest.mark.timeout(60)

HEAD = """
import asyncio, logging, os, subprocess, sys, threading, time, warnings
from concurrent.futures import ThreadPoolExecutor
from horae import current_run, job
from multiprocessing import get_context
log = logging.getLogger("job")

def double(n):
    print("doubles", n)
    log.info("of attempt %d", current_run().attempt)
    return 2 * n

"""
WAYS = {
    "child": ("infra", "", "def"),
    "loop": ("infra", "", "async def"),
    "thread": ("infra", 'isolation="thread"', "def"),
    "internal": ("internal", "", "def"),
    "internal loop": ("internal", "", "async def"),
}

type Run = Callable[[str], Awaitable[tuple[Settlement, list[str]]]]


@pytest.fixture(params=list(WAYS))
async def run(request: pytest.FixtureRequest, project: Path) -> AsyncIterator[Run]:
    """Runs a body as a job of one kind; its settlement, and its lines without instants."""
    folder, options, kind = WAYS[request.param]
    traits = 'traits={"infrastructure"}, ' if folder == "infra" else ""
    async with AsyncExitStack() as stack:
        store = ModelStore("t")

        async def run_it(body: str) -> tuple[Settlement, list[str]]:
            lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
            (project / folder / "work.py").write_text(f"{HEAD}@job({traits}{options})\n{kind} work():\n{lines}")
            settings = load(project)
            job = load_registry(settings).get("work")
            work = await stack.enter_async_context(Work(settings, store, Metrics(), 4, timedelta(seconds=5)))
            stack.enter_context(capturing())  # not before: pytest has another stdout for each phase of a test
            heard: list[str] = []
            message = Message(job="work", run_id=new_run_id())
            claim = Claim(message=message, answer=Answer.RUN, attempts=3)
            settlement = await work.begin(job, claim, heard.append)
            assert settlement
            return settlement, [line.partition(" ")[2] for line in heard]

        yield run_it


async def test_records_prints_and_warnings_are_kept(run: Run) -> None:
    settlement, lines = await run("""
log.info("info"); log.warning("warning"); log.debug("debug")
print("printed"); print("to stderr", file=sys.stderr)
print("no end", end="")
return "whole"
""")
    assert settlement.result == "whole"
    assert sorted(lines) == sorted(
        ["INFO job: info", "WARNING job: warning", "PRINT printed", "STDERR to stderr", "PRINT no end"]
    )
    assert lines.index("INFO job: info") < lines.index("PRINT printed")


async def test_what_a_subprocess_writes_is_kept(run: Run) -> None:
    _, lines = await run("""
subprocess.run(["sh", "-c", "echo out; echo err >&2"], check=True)
""")
    assert sorted(lines) == ["PRINT out", "STDERR err"]


async def test_threads_and_pools_are_part_of_the_run(run: Run) -> None:
    settlement, lines = await run("""
def look():
    print("looks"); log.info("looks")
    return current_run().attempt
thread = threading.Thread(target=look); thread.start(); thread.join()
with ThreadPoolExecutor(1) as pool:
    return pool.submit(look).result()
""")
    assert settlement.result == 3
    assert sorted(lines) == ["INFO job: looks", "INFO job: looks", "PRINT looks", "PRINT looks"]


async def test_a_pool_of_forks_is_part_of_the_run(run: Run) -> None:
    settlement, lines = await run("""
warnings.simplefilter("ignore")  # Python warns of forks in a process that has threads
with get_context("fork").Pool(2) as pool:
    return pool.map(double, [1, 2, 3])
""")
    assert settlement.result == [2, 4, 6], settlement.failure
    assert sorted(lines) == sorted([*(f"PRINT doubles {n}" for n in (1, 2, 3)), *(["INFO job: of attempt 3"] * 3)])


async def test_a_bad_log_call_is_a_word_on_stderr(run: Run) -> None:
    settlement, lines = await run("""
log.info("done %d of %d", 1)
return "whole"
""")
    assert (settlement.verdict, settlement.result) == (Verdict.RAN, "whole")
    assert any("--- Logging error ---" in line for line in lines)


async def test_stdout_is_a_text_stream(run: Run) -> None:
    settlement, _ = await run("""
sys.stdout.reconfigure(line_buffering=True)
assert sys.stdout.writable() and not sys.stdout.readable()
assert sys.stdout.buffer.writable()
sys.stdout.flush()
return [sys.stdout.name, sys.stdout.mode, sys.stdout.encoding, sys.stdout.line_buffering, sys.stdout.isatty()]
""")
    assert settlement.result == ["<stdout>", "w", "utf-8", True, False], settlement.failure


async def test_many_pieces_of_a_line_are_all_kept_and_quick(run: Run) -> None:
    settlement, lines = await run("""
began = time.process_time()
for _ in range(100_000):
    print(".", end="")
return time.process_time() - began
""")
    assert settlement.result < 5
    assert sum(line.count(".") for line in lines) == 100_000
    assert all(re.fullmatch(r"PRINT \.+", line) for line in lines)


async def test_a_long_report_is_cut(run: Run) -> None:
    settlement, lines = await run("""
current_run().report("x" * 9_000_000)
return "whole"
""")
    assert settlement.result == "whole"
    assert len(settlement.progress) == 4_000
    assert [line[:10] for line in lines] == ["PROGRESS x"]
