"""The heartbeat: who is silent and when, what the state file keeps, and what a ping is."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from horae import Settings
from horae.local.endpoints import Endpoints
from horae.settings import SidecarSettings
from internal._heartbeat.dead_man import Ping, address, due
from internal._heartbeat.processes import Beat, watched
from internal._heartbeat.settings import HeartbeatSettings
from internal._heartbeat.watch import Change, Seen, State, judge, read_state, write_state

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
PATIENCE = timedelta(seconds=30)
MILLI = timedelta(milliseconds=1)


def beat(*, alive: bool) -> Beat:
    return Beat(name="queue-worker", alive=alive, detail="answers" if alive else "does not answer")


def watch(*looks: tuple[timedelta, bool]) -> tuple[State, list[list[bool]]]:
    """Looks at a process, each at an offset from noon; the state after them, and of each look what changed."""
    state, found = State(), []
    for offset, alive in looks:
        state, changes = judge(state, [beat(alive=alive)], NOON + offset, PATIENCE)
        found.append([change.silent for change in changes])
    return state, found


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@pytest.mark.parametrize(("last", "changed"), [(after(30), []), (after(30) + MILLI, [True])])
def test_a_process_is_silent_when_its_last_proof_of_life_is_older_than_the_patience(
    last: timedelta, changed: list[bool]
) -> None:
    _, found = watch((after(0), True), (after(10), False), (after(20), False), (last, False))
    assert found == [[], [], [], changed]


def test_a_silent_process_is_told_once_and_clears() -> None:
    looks = [(after(10 * beat), beat in (0, 9)) for beat in range(12)]
    state, found = watch(*looks)
    assert found == [[], [], [], [], [True], [], [], [], [], [False], [], []]
    assert [(change.silent, change.since) for change in state.untold] == [
        (True, "2026-11-24T12:00:00Z"),
        (False, "2026-11-24T12:00:00Z"),
    ]
    [silent, alive] = [change.event("horae", "host") for change in state.untold]
    assert silent["id"] != alive["id"]
    assert (silent["event"], alive["event"]) == ("horae.process.silent", "horae.process.alive")


def test_a_process_that_never_lived_is_silent_after_the_patience() -> None:
    _, found = watch(*((after(10 * beat), False) for beat in range(5)))
    assert found == [[], [], [], [], [True]]


def test_the_absence_of_the_watch_makes_nobody_silent() -> None:
    """After a night without `horae up` its worker starts a second later than the sidecar."""
    day = timedelta(days=1)
    _, found = watch((after(0), True), (day, False), (day + after(10), False), (day + after(20), True))
    assert found == [[], [], [], []]


def test_a_patience_shorter_than_the_time_between_two_beats_is_heeded() -> None:
    state = State()
    for offset, alive in ((after(0), True), (after(10), False)):
        state, changes = judge(state, [beat(alive=alive)], NOON + offset, timedelta(seconds=5))
    assert [change.silent for change in changes] == [True]


def test_a_process_that_was_silent_before_an_absence_still_clears_once() -> None:
    day = timedelta(days=1)
    looks = [(after(10 * beat), False) for beat in range(5)]
    _, found = watch(*looks, (day, False), (day + after(10), True))
    assert found[4:] == [[True], [], [False]]


def test_a_clock_that_is_set_back_makes_nobody_silent() -> None:
    _, found = watch((after(0), True), (-timedelta(hours=1), False), (-timedelta(minutes=59), True))
    assert found == [[], [], []]


def test_what_is_no_longer_watched_is_forgotten() -> None:
    state, _ = watch((after(0), True))
    state, changes = judge(state, [], NOON + after(10), PATIENCE)
    assert (state.processes, changes) == ({}, [])


def test_the_state_survives_in_one_piece(tmp_path: Path) -> None:
    path = tmp_path / "state" / "heartbeat.json"
    assert read_state(path) == (State(), "")
    change = Change(name="a", silent=True, at="2026-11-24T12:00:00Z", since="2026-11-24T11:59:00Z", detail="gone")
    state = State(
        looked_at="2026-11-24T12:00:00Z",
        processes={"a": Seen(since="2026-11-24T11:59:00Z", silent=True)},
        untold=(change,),
        pinged="fail",
        pinged_at="2026-11-24T12:00:00Z",
    )
    write_state(path, state)
    assert read_state(path) == (state, "")
    assert [found.name for found in path.parent.iterdir()] == ["heartbeat.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"looked_at": "2026-11-24T12:0',
        "[]",
        '{"looked_at": "yesterday", "processes": {}, "untold": [], "pinged": "", "pinged_at": ""}',
        '{"looked_at": "", "processes": {"a": {"of": 1}}, "untold": [], "pinged": "", "pinged_at": ""}',
    ],
)
def test_a_half_written_state_counts_as_none_and_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "heartbeat.json"
    path.write_text(text)
    state, wrong = read_state(path)
    assert state == State()
    assert wrong == f"{path} is broken: the watch starts again"


def test_a_failed_write_leaves_the_old_state_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat.json"
    path.mkdir()  # nothing can take its place
    with pytest.raises(OSError, match="directory"):
        write_state(path, State())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("url", "ping", "rid", "expected"),
    [
        ("https://hc-ping.com/uuid", Ping.SUCCESS, "", "https://hc-ping.com/uuid"),
        ("https://hc-ping.com/uuid/", Ping.FAIL, "", "https://hc-ping.com/uuid/fail"),
        ("https://hc-ping.com/uuid", Ping.START, "r1", "https://hc-ping.com/uuid/start?rid=r1"),
        ("https://hc.local/key/horae?create=1", Ping.LOG, "r1", "https://hc.local/key/horae/log?create=1&rid=r1"),
    ],
)
def test_a_ping_says_what_it_is_in_its_path(url: str, ping: Ping, rid: str, expected: str) -> None:
    assert address(url, ping, rid) == expected


@pytest.mark.parametrize(
    ("ping", "last", "seconds", "expected"),
    [
        (Ping.SUCCESS, "", None, True),
        (Ping.SUCCESS, "success", 59.9, False),
        (Ping.SUCCESS, "success", 60, True),
        (Ping.FAIL, "success", 14.9, False),  # five a minute are too many
        (Ping.FAIL, "success", 15, True),
        (Ping.SUCCESS, "success", -1, True),  # the clock was set back
    ],
)
def test_news_is_pinged_at_once_and_the_same_every_minute(
    ping: Ping, last: str, seconds: float | None, expected: bool
) -> None:
    assert due(ping, last, seconds, 60, 15) is expected


def test_the_processes_of_horae_up_and_the_configured_ones_are_watched(tmp_path: Path) -> None:
    settings = Settings(project=tmp_path)
    own = HeartbeatSettings(processes={"far": "http://10.0.0.5:8702"})
    assert watched(settings, own, in_sidecar=False) == {"far": "http://10.0.0.5:8702"}
    assert watched(settings, own, in_sidecar=True)["sidecar"] == "http://127.0.0.1:8701"
    Endpoints(pid=os.getpid(), sidecar_url="http://127.0.0.1:1", worker_url="http://127.0.0.1:2").write(settings.state)
    assert watched(settings, own, in_sidecar=True) == {
        "sidecar": "http://127.0.0.1:1",
        "queue-worker": "http://127.0.0.1:2",
        "far": "http://10.0.0.5:8702",
    }


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [("0.0.0.0", 8701, {"sidecar": "http://127.0.0.1:8701"}), ("10.0.0.7", 9, {"sidecar": "http://10.0.0.7:9"})],
)
def test_a_sidecar_watches_itself_where_it_listens(
    tmp_path: Path, host: str, port: int, expected: dict[str, str]
) -> None:
    settings = Settings(project=tmp_path, sidecar=SidecarSettings(health_host=host, health_port=port))
    assert watched(settings, HeartbeatSettings(), in_sidecar=True) == expected


def test_settings_refuse_what_is_no_url_and_show_no_secret() -> None:
    with pytest.raises(ValidationError, match="give the base URL of its /health"):
        HeartbeatSettings(processes={"far": "10.0.0.5:8702"})
    with pytest.raises(ValidationError, match="give an http:// or https:// URL") as refused:
        HeartbeatSettings(ping_url=SecretStr("hc-ping.com/0b1c-secret"))
    assert "0b1c-secret" not in str(refused.value)
    assert "0b1c-secret" not in repr(HeartbeatSettings(ping_url=SecretStr("https://hc-ping.com/0b1c-secret")))
