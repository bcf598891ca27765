"""The table of `horae up` at every width: nothing that matters is cut."""

import pytest
from rich.text import Text

from horae.up.job_table import HEAD, JobRow, job_lines, packed

SAYS = "1 backed up and checked, 241.5 MB"
ROWS = [
    JobRow(
        cells=("code-sweep", "Prefect", "cron 0 2 * * * UTC", "Wed 02:00 UTC", "skipped: overlap", ""), says=Text("")
    ),
    JobRow(
        cells=("database-backup", "Oneiric queue", "cron 0 2 * * * UTC", "Wed 02:00 UTC", "ran", "249 ms"),
        says=Text(SAYS),
    ),
    JobRow(
        cells=("health-check", "APScheduler", "every 30s", "in 20 s", "ran", "80 ms"), says=Text("5 checks are healthy")
    ),
]


@pytest.mark.parametrize("width", [80, 100, 119, 130, 200])
def test_every_cell_is_whole_and_no_line_too_long(width: int) -> None:
    lines = [line.plain for line in job_lines(ROWS, width)]
    assert max(len(line) for line in lines) <= width
    shown = "\n".join(lines)
    for row in ROWS:
        for cell in row.cells:
            assert str(cell) in shown, cell
    assert "5 checks are healthy" in shown


def test_a_wide_terminal_has_a_line_for_each_job() -> None:
    head, *lines = [line.plain for line in job_lines(ROWS, 130)]
    assert head.split() == [*" ".join(HEAD).split(), "says"]
    assert len(lines) == 3
    assert lines[1].endswith(SAYS)


def test_a_narrow_one_has_two_with_what_it_says_below() -> None:
    head, *lines = [line.plain for line in job_lines(ROWS, 80)]
    assert "schedule" not in head
    assert lines[2].startswith("database-backup  Oneiric queue  Wed 02:00 UTC")
    assert lines[3] == f"  cron 0 2 * * * UTC  {SAYS}"
    assert lines[1] == "  cron 0 2 * * * UTC"


def test_what_a_job_says_is_cut_at_the_edge() -> None:
    row = JobRow(cells=("talker", "APScheduler", "every 30s", "in 1 s", "ran", "1 ms"), says=Text("word " * 60))
    for width in (60, 130):
        longest = max(job_lines([row], width), key=len)
        assert len(longest) == width
        assert longest.plain.endswith("…")


@pytest.mark.parametrize("width", [20, 40, 50, 60, 79])
def test_a_very_narrow_one_keeps_name_and_verdict_first(width: int) -> None:
    lines = [line.plain for line in job_lines(ROWS, width)]
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("job ")
    assert lines[3].startswith("database-backup  ")
    if width >= 40:
        assert "ran" in lines[3]


def test_without_jobs_there_is_a_head() -> None:
    assert len(job_lines([], 80)) == 1


def test_words_are_not_broken() -> None:
    words = [Text("● valkey (1 restart)"), Text("● prefect-server"), Text("● sidecar (12 restarts)")]
    assert [line.plain for line in packed(words, 40)] == [
        "● valkey (1 restart)  ● prefect-server",
        "● sidecar (12 restarts)",
    ]
    assert [line.plain for line in packed(words, 10)] == [word.plain for word in words]
