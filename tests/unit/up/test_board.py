"""What `horae up` shows, drawn on a stream."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.project.registry import Registry
from horae.runs import Cause, Failure, Run, State
from horae.schedules.making import every
from horae.up.board import Board, until
from horae.up.parts import PartStatus, What
from tests.model import ModelStore

AT = datetime(2026, 11, 24, 22, tzinfo=UTC)


def drawn(jobs: int, width: int, height: int, restarts: int = 0) -> list[str]:
    registry = Registry()
    for number in range(jobs):
        registry.add(Job(name=f"job-{number:03}", tier=Tier.APSCHEDULER, schedule=every("30s")))
    board = Board(registry, live=True)
    for number in range(20):
        board._events.append(Text(f"event {number}"))
    stream = io.StringIO()
    board._console = Console(file=stream, width=width, height=height, force_terminal=True, color_system=None)
    valkey = PartStatus(name="valkey", what=What.READY, since=AT, pid=1, restarts=restarts, log=Path("log"))
    board._console.print(board._draw([valkey]))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("jobs", [3, 50])
def test_it_never_outgrows_the_terminal(jobs: int) -> None:
    for width in (80, 130):
        lines = drawn(jobs, width, 24)
        assert len(lines) <= 24
        assert lines[-1] == "Ctrl-C stops everything"
        assert "event 19" in lines
        assert any(line.startswith("● valkey") for line in lines)


def test_jobs_that_do_not_fit_are_counted() -> None:
    shown = drawn(50, 130, 24)
    named = [line for line in shown if line.startswith("job-")]
    assert f"… and {50 - len(named)} more: `horae jobs` shows them all" in shown
    assert len(named) > 10


def test_one_restart_is_not_many() -> None:
    assert "● valkey (1 restart)" in drawn(1, 80, 24, restarts=1)
    assert "● valkey (2 restarts)" in drawn(1, 80, 24, restarts=2)


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (timedelta(seconds=-3), "in 0 s"),
        (timedelta(seconds=59), "in 59 s"),
        (timedelta(minutes=59, seconds=59), "in 59 min"),
        (timedelta(hours=4), "Wed 02:00 UTC"),
        (timedelta(days=6) - timedelta(seconds=1), "Mon 21:59 UTC"),
        (timedelta(days=7), "2026-12-01 22:00 UTC"),
        (timedelta(days=90), "2027-02-22 22:00 UTC"),
    ],
)
def test_a_fire_is_named_so_that_it_is_no_other(ahead: timedelta, said: str) -> None:
    assert until(AT + ahead, AT) == said


@pytest.fixture
def failed() -> Run:
    why = Failure(type="InvalidSettings", message="unknown setting 'kep_last', did you mean 'keep_last'? " * 4)
    return Run(
        run_id="r",
        job="database-backup",
        tier=Tier.ONEIRIC,
        cause=Cause.MANUAL,
        state=State.FAILED,
        failure=why,
        attempts=3,
    )


def test_why_a_run_failed_is_told_in_full(failed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Board(Registry(), live=False).verdicts([failed], as_json=False)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["database-backup", "Oneiric", "queue", "failed,", "attempt", "3"]
    assert shown[1].strip() == f"InvalidSettings: {failed.failure and failed.failure.message.strip()}"


async def test_what_is_paused_shows_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, store = Registry(), ModelStore()
    for name in ("copy", "sweep"):
        registry.add(Job(name=name, tier=Tier.ONEIRIC, schedule=every("30s")))
    await store.pauses.pause("copy")

    async def shown() -> dict[str, str]:
        monkeypatch.setattr("sys.stdout", out := io.StringIO())
        with Board(registry, live=True) as board:
            await board.refresh(store, [])
        return {line.split()[0]: line for line in out.getvalue().splitlines() if "Oneiric" in line}

    first = await shown()
    assert ("paused" in first["copy"], "paused" in first["sweep"]) == (True, False)
    await store.pauses.pause()
    assert "paused" in (await shown())["sweep"]
