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
from horae.runs import Cause, Event, Failure, Run, State
from horae.schedules.making import every
from horae.store.values import Latest
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


@pytest.mark.parametrize("width", [20, 30, 40, 60, 79])
@pytest.mark.parametrize("height", [3, 6, 12])
def test_no_line_is_wrapped_on_a_narrow_terminal(width: int, height: int) -> None:
    lines = drawn(4, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("job")


def test_what_fails_stands_first_and_then_what_runs() -> None:
    registry = Registry()
    states = {"fine": State.RAN, "running": State.RUNNING, "broken": State.FAILED, "idle": None}
    for name in states:
        registry.add(Job(name=name, tier=Tier.APSCHEDULER, schedule=every("30s")))
    board = Board(registry, live=True)
    for name, state in states.items():
        if state:
            run = Run(run_id=name, job=name, tier=Tier.APSCHEDULER, cause=Cause.SCHEDULE, state=state)
            board._latest[name] = Latest(newest=run, settled=run if state.settled else None)
    lines = [line.plain.split()[0] for line in board._jobs(30)]
    assert [name for name in lines if name in states] == ["broken", "running", "fine", "idle"]


def test_a_run_whose_job_no_worker_knows_is_told_in_the_table() -> None:
    registry = Registry()
    registry.add(Job(name="late", tier=Tier.ONEIRIC))
    board = Board(registry, live=True)
    back = Event(at=AT, what="handed back", generation=1, note="queue-worker@h:1 does not know the job")
    run = Run(run_id="r", job="late", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, state=State.PENDING, story=(back,))
    board._latest["late"] = Latest(newest=run, settled=None)
    assert any("no running worker knows the job" in line.plain for line in board._jobs(30))


async def test_a_terminal_of_another_size_begins_on_an_empty_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, store, out = Registry(), ModelStore(), io.StringIO()
    registry.add(Job(name="copy", tier=Tier.ONEIRIC, schedule=every("30s")))
    monkeypatch.setattr("sys.stdout", out)
    cleared = "\x1b[H\x1b[2J"
    with Board(registry, live=True) as board:
        board._console = Console(file=out, width=130, height=24, force_terminal=True)
        board._size = board._console.size
        await board.refresh(store, [])
        assert cleared not in out.getvalue()
        for width in (40, 100):
            out.truncate(0)
            board._console.size = (width, 20)
            await board.refresh(store, [])
            assert out.getvalue().count(cleared) == 1
            await board.refresh(store, [])
            assert out.getvalue().count(cleared) == 1


def test_without_utf_8_the_end_of_a_line_that_was_cut_is_ascii() -> None:
    board = Board(Registry(), live=True)
    board._console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"), force_terminal=True)
    assert board._spelled(Text("a long lin…")).plain == "a long l..."
    assert board._spelled(Text("short")).plain == "short"


def test_jobs_that_do_not_fit_are_counted() -> None:
    shown = drawn(50, 130, 24)
    named = [line for line in shown if line.startswith("job-")]
    assert f"… and {50 - len(named)} more: `horae jobs` shows all" in shown
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
