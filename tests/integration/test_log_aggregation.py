"""The log aggregation on real files: every entry once, whatever rotation does between two runs."""

import gzip
import json
import os
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from horae import RunContext
from horae.jobs.context import running
from infra._logs import collected
from infra._logs.settings import LogSettings
from infra._logs.state import LogsNotCollected
from infra.log_aggregation import log_aggregation

START = datetime.now(UTC) - timedelta(hours=3)


def line(number: int, message: str = "") -> str:
    """`2026-11-26T00:00:01Z INFO entry 1`."""
    return f"{START + timedelta(seconds=number):%Y-%m-%dT%H:%M:%SZ} INFO entry {number}{message}\n"


def write(path: Path, *numbers: int, mode: str = "a") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode) as file:
        file.writelines(line(number) for number in numbers)
    return path


def run(
    project: Path, *files: str, dry_run: bool = False, reported: list[str] | None = None, **settings: Any
) -> dict[str, Any]:
    told = [] if reported is None else reported
    context = RunContext(
        job="log-aggregation",
        run_id="r",
        project=project,
        settings=LogSettings(**{"files": files, "quiet_seconds": 0, "zone": "UTC"} | settings),
        report=told.append,
    )
    with running(context):
        return log_aggregation(dry_run=dry_run)


def rows(project: Path, columns: str = "message") -> list[Any]:
    """Everything that is collected, in the order of time."""
    files = f"{project}/.horae/collected-logs/entries/*/*.parquet"
    if not collected.batches(project / ".horae/collected-logs"):
        return []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(f"SELECT {columns} FROM read_parquet('{files}') ORDER BY logged_at, position")
        return [row[0] if len(row) == 1 else row for row in found.fetchall()]


def numbers(project: Path) -> list[int]:
    return [int(message.removeprefix("entry ")) for message in rows(project)]


def test_what_is_new_is_collected_once(project: Path) -> None:
    log = write(project / "app.log", *range(3))
    assert run(project, "app.log")["entries"] == 3
    assert run(project, "app.log")["entries"] == 0
    write(log, 3, 4)
    assert run(project, "app.log")["entries"] == 2
    assert numbers(project) == [0, 1, 2, 3, 4]


def test_an_entry_keeps_what_the_log_said(project: Path) -> None:
    at = f"{START:%Y-%m-%dT%H:%M:%S}.250000Z"
    entry = {"at": at, "level": "warning", "logger": "horae.x", "message": "tea ☕ \ud800 \0", "job": "sweep"}
    (project / "app.log").write_text(json.dumps(entry) + "\n")
    run(project, "app.log")
    (row,) = rows(project, "logged_at, level, source, logger, message, fields->>'job', format, position, file")
    assert row[0] == datetime.fromisoformat(at)
    assert row[1:4] == ("warning", "app.log", "horae.x")
    assert row[4].startswith("tea ☕ ")
    assert row[5:] == ("sweep", "json", 0, "app.log")


def renamed(log: Path) -> None:
    log.rename(log.with_name("app.log.1"))


def dated(log: Path) -> None:
    log.rename(log.with_name("app-2026-11-26.log"))


def packed(log: Path) -> None:
    """logrotate with `compress`: a new inode, the time of the content."""
    status = log.stat()
    target = log.with_name("app.log.1.gz")
    target.write_bytes(gzip.compress(log.read_bytes()))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    log.unlink()


def copied_and_truncated(log: Path) -> None:
    shutil.copyfile(log, log.with_name("app.log.1"))
    os.truncate(log, 0)


def moved_on_twice(log: Path) -> None:
    """Rotated, written to, and rotated again: the file in the middle was never at the path when somebody looked."""
    log.rename(log.with_name("app.log.2"))
    write(log.with_name("app.log.1"), 7, 8)


@pytest.mark.parametrize("rotate", [renamed, dated, packed, copied_and_truncated, moved_on_twice])
@pytest.mark.parametrize("size", [1, 40], ids=["under 256 bytes", "over 1 KiB"])
def test_rotation_between_two_runs_loses_nothing_and_repeats_nothing(
    project: Path, rotate: Callable[[Path], None], size: int
) -> None:
    log = write(project / "logs/app.log", *range(-size, 5))
    run(project, "logs/app.log")
    write(log, 5, 6)
    rotate(log)
    write(log, 9, 10)
    run(project, "logs/app.log")
    between = [7, 8] if rotate is moved_on_twice else []
    assert numbers(project) == [*range(-size, 7), *between, 9, 10]
    write(log, 11)
    assert run(project, "logs/app.log")["entries"] == 1
    assert numbers(project)[-2:] == [10, 11]


@pytest.mark.parametrize("size", [1, 40])
def test_a_new_file_with_the_inode_of_the_old_one_is_a_new_file(project: Path, size: int) -> None:
    log = write(project / "app.log", *range(size))
    run(project, "app.log")
    log.rename(project / "app.log.1")
    write(project / "app.log.1", 100)
    content = (project / "app.log.1").read_bytes()
    # Written over in place: the same inode, another and longer content, as when the file system gives a number again.
    (project / "app.log.1").rename(log)
    (project / "app.log.1").write_bytes(content)
    write(log, *range(200, 200 + 2 * size + 4), mode="w")
    run(project, "app.log")
    assert numbers(project) == [*range(size), 100, *range(200, 200 + 2 * size + 4)]


def test_two_files_with_the_same_beginning_are_told_apart(project: Path) -> None:
    log = project / "app.log"
    log.write_text(line(0, " header"))
    run(project, "app.log")
    log.rename(project / "app.log.1")
    write(project / "app.log.1", 1)
    log.write_text(line(0, " header"))
    write(log, 2)
    run(project, "app.log")
    assert sorted(rows(project)) == ["entry 0 header", "entry 0 header", "entry 1", "entry 2"]


def test_a_log_written_anew_with_the_same_content_is_not_collected_again(project: Path) -> None:
    log = write(project / "app.log", *range(30))
    run(project, "app.log")
    fresh = project / "fresh"
    shutil.copyfile(log, fresh)
    write(fresh, 30)
    fresh.replace(log)  # as `sed -i` and editors do
    assert run(project, "app.log")["entries"] == 1
    assert numbers(project) == [*range(31)]


def test_a_log_that_lost_its_beginning_goes_on_where_it_was(project: Path) -> None:
    log = write(project / "app.log", *range(300))
    run(project, "app.log")
    write(project / "fresh", *range(200, 302)).replace(log)  # as `tail -n` and a move do
    assert run(project, "app.log")["entries"] == 2
    assert numbers(project) == [*range(302)]


def test_truncation_without_a_copy_is_said_first(project: Path) -> None:
    log = write(project / "app.log", 0, 1)
    run(project, "app.log")
    write(log, 5, mode="w")
    told: list[str] = []
    with pytest.raises(LogsNotCollected, match=r"app\.log: the file that was read before is missing.* 1 new entries"):
        run(project, "app.log", reported=told)
    assert told[0].startswith("not read: app.log: the file that was read before is missing")
    assert numbers(project) == [0, 1, 5]
    assert run(project, "app.log")["unseen"] == []


def test_rotated_files_from_before_the_first_run_are_left_alone(project: Path) -> None:
    write(project / "app.log.1", 0)
    log = write(project / "app.log", 1)
    run(project, "app*")
    log.rename(project / "app.log.2")
    write(log, 2)
    run(project, "app*")
    assert numbers(project) == [1, 2]


def test_a_last_entry_that_may_grow_waits_for_the_next_run(project: Path) -> None:
    log = write(project / "app.log", 0)
    with log.open("a") as file:
        file.write(line(1).replace("INFO", "ERROR") + "Traceback (most recent call last):\n  File ")
    assert run(project, "app.log", quiet_seconds=60)["entries"] == 1
    with log.open("a") as file:
        file.write('"a/b.py", line 1, in f\nValueError: late\n' + line(2))
    assert run(project, "app.log", quiet_seconds=60)["entries"] == 1
    assert rows(project, "traceback")[1].endswith('File "a/b.py", line 1, in f\nValueError: late')
    os.utime(log, times=(START.timestamp(), START.timestamp()))
    assert run(project, "app.log", quiet_seconds=60)["entries"] == 1


def test_counts_by_level_and_source_and_new_patterns(project: Path) -> None:
    log = write(project / "app.log", 0)
    with log.open("a") as file:
        file.writelines(f"{START:%Y-%m-%dT%H:%M:%SZ} ERROR order {number} failed\n" for number in range(3))
    write(project / ".horae/logs/sidecar.log", 7)
    told: list[str] = []
    first = run(project, "app.log", reported=told)
    assert first["levels"] == {"error": 3, "info": 2}
    assert first["sources"] == {"app.log": {"error": 3, "info": 1}, ".horae/logs/sidecar.log": {"info": 1}}
    (new,) = first["new_patterns"]
    assert (new["pattern"], new["count"], new["source"]) == ("order <n> failed", 3, "app.log")
    assert told == [
        "new error, 3 times, first in app.log: order <n> failed",
        "5 new entries in 2 followed logs: 3 error, 2 info",
    ]
    with log.open("a") as file:
        file.write(f"{START:%Y-%m-%dT%H:%M:%SZ} ERROR order 9 failed\n{START:%Y-%m-%dT%H:%M:%SZ} ERROR disk full\n")
    assert [one["pattern"] for one in run(project, "app.log")["new_patterns"]] == ["disk full"]


def test_days_that_are_over_are_removed_and_not_collected(project: Path) -> None:
    old = datetime.now(UTC) - timedelta(days=5)
    (project / "app.log").write_text(f"{old:%Y-%m-%dT%H:%M:%SZ} INFO old\n" + line(1))
    assert run(project, "app.log", keep_days=10)["entries"] == 2
    kept = project / ".horae/collected-logs/entries"
    (kept / f"date={old:%Y-%m-%d}" / "notes.txt").write_text("mine")
    assert run(project, "app.log", keep_days=2)["removed_days"] == [f"{old:%Y-%m-%d}"]
    assert numbers(project) == [1]
    assert (kept / f"date={old:%Y-%m-%d}" / "notes.txt").exists()  # what the job did not write stays
    (project / "b.log").write_text(f"{old:%Y-%m-%dT%H:%M:%SZ} INFO old\n")
    assert run(project, "b.log", keep_days=2)["too_old"] == 1


def test_a_dry_run_counts_and_changes_nothing(project: Path) -> None:
    write(project / "app.log", 0, 1)
    assert run(project, "app.log", dry_run=True)["entries"] == 2
    assert run(project, "app.log", dry_run=True)["entries"] == 2
    assert rows(project) == []
    assert run(project, "app.log")["entries"] == 2


def test_the_limit_of_a_run_leaves_the_rest_for_the_next(project: Path) -> None:
    log = project / "app.log"
    log.write_text("".join(line(number, " " + "x" * 1000) for number in range(2000)))
    first = run(project, "app.log", run_limit_mib=1)
    assert 900 < first["entries"] < 1100
    assert first["left_bytes"] == log.stat().st_size - first["bytes"]
    assert first["entries"] + run(project, "app.log", run_limit_mib=1)["entries"] == 2000
    assert len(set(rows(project))) == 2000


def test_a_run_that_took_long_enough_leaves_the_rest_for_the_next(project: Path) -> None:
    write(project / "app.log", *range(500))
    first = run(project, "app.log", run_limit_seconds=1e-9)
    assert (first["entries"], first["left_bytes"]) == (0, (project / "app.log").stat().st_size)
    assert run(project, "app.log")["entries"] == 500


def test_a_long_entry_is_cut_and_marked(project: Path) -> None:
    (project / "app.log").write_text(line(0, "y" * 5000) + line(1))
    assert run(project, "app.log", entry_limit_bytes=1024)["cut"] == 1
    assert rows(project, "cut") == [True, False]
    assert [len(message) < 1024 for message in rows(project)] == [True, True]


@pytest.mark.parametrize(
    ("files", "make", "said"),
    [
        (["gone.log"], lambda project: None, r"gone\.log does not exist"),
        (["logs"], lambda project: (project / "logs").mkdir(), "logs is a folder"),
        (["b.log"], lambda project: (project / "b.log").write_bytes(b"\0\1\2"), "b.log contains no text"),
        (["*.nothing"], lambda project: None, r"no file matches \*\.nothing"),
    ],
)
def test_what_cannot_be_read_fails_the_run(
    project: Path, files: Sequence[str], make: Callable[[Path], object], said: str
) -> None:
    make(project)
    with pytest.raises(LogsNotCollected, match=f"not read: .*{said}"):
        run(project, *files)


def test_one_that_cannot_be_read_hurts_no_other(project: Path) -> None:
    write(project / "good.log", 1)
    (project / "bad.log.1.gz").write_bytes(b"\x1f\x8bnot gzip at all")
    write(project / "bad.log", 2)
    run(project, "bad.log", "good.log")
    write(project / "good.log", 3)
    (project / "bad.log.2.gz").write_bytes(gzip.compress(line(4).encode())[:-9])
    with pytest.raises(LogsNotCollected, match=r"bad\.log\.2\.gz cannot be read"):
        run(project, "bad.log", "good.log")
    assert numbers(project) == [1, 2, 3]


def test_without_any_log_it_says_so_first(project: Path) -> None:
    told: list[str] = []
    assert run(project, reported=told)["unseen"][0].startswith("no log was read: there is no log in ")
    assert told[0].startswith("not read: no log was read")


def test_offsets_that_are_gone_or_damaged_stop_it_before_it_repeats_all(project: Path) -> None:
    write(project / "app.log", 1)
    run(project, "app.log")
    offsets = project / ".horae/collected-logs/offsets.json"
    offsets.write_text("{")
    with pytest.raises(LogsNotCollected, match=r"offsets in .*offsets\.json cannot be read .*Restore that file"):
        run(project, "app.log")
    offsets.unlink()
    with pytest.raises(LogsNotCollected, match=r"offsets\.json is missing, so all logs would be collected again"):
        run(project, "app.log")
    assert numbers(project) == [1]


def test_two_runs_do_not_collect_at_once(project: Path) -> None:
    with (
        collected.locked(project / ".horae/collected-logs"),
        pytest.raises(LogsNotCollected, match="another run collects into"),
    ):
        run(project)


def test_what_is_kept_is_for_its_owner_alone(project: Path) -> None:
    write(project / "app.log", 1)
    run(project, "app.log")
    home = project / ".horae/collected-logs"
    assert home.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in [*collected.batches(home), home / "offsets.json"]} == {0o600}
    assert [path.name for path in home.iterdir() if path.name.startswith(".unfinished")] == []


def test_a_zone_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'Berlin' is not a time zone; give an IANA name such as 'Europe/Berlin'"):
        LogSettings(zone="Berlin")


def test_packing_and_copying_that_go_on_repeat_nothing(project: Path) -> None:
    log = write(project / "app.log", *range(30))
    run(project, "app.log")
    write(log, 30)
    log.rename(project / "app.log.1")
    (project / "app.log.1.gz").write_bytes(gzip.compress((project / "app.log.1").read_bytes())[:100])  # half-written
    write(log, 31)
    run(project, "app.log")
    (project / "app.log.1.gz").write_bytes(gzip.compress((project / "app.log.1").read_bytes()))
    (project / "app.log.1").unlink()
    shutil.copyfile(log, project / "app.log.0")  # copytruncate, between its two steps
    run(project, "app.log")
    assert numbers(project) == [*range(32)]
    write(log, 32)
    run(project, "app.log")  # read after it was copied, and truncated only then
    os.truncate(log, 0)
    write(log, 33)
    with pytest.raises(LogsNotCollected, match="none of its rotated copies continues it"):
        run(project, "app.log")
    assert numbers(project) == [*range(34)]
