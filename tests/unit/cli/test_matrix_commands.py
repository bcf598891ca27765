"""`decide`, `next` and the flowchart: what they print, and what they refuse."""

import json
import shlex
import shutil
import zoneinfo
from importlib.resources import files
from itertools import chain, combinations
from pathlib import Path

import pytest

from horae.cli import run
from horae.cli.flowchart import lines
from horae.cli.questions import read_schedule, spelled
from horae.errors import InvalidSchedule
from horae.jobs.policies import Tier, Trait
from horae.matrix import STEPS, decide
from horae.schedules.making import every

type Output = pytest.CaptureFixture[str]


def said(capsys: Output, *arguments: str) -> str:
    assert run(arguments) == 0
    return capsys.readouterr().out


def refused(capsys: Output, *arguments: str) -> str:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def test_decide_prints_its_documented_shape(capsys: Output) -> None:
    found = json.loads(said(capsys, "decide", "--trait", "survives_restarts", "--cron", "0 2 * * *", "--json"))
    assert list(found) == ["tier", "reason", "path", "findings"]
    assert found["tier"] == "oneiric"
    assert [list(answer) for answer in found["path"]] == [["step", "question", "answer"]] * 2
    assert [(answer["step"], answer["answer"]) for answer in found["path"]] == [(1, "no"), (2, "yes")]


def test_decide_says_where_tree_and_mistakes_collide(capsys: Output) -> None:
    found = json.loads(said(capsys, "decide", "--trait", "dashboard", "--every", "10s", "--json"))
    assert found["tier"] == "prefect"
    assert found["findings"]
    for finding in found["findings"]:
        assert list(finding) == ["code", "level", "message", "remedy"]
        assert finding["code"] in said(capsys, "decide", "--trait", "dashboard", "--every", "10s")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("decide", "--trait", "dashbord"), "did you mean 'dashboard'?"),
        (("decide", "--every", "30"), "'30' is not a duration"),
        (("decide", "--every", "30s", "--cron", "* * * * *"), "--cron and --every together"),
        (("decide", "--tz", "Europe/Berlin"), "--tz is given without --cron"),
        (("next",), "give a job, or a schedule"),
        (("next", "x", "--every", "1h"), "a job or a schedule, not both"),
        (("next", "--every", "1h", "--after", "yesterday"), "--after: 'yesterday' is not an instant"),
        (("next", "--every", "1h", "--after", "2026-01-01T00:00:00"), "has no time zone"),
        (("next", "--every", "1h", "--after", "0001-01-01T00:00:00+14:00"), "before the year 1"),
        (("next", "--at", "9999-12-31T23:59:59-14:00"), "is not an instant"),
        (("next", "--cron", "0 0 30 2 *"), "can never fire"),
        (("next", "--every", "1h", "--count", "0"), "0"),
        (("jbos",), "did you mean 'jobs'?"),
        (("jobs", "--jsn"), "--json"),
        (("up", "--json"), "--json is given without --once"),
        (("check", "--json", "--format", "sarif"), "not both"),
    ],
)
def test_wrong_use_is_a_sentence_and_status_2(capsys: Output, arguments: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(capsys, *arguments)


def test_next_gives_the_fires_strictly_after(capsys: Output) -> None:
    arguments = ("next", "--cron", "30 2 * * *", "--tz", "Europe/Berlin", "--count", "3", "--json")
    found = json.loads(said(capsys, *arguments, "--after", "2027-03-27T01:30:00Z"))
    assert found == ["2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z", "2027-03-30T00:30:00Z"]


def test_next_ends_where_the_schedule_does(capsys: Output) -> None:
    arguments = ("next", "--at", "2026-12-01T02:00:00+01:00", "--after", "2026-11-01T00:00:00Z", "--json")
    assert json.loads(said(capsys, *arguments)) == ["2026-12-01T01:00:00Z"]
    assert "the schedule has ended" in said(
        capsys, "next", "--at", "2026-12-01T02:00:00Z", "--after", "2026-12-01T02:00:00Z"
    )


def test_next_reads_the_pinned_zones_whatever_the_host_has(capsys: Output, tmp_path: Path) -> None:
    (tmp_path / "Asia").mkdir()
    shutil.copyfile(files("tzdata") / "zoneinfo" / "UTC", tmp_path / "Asia" / "Tokyo")  # type: ignore[arg-type]
    arguments = ("next", "--cron", "0 2 * * *", "--tz", "Asia/Tokyo", "--after", "2026-11-01T00:00:00Z", "--count", "1")
    zoneinfo.reset_tzpath([tmp_path])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        assert "Mon 02 Nov 02:00:00 JST" in said(capsys, *arguments)
    finally:
        zoneinfo.reset_tzpath()
        zoneinfo.ZoneInfo.clear_cache()


def test_next_shows_the_wall_clock_of_the_zone(capsys: Output) -> None:
    arguments = ("next", "--cron", "0 2 * * *", "--tz", "Asia/Tokyo", "--after", "2026-11-01T00:00:00Z", "--count", "1")
    assert said(capsys, *arguments).startswith("2026-11-01T17:00:00Z  Mon 02 Nov 02:00:00 JST")


def every_decision() -> list[tuple[frozenset[Trait], str | None]]:
    traits = chain.from_iterable(combinations(Trait, count) for count in range(3))
    return [(frozenset(chosen), often) for chosen in traits for often in (None, "30s", "10m", "2h")]


def test_the_lit_path_of_the_flowchart_ends_at_the_tier_of_every_decision() -> None:
    for traits, often in every_decision():
        decision = decide(traits, every(often) if often else None)
        lit = ["".join(text for text, on_path in line if on_path) for line in lines(decision)]
        ends = [line for line in lit if line.strip().endswith(tuple(tier.label for tier in Tier))]
        assert len(ends) == 1, (traits, often, lit)
        assert ends[0].strip().endswith(decision.tier.label)
        assert sum(any(step.question in line for line in lit) for step in STEPS) == len(decision.path)


def test_the_path_shows_without_colour() -> None:
    drawn = ["".join(text for text, _ in line) for line in lines(decide(frozenset({Trait.DAG}), None))]
    assert sum("▶" in line for line in drawn) == 1
    assert drawn[-4].endswith("▶ Prefect")
    assert sum("▷" in line for line in drawn) == 3


def test_every_trait_of_the_matrix_can_be_asked_for() -> None:
    assert set(Trait) == set().union(*(step.yes_traits for step in STEPS))


def test_a_typed_schedule_is_a_duration_or_cron_fields() -> None:
    assert str(read_schedule("30s")) == str(every("30s"))
    assert read_schedule("") is None
    assert "0 2 * * *" in str(read_schedule("0 2 * * *"))
    with pytest.raises(InvalidSchedule, match="neither a duration"):
        read_schedule("hourly")


def test_the_answers_are_spelled_as_a_command_line_that_decides_the_same(capsys: Output) -> None:
    for traits, often in ((frozenset({Trait.DAG}), "0 2 * * 1"), (frozenset[Trait](), "30s"), (frozenset[Trait](), "")):
        words = shlex.split(spelled(traits, often))
        assert words[:2] == ["horae", "decide"]
        found = json.loads(said(capsys, *words[1:], "--json"))
        assert found["tier"] == decide(traits, read_schedule(often)).tier
