"""Whatever a job raises or returns, on each tier, is the verdict of that run, once, and nothing else is hurt."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from horae.execution.loop import JobLoop
from horae.execution.work import Work
from horae.jobs.policies import Overlap, Tier
from horae.metrics.process import Metrics
from horae.project.loading import load as load_registry
from horae.project.registry import Registry
from horae.runs import Cause, Run, Verdict, new_run_id
from horae.settings import load
from horae.store.values import Answer, NewRun
from tests.model import ModelStore

LEASE = timedelta(seconds=5)
HEAD = """
import asyncio, functools, sys, time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from horae import every, job

class Odd(BaseException):
    pass

class Wordless(Exception):
    def __str__(self):
        raise Odd("no words")
    __repr__ = __str__

class Named(type):
    @property
    def __name__(cls):
        raise Odd("no name")

class Nameless(Exception, metaclass=Named):
    pass

class Traceless(Exception):
    @property
    def __notes__(self):
        raise Odd("no notes")

class Rude(dict):
    def items(self):
        raise Odd("no items")

class Masked:
    @property
    def __class__(self):
        raise Odd("no class")

def plain(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

class Later:
    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return "later"

async def cancelled_task():
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    await task

async def exits(status):
    await asyncio.sleep(0)
    sys.exit(status)
"""
KINDS = {
    "durable_async": ("infra", "traits={'infrastructure'}", "async def"),
    "durable_thread": ("infra", "traits={'infrastructure'}, isolation='thread'", "def"),
    "durable_child": ("infra", "traits={'infrastructure'}", "def"),
    "internal_async": ("internal", "schedule=every('1h')", "async def"),
    "internal_sync": ("internal", "schedule=every('1h')", "def"),
}
ASYNC = ["durable_async", "internal_async"]


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def working(project: Path) -> AsyncIterator[tuple[Work, ModelStore, Registry]]:
    settings, store = load(project), ModelStore()
    registry = load_registry(settings)
    assert not registry.problems
    async with Work(settings, store, Metrics(), 10, LEASE) as work:
        yield work, store, registry


async def ran(project: Path, kind: str, body: str, *, more: str = "", decorator: str = "", how: str = "") -> Run:
    """The row of one run of a job of that kind."""
    folder, options, declared = KINDS[kind]
    text = f"@job({options}{more})\n{decorator}\n{how or declared} a_job():\n    {body}\n"
    (project / folder / "a_job.py").write_text(HEAD + text)
    async with working(project) as (work, store, registry):
        tier = Tier.ONEIRIC if folder == "infra" else Tier.APSCHEDULER
        new = NewRun(run_id=new_run_id(), job="a-job", tier=tier, cause=Cause.ENQUEUE)
        claim = await store.claims.begin(new, Overlap.ALLOW, "w1", LEASE)
        assert claim.answer is Answer.RUN
        await work.begin(registry.get("a-job"), claim)
        run = await store.ledger.run(new.run_id)
    assert run
    return run


def ended(run: Run) -> tuple[Verdict | None, str, str | None, int]:
    return run.verdict, run.reason or "", run.failure.type if run.failure else None, run.attempts


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        ("raise asyncio.CancelledError", "CancelledError"),
        ("raise Odd('boo')", "Odd"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise Wordless", "Wordless"),
        ("raise Nameless('x')", "Nameless"),
        ("raise Traceless('x')", "Traceless"),
        ("sys.exit(3)", "SystemExit"),
        ("sys.exit('a word')", "SystemExit"),
    ],
)
async def test_what_a_job_raises_is_its_failure(project: Path, kind: str, body: str, type_: str) -> None:
    run = await ran(project, kind, body)
    assert ended(run) == (Verdict.FAILED, "raised", type_, 1)
    assert run.failure
    assert "a_job.py" in run.failure.traceback


@pytest.mark.parametrize("kind", ASYNC)
async def test_a_task_of_its_own_that_was_cancelled_is_its_failure(project: Path, kind: str) -> None:
    assert ended(await ran(project, kind, "await cancelled_task()")) == (Verdict.FAILED, "raised", "CancelledError", 1)


@pytest.mark.parametrize("kind", ASYNC)
@pytest.mark.parametrize("then", ["await asyncio.sleep(1)", "return 1"])
async def test_a_job_that_cancels_itself_fails(project: Path, kind: str, then: str) -> None:
    run = await ran(project, kind, f"asyncio.current_task().cancel(); {then}")
    assert ended(run) == (Verdict.FAILED, "raised", "CancelledError", 1)


@pytest.mark.parametrize("name", ["NotBegun", "ChildDied", "TimedOut", "Abandoned"])
async def test_an_error_of_ours_that_a_job_raises_is_the_jobs(project: Path, kind: str, name: str) -> None:
    run = await ran(project, kind, f"from horae.errors import {name}; raise {name}('mine')")
    assert ended(run) == (Verdict.FAILED, "raised", name, 1)


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("return Rude(a=1)", "{'a': 1}"),
        ("return [Rude(a=1)]", "[{'a': 1}]"),
        ("return Wordless()", "a Wordless whose text cannot be read"),
        ("return Masked()", "Masked"),
    ],
)
async def test_a_result_that_raises_when_it_is_looked_at_is_a_note(
    project: Path, kind: str, body: str, result: str
) -> None:
    run = await ran(project, kind, body)
    assert ended(run) == (Verdict.RAN, "", None, 1)
    assert result in str(run.result)


@pytest.mark.parametrize("body", ["sys.exit()", "sys.exit(0)", "raise SystemExit"])
async def test_an_exit_that_means_success_to_a_shell_is_ran(project: Path, kind: str, body: str) -> None:
    run = await ran(project, kind, body)
    assert (*ended(run), run.result) == (Verdict.RAN, "", None, 1, None)


async def test_only_what_is_not_json_becomes_text(project: Path, kind: str) -> None:
    value = (
        "{'at': datetime(2026, 3, 1, 6, tzinfo=UTC), 'day': date(2026, 3, 1), 'cost': Decimal('1.10'), "
        "'many': [1, Path('a')], date(2026, 3, 2): None, 'bad': float('nan')}"
    )
    run = await ran(project, kind, f"return {value}")
    assert run.result == {
        "at": "2026-03-01T06:00:00Z",
        "day": "2026-03-01",
        "cost": "1.10",
        "many": [1, "PosixPath('a')"],
        "2026-03-02": None,
        "bad": "nan",
    }


@pytest.mark.parametrize("kind", ASYNC)
@pytest.mark.parametrize("answer", ["return 'part'", "raise ValueError('late')", "sys.exit(0)"])
async def test_a_cancellation_that_is_swallowed_is_timed_out(project: Path, kind: str, answer: str) -> None:
    body = f"try:\n        await asyncio.sleep(60)\n    except asyncio.CancelledError:\n        {answer}"
    run = await ran(project, kind, body, more=", time_limit=timedelta(seconds=0.1)")
    assert ended(run) == (Verdict.FAILED, "timed out", "TimedOut", 1)


@pytest.mark.parametrize("kind", ASYNC)
async def test_the_traceback_says_where_the_time_ran_out(project: Path, kind: str) -> None:
    run = await ran(project, kind, "await asyncio.sleep(60)", more=", time_limit=timedelta(seconds=0.1)")
    assert ended(run) == (Verdict.FAILED, "timed out", "TimedOut", 1)
    assert run.failure
    assert "a_job.py" in run.failure.traceback


async def test_a_child_that_swallows_its_end_is_timed_out(project: Path) -> None:
    body = "import signal\n    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n    time.sleep(60)"
    run = await ran(project, "durable_child", body, more=", time_limit=timedelta(seconds=0.5)")
    assert ended(run) == (Verdict.FAILED, "timed out", "TimedOut", 1)


async def test_what_can_be_awaited_is_awaited(project: Path, kind: str) -> None:
    wrapped = await ran(project, kind, "await asyncio.sleep(0); return 'awaited'", decorator="@plain", how="async def")
    assert (wrapped.verdict, wrapped.result) == (Verdict.RAN, "awaited")
    returned = await ran(project, kind, "return Later()")
    assert (returned.verdict, returned.result) == (Verdict.RAN, "later")
    failed = await ran(project, kind, "raise asyncio.CancelledError", decorator="@plain", how="async def")
    assert ended(failed) == (Verdict.FAILED, "raised", "CancelledError", 1)


@pytest.mark.parametrize("how", ["def", "async def"])
async def test_a_body_that_never_ran_is_no_success(project: Path, kind: str, how: str) -> None:
    run = await ran(project, kind, "yield 1", decorator="@plain", how=how)
    assert ended(run) == (Verdict.FAILED, "raised", "UsageError", 1)
    assert run.failure
    assert "return a value instead" in run.failure.message


async def test_what_is_awaited_has_the_time_limit_too(project: Path, kind: str) -> None:
    limit = ", time_limit=timedelta(seconds=0.5)"
    run = await ran(project, kind, "await asyncio.sleep(60)", more=limit, decorator="@plain", how="async def")
    assert ended(run) == (Verdict.FAILED, "timed out", "TimedOut", 1)


@pytest.mark.parametrize("kind", ASYNC)
@pytest.mark.parametrize(
    ("status", "expected"), [(3, (Verdict.FAILED, "raised", "SystemExit", 1)), (0, (Verdict.RAN, "", None, 1))]
)
def test_an_exit_in_a_task_of_a_job_ends_no_event_loop(
    project: Path, kind: str, status: int, expected: tuple[Any, ...]
) -> None:
    body = f"await asyncio.gather(exits({status}))"
    run = asyncio.run(ran(project, kind, body), loop_factory=JobLoop)
    assert ended(run) == expected
