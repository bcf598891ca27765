"""Jobs that do what no job should: each gets its verdict in one attempt, and the worker goes on."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from horae.runs import Run, Verdict
from horae.scheduler.scheduler import Scheduler
from horae.settings import StoreSettings, load
from horae.store import connect
from tests.processes import services
from tests.waiting import wait_until

pytestmark = [pytest.mark.requires("valkey"), pytest.mark.timeout(120)]

HEAD = """
import asyncio, os, subprocess, sys, threading, time
from datetime import timedelta
from horae import job

class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")
    __repr__ = __str__

async def leaves():
    await asyncio.sleep(0)
    sys.exit(3)
"""
HALF = "\\udc80"
JOBS = {
    "prints_half_a_pair": ("", f'def {{}}():\n    print("name {HALF}")', Verdict.RAN),
    "prints_half_a_pair_async": ("", f'async def {{}}():\n    print("name {HALF}")', Verdict.RAN),
    "raises_half_a_pair": ("", f'async def {{}}():\n    raise ValueError("name {HALF}")', Verdict.FAILED),
    "returns_half_a_pair": ("", f'async def {{}}():\n    return {{{{"name": "{HALF}"}}}}', Verdict.RAN),
    "raises_the_unspeakable": ("", "async def {}():\n    raise Unspeakable", Verdict.FAILED),
    "returns_the_unspeakable": ("", "async def {}():\n    return Unspeakable()", Verdict.RAN),
    "returns_no_number": ("", 'async def {}():\n    return float("nan")', Verdict.RAN),
    "returns_a_lot": ("", 'def {}():\n    return "x" * (16 * 1024 * 1024)', Verdict.RAN),
    "exits": ("", "async def {}():\n    sys.exit(3)", Verdict.FAILED),
    "exits_in_a_thread": ('isolation="thread"', "def {}():\n    sys.exit(3)", Verdict.FAILED),
    "exits_in_a_task": ("", "async def {}():\n    await asyncio.gather(leaves())", Verdict.FAILED),
    "leaves_well": ("", "def {}():\n    sys.exit(0)", Verdict.RAN),
    "cancels_its_task": (
        "",
        "async def {}():\n    task = asyncio.create_task(leaves())\n    task.cancel()\n    await task",
        Verdict.FAILED,
    ),
    "raises_the_base": ("", "async def {}():\n    raise BaseException", Verdict.FAILED),
    "raises_the_base_in_a_thread": ('isolation="thread"', "def {}():\n    raise BaseException", Verdict.FAILED),
    "raises_the_base_in_a_child": ("", "def {}():\n    raise BaseException", Verdict.FAILED),
    "prints_bytes": ("", 'def {}():\n    sys.stdout.buffer.write(b"\\xff\\n")', Verdict.RAN),
    "writes_a_long_line": (
        "",
        'def {}():\n    for _ in range(20):\n        os.write(2, b"x" * 1_000_000)',
        Verdict.RAN,
    ),
    "leaves_a_process": (
        "time_limit=timedelta(seconds=1)",
        'def {}():\n    subprocess.Popen(["sleep", "25"], start_new_session=True)\n    time.sleep(60)',
        Verdict.FAILED,
    ),
}


def source(name: str) -> str:
    options, body, _ = JOBS[name]
    return f'{HEAD}\n@job(traits={{"infrastructure"}}, {options})\n{body.format(name)}\n'


async def test_each_has_its_verdict_after_one_attempt(project: Path, valkey_url: str, namespace: str) -> None:
    for name in JOBS:
        (project / "infra" / f"{name}.py").write_text(source(name))
    settings = load(project).model_copy(
        update={"namespace": namespace, "store": StoreSettings(url=SecretStr(valkey_url))}
    )
    with services(project, valkey_url, namespace, HORAE_WORKER__SLOTS="20") as running:
        worker = running.start("queue_worker", HORAE_WORKER__LEASE_SECONDS="2")
        async with Scheduler(settings).lifecycle() as scheduler, connect(settings) as store:
            asked = {name: (await scheduler.enqueue_workflow(name)).run_id for name in JOBS}

            async def settled() -> dict[str, Run] | None:
                rows = {name: await store.ledger.run(run) for name, run in asked.items()}
                found = {name: row for name, row in rows.items() if row and row.verdict}
                return found if len(found) == len(asked) else None

            runs = await wait_until(settled, "every job to be settled", 40)
            assert runs
            assert {name: (run.verdict, run.attempts) for name, run in runs.items()} == {
                name: (verdict, 1) for name, (_, _, verdict) in JOBS.items()
            }
            assert worker.process.poll() is None
            for name in ("prints_half_a_pair", "prints_half_a_pair_async"):
                [line] = await store.ledger.log(asked[name])
                assert line.endswith("name \\udc80")
            [line] = await store.ledger.log(asked["prints_bytes"])
            assert line.endswith("\\xff")
            assert runs["returns_half_a_pair"].result == {"name": "?"}
            assert runs["returns_no_number"].result == "nan"
            assert "exceeds the limit" in runs["returns_a_lot"].result


FORKS = '''
import os, sys, time
from horae import job

@job(traits={"infrastructure"}, overlap="queue")
def forks(*, forks: bool, answer: str) -> str:
    """Fork, and let the fork end as it likes."""
    if forks and os.fork() == 0:
        sys.exit(0)
    if forks:
        os.wait()
    print(answer, end="")
    return answer
'''


async def test_a_fork_does_not_answer_for_its_run(project: Path, valkey_url: str, namespace: str) -> None:
    (project / "infra" / "forks.py").write_text(FORKS)
    settings = load(project).model_copy(
        update={"namespace": namespace, "store": StoreSettings(url=SecretStr(valkey_url))}
    )
    with services(project, valkey_url, namespace) as running:
        running.start("queue_worker")
        async with Scheduler(settings).lifecycle() as scheduler, connect(settings) as store:
            contexts = [{"forks": forks, "answer": str(number)} for number, forks in enumerate([True, False, False])]
            asked = [one.run_id for one in await scheduler.enqueue_many("forks", contexts)]

            async def answers() -> list[object] | None:
                rows = [await store.ledger.run(run) for run in asked]
                done = [row for row in rows if row and row.verdict]
                return [(row.verdict, row.result) for row in done] if len(done) == len(asked) else None

            expected = [(Verdict.RAN, str(number)) for number in range(3)]
            assert await wait_until(answers, "the runs to be settled", 20) == expected
            # What is printed without an end of the line is the run's all the same, and no other's.
            logs = [await store.ledger.log(run) for run in asked]
            assert [[line.rpartition(" ")[2] for line in log] for log in logs] == [["0"], ["1"], ["2"]]


SWALLOWS = '''
import asyncio
from datetime import timedelta
from horae import job

@job(traits={"infrastructure"}, time_limit=timedelta(seconds=LIMIT))
async def swallows() -> None:
    """Go on, whatever is said."""
    while True:
        try:
            print("begun", flush=True)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
'''
THREAD = '''
import time
from datetime import timedelta
from horae import job

@job(traits={"infrastructure"}, time_limit=timedelta(seconds=LIMIT), isolation="thread")
def swallows() -> None:
    """A thread that goes on."""
    print("begun", flush=True)
    time.sleep(40)
'''


@pytest.mark.parametrize("body", [SWALLOWS, THREAD], ids=["async", "thread"])
@pytest.mark.parametrize("limit", [1, 300], ids=["over its limit", "drained"])
async def test_a_job_that_cannot_be_ended_does_not_keep_its_process(
    project: Path, valkey_url: str, namespace: str, body: str, limit: int
) -> None:
    (project / "infra" / "swallows.py").write_text(body.replace("LIMIT", str(limit)))
    settings = load(project).model_copy(
        update={"namespace": namespace, "store": StoreSettings(url=SecretStr(valkey_url))}
    )
    with services(project, valkey_url, namespace, HORAE_WORKER__GRACE_SECONDS="0.1") as running:
        worker = running.start("queue_worker")
        async with Scheduler(settings).lifecycle() as scheduler, connect(settings) as store:
            run = (await scheduler.enqueue_workflow("swallows")).run_id
            await wait_until(lambda: store.ledger.log(run), "the job to begin")
            if limit == 300:
                assert worker.terminate() == 0
            else:
                await wait_until(lambda: worker.process.poll() is not None, "the process to end", 20)
                assert worker.process.returncode == 75
