"""A job in the foreground: it is tried again there, and waits for other runs as its overlap says."""

import asyncio
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from horae.runs import Run, Verdict
from horae.scheduler.scheduler import Scheduler
from horae.settings import Settings, StoreSettings, load
from horae.store import connect
from tests.waiting import wait_until

pytestmark = [pytest.mark.requires("valkey"), pytest.mark.timeout(90)]

FLAKY = '''
import asyncio, os, signal
from datetime import timedelta
from horae import Retry, current_run, job

@job(traits={"infrastructure"}, retry=Retry(retries=RETRIES, base_delay=timedelta(seconds=0.2)))
def flaky(*, how: str = "raise") -> int:
    """Fails twice."""
    attempt = current_run().attempt
    print("attempt", attempt)
    if attempt < 3 and how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if attempt < 3 or how == "always":
        raise OSError("not yet")
    return attempt
'''
SLOW = '''
import asyncio
from horae import current_run, job

@job(traits={"infrastructure"}, OVERLAP)
async def slow() -> None:
    """Until it is told."""
    print("begun")
    while not (current_run().project / "go").exists():
        await asyncio.sleep(0.05)
'''


@pytest.fixture
def settings(project: Path, valkey_url: str, namespace: str) -> Settings:
    return load(project).model_copy(update={"namespace": namespace, "store": StoreSettings(url=SecretStr(valkey_url))})


async def ran(settings: Settings, job: str, lines: list[str], **context: object) -> Run:
    async with Scheduler(settings).lifecycle(receives=False) as scheduler:
        return await scheduler.run_now(job, context, lines.append)


@pytest.mark.parametrize("how", ["raise", "die"])
async def test_it_is_tried_again_in_the_foreground(project: Path, settings: Settings, how: str) -> None:
    (project / "infra" / "flaky.py").write_text(FLAKY.replace("RETRIES", "2"))
    lines: list[str] = []
    run = await ran(settings, "flaky", lines, how=how)
    assert (run.verdict, run.attempts, run.result) == (Verdict.RAN, 3, 3)
    assert [event.what for event in run.story] == ["accepted", "claimed", "retrying", "retrying", "settled"]
    said = [line.partition(" ")[2] for line in lines]
    assert [line for line in said if line.startswith("PRINT")] == [f"PRINT attempt {n}" for n in (1, 2, 3)]
    assert sum(line.startswith("RETRY in") for line in said) == 2


async def test_the_last_failure_is_the_verdict_and_leaves_nothing_to_a_worker(
    project: Path, settings: Settings
) -> None:
    (project / "infra" / "flaky.py").write_text(FLAKY.replace("RETRIES", "1"))
    run = await ran(settings, "flaky", [], how="always")
    assert (run.verdict, run.reason, run.attempts) == (Verdict.FAILED, "raised", 2)
    async with connect(settings) as store:
        assert (await store.outbox.take([""], 10, timedelta(seconds=1))).entries == []


async def test_a_run_that_is_cancelled_while_it_waits_for_its_retry_is_cancelled(
    project: Path, settings: Settings
) -> None:
    text = FLAKY.replace("RETRIES", "2").replace("seconds=0.2", "minutes=10")
    (project / "infra" / "flaky.py").write_text(text)
    lines: list[str] = []
    running = asyncio.create_task(ran(settings, "flaky", lines))
    await wait_until(lambda: any(" RETRY in" in line for line in lines), "the first failure", 20)
    running.cancel()
    await asyncio.wait([running])
    async with connect(settings) as store:
        [run] = await store.ledger.runs()
    assert (run.verdict, run.reason) == (Verdict.CANCELLED, "requested")


@pytest.mark.parametrize(
    ("overlap", "first", "second"),
    [
        ("overlap='skip'", Verdict.RAN, "waits"),
        ("overlap='queue'", Verdict.RAN, "waits"),
        ("overlap='cancel_other'", Verdict.CANCELLED, "waits"),
        ("overlap='allow', idempotent=True", Verdict.RAN, "at once"),
        ("overlap='allow', concurrency=1, idempotent=True", Verdict.RAN, "waits"),
    ],
)
async def test_it_waits_for_other_runs_as_its_overlap_says(
    project: Path, settings: Settings, overlap: str, first: Verdict, second: str
) -> None:
    (project / "infra" / "slow.py").write_text(SLOW.replace("OVERLAP", overlap))
    heard: list[list[str]] = [[], []]
    one = asyncio.create_task(ran(settings, "slow", heard[0]))
    await wait_until(lambda: heard[0], "the first run to begin", 20)
    two = asyncio.create_task(ran(settings, "slow", heard[1]))
    await wait_until(lambda: heard[1], "a word of the second", 20)
    assert ("WAITS" in heard[1][0]) == (second == "waits")
    if first is Verdict.RAN:
        (project / "go").touch()
    assert (await one).verdict is first
    (project / "go").touch()
    assert (await two).verdict is Verdict.RAN
    async with connect(settings) as store:
        assert len(await store.ledger.runs()) == 2


def test_the_command_says_how_it_ends(project: Path, settings: Settings, valkey_url: str) -> None:
    (project / "infra" / "flaky.py").write_text(FLAKY.replace("RETRIES", "2"))
    order = [sys.executable, "-m", "horae", "--project", str(project), "run", "flaky"]
    environment = {"HORAE_STORE__URL": valkey_url, "HORAE_NAMESPACE": settings.namespace, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(order, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "retrying" not in done.stdout.splitlines()[-2]
    assert "ran in" in done.stdout
