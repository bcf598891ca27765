"""The commands about a project, run in this process: shapes, statuses, formats, docs."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
import typer

from horae.cli import dead, run
from horae.cli.app import COMMANDS, command_line
from horae.cli.options import context_of, when_of
from horae.cli.reference import leaves, page
from horae.clock import EPOCH, now
from horae.errors import UsageError
from horae.findings import Finding, Level
from horae.local.endpoints import Endpoints
from horae.local.reachable import effective
from horae.schedules.durations import parse_duration
from horae.settings import load
from horae.shapes.check_formats import annotation
from horae.words import roughly, took

REPOSITORY = Path(__file__).parents[3]
PLANTED = str(REPOSITORY / "tests/planted")
SHAPES = (REPOSITORY / "docs/reference/json.md").read_text()

type Output = pytest.CaptureFixture[str]


@pytest.fixture
def small(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one internal job, and no store."""
    for name in ("HORAE_STORE__URL", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    (project / "internal/greet.py").write_text(
        "from horae import job\nfrom horae import every\n\n\n"
        '@job(schedule=every("30s"))\nasync def greet(name: str = "world", times: int = 1) -> str:\n'
        '    """Say hello."""\n    print("greeting")\n    return f"hello {name}" * times\n'
    )
    monkeypatch.chdir(project)
    return project


def documented(command: str) -> list[str]:
    """The keys of the table under that command's heading in docs/reference/json.md."""
    section = next(part for part in SHAPES.split("\n## ")[1:] if f"horae {command}" in part.splitlines()[0])
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def test_jobs_prints_its_documented_shape(small: Path, capsys: Output) -> None:
    assert run(["jobs", "--json"]) == 0
    captured = capsys.readouterr()
    [found] = json.loads(captured.out)
    assert list(found) == documented("jobs")
    assert (found["name"], found["tier"], found["description"]) == ("greet", "apscheduler", "Say hello.")
    assert (found["file"], found["line"], found["last_verdict"]) == ("internal/greet.py", 5, None)
    assert "no state store is configured" in captured.err


def test_the_project_may_be_named_before_and_after_the_command(small: Path, capsys: Output) -> None:
    assert run(["--project", str(small), "jobs"]) == run(["jobs", "--project", str(small)]) == 0
    assert capsys.readouterr().out.count("greet") == 2
    assert run(["jobs", "--project", str(small / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_without_a_project_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["jobs"]) == 2
    assert "--project FOLDER" in capsys.readouterr().err


def test_run_runs_a_job_in_the_foreground(small: Path, capsys: Output) -> None:
    assert run(["run", "greet", "--context", "name=Ada", "--context", "times=2", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert list(found) == documented("run")
    assert (found["job"], found["cause"], found["verdict"]) == ("greet", "manual", "ran")
    assert "greeting" in captured.err
    assert run(["run", "greet"]) == 0
    assert "hello world" in capsys.readouterr().out


def test_run_refuses_what_the_job_does_not_take(small: Path, capsys: Output) -> None:
    assert run(["run", "greet", "--context", "nam=Ada"]) == 2
    assert "did you mean 'name'?" in capsys.readouterr().err
    assert run(["run", "gret"]) == 2
    assert "did you mean 'greet'?" in capsys.readouterr().err
    assert run(["run", "greet", "--context", "times=many"]) == 2
    assert 'context times = "many" does not fit times: int' in capsys.readouterr().err


def test_run_refuses_what_a_flow_does_not_take_before_prefect_is_asked(shipped: Path, capsys: Output) -> None:
    assert run(["--project", str(shipped), "run", "code-sweep", "--context", "repo=."]) == 2
    assert "unknown context key 'repo', did you mean 'repos'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["fires"],
        ["logs", "x"],
        ["enqueue", "greet"],
        ["show", "x"],
        ["cancel", "x"],
        ["pause", "greet"],
        ["resume", "--all"],
        ["dead", "list"],
        ["dead", "show", "x"],
        ["dead", "replay", "x"],
        ["dead", "drop", "--all"],
        ["dead", "export"],
    ],
)
def test_without_a_store_the_answer_is_no_and_the_way_out_is_named(
    small: Path, capsys: Output, command: list[str]
) -> None:
    assert run(command) == 1
    error = capsys.readouterr().err
    assert "no state store is configured" in error
    assert "horae up" in error


def test_explain_prints_its_documented_shape(shipped: Path, capsys: Output) -> None:
    assert run(["--project", str(shipped), "explain", "database-backup", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == documented("explain")
    assert found["decision"]["tier"] == found["tier"] == "oneiric"
    assert [entry["provider"] for entry in found["providers"] if entry["chosen"]] == ["redis"]
    assert len(found["next_fires"]) == 5
    assert run(["--project", str(shipped), "explain", "database-backup"]) == 0
    drawn = capsys.readouterr().out
    assert "▶ Oneiric queue" in drawn
    assert "▶ redis" in drawn


def test_explain_says_which_provider_does_not_offer_what_the_job_needs(small: Path, capsys: Output) -> None:
    (small / "horae.toml").write_text(
        "[queue]\nprovider = 'kafka'\n\n[queue.kafka]\nbootstrap_servers = '127.0.0.1:1'\n"
    )
    (small / "infra/sent.py").write_text(
        'from horae import job\n\n@job(traits={"infrastructure"}, needs=["ordering"])\ndef sent() -> None: ...\n'
    )
    assert run(["explain", "sent", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["needs"] == ["ordering"]
    chosen, other = found["providers"]
    assert (chosen["provider"], chosen["chosen"]) == ("redis", True)
    assert "capability_match=1/1" in chosen["reasons"]
    assert other == {
        "provider": "kafka",
        "chosen": False,
        "reasons": ["does not offer ordering, which the job needs"],
    }
    assert run(["explain", "sent"]) == 0
    assert "the job needs ordering" in capsys.readouterr().out


def test_explain_says_that_a_provider_is_not_there_and_that_its_runs_wait(small: Path, capsys: Output) -> None:
    (small / "infra/sent.py").write_text(
        'from horae import job\n\n@job(traits={"infrastructure"}, provider="pigeon")\ndef sent() -> None: ...\n'
    )
    assert run(["explain", "sent", "--json"]) == 0
    chosen, other = json.loads(capsys.readouterr().out)["providers"]
    assert (chosen["provider"], chosen["chosen"]) == ("pigeon", True)
    assert chosen["reasons"][0].startswith(
        "the job names this provider, but its runs wait: unknown queue provider 'pigeon'"
    )
    assert (other["provider"], other["chosen"]) == ("redis", False)


def test_check_fails_on_planted_mistakes(capsys: Output) -> None:
    assert run(["--project", PLANTED, "check", "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert findings
    assert all(list(finding) == documented("check") for finding in findings)


def test_every_format_says_all_findings(small: Path, capsys: Output) -> None:
    (small / "internal/empty.py").write_text("")
    (small / "infra/broken.py").write_text("import no_such_module_anywhere\n")
    assert run(["check", "--json"]) == 1
    findings = [(f["code"], f["level"], f["file"], f["line"]) for f in json.loads(capsys.readouterr().out)]
    assert {("HR701", "error", "infra/broken.py", 1), ("HR703", "warning", "internal/empty.py", 1)} <= set(findings)

    assert run(["check", "--format", "github"]) == 1
    notices = {"hint": "notice"}
    begun = [
        f"::{notices.get(level, level)} file={file},line={line},title={code}::" for code, level, file, line in findings
    ]
    shown = capsys.readouterr().out.splitlines()
    assert [line[: len(begin)] for begin, line in zip(begun, shown, strict=True)] == begun

    assert run(["check", "--format", "sarif"]) == 1
    log = json.loads(capsys.readouterr().out)
    [analysis] = log["runs"]
    rules = [rule["id"] for rule in analysis["tool"]["driver"]["rules"]]
    assert (log["version"], rules) == ("2.1.0", sorted({code for code, *_ in findings}))
    places = [result["locations"][0]["physicalLocation"] for result in analysis["results"]]
    notes = {"hint": "note"}
    assert [(code, notes.get(level, level), file, line) for code, level, file, line in findings] == [
        (rules[result["ruleIndex"]], result["level"], place["artifactLocation"]["uri"], place["region"]["startLine"])
        for result, place in zip(analysis["results"], places, strict=True)
    ]

    assert run(["check", "--hints"]) == 1
    text = capsys.readouterr().out
    assert all(code in text and file in text for code, _, file, _ in findings)
    (small / "infra/broken.py").unlink()
    assert run(["check"]) == 0, "warnings alone do not fail"


def test_a_first_job_gets_a_short_answer_with_its_hints_apart(small: Path, capsys: Output) -> None:
    assert run(["check"]) == 0
    assert capsys.readouterr().out == "ok: 1 job checked, 2 hints (`horae check --hints` shows them)\n"
    assert run(["check", "--hints"]) == 0
    hints = capsys.readouterr().out
    assert all(f"{code}  hint" in hints for code in ("HR312", "HR313"))
    assert hints.endswith("\nok: 1 job checked, 2 hints\n")
    assert run(["check", "--json"]) == 0
    assert [finding["level"] for finding in json.loads(capsys.readouterr().out)] == ["hint", "hint"]
    assert run(["check", "--format", "github"]) == 0
    assert capsys.readouterr().out.count("::notice file=internal/greet.py") == 2
    assert run(["check", "--format", "sarif"]) == 0
    [analysis] = json.loads(capsys.readouterr().out)["runs"]
    assert [result["level"] for result in analysis["results"]] == ["note", "note"]


def test_check_says_that_there_is_no_job_yet(small: Path, capsys: Output) -> None:
    (small / "internal/greet.py").unlink()
    assert run(["check"]) == 0
    shown = capsys.readouterr().out
    assert "ok: this project has no jobs yet" in shown
    assert "@job in infra/ or internal/" in shown


def test_check_passes_on_this_repository(shipped: Path, capsys: Output) -> None:
    assert run(["--project", str(shipped), "check", "--json"]) == 0
    assert not [f for f in json.loads(capsys.readouterr().out) if f["level"] == "error"]


def test_an_annotation_keeps_its_lines_and_commas_to_itself() -> None:
    finding = Finding(code="HR1", level=Level.ERROR, message="a\nb", remedy="50 %.", file="x,y:z.py", line=3)
    assert annotation(finding) == "::error file=x%2Cy%3Az.py,line=3,title=HR1::a%0Ab. 50 %25."


def test_context_values_are_json_or_text() -> None:
    given = ["a=1", "b=text", 'c=["x"]', "d=true", "e=", 'f="1"', "g=a=b"]
    assert context_of(given) == {"a": 1, "b": "text", "c": ["x"], "d": True, "e": "", "f": "1", "g": "a=b"}
    for wrong in (["a"], ["=1"], ["a b=1"], ["a=1", "a=2"]):
        with pytest.raises(UsageError):
            context_of(wrong)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[jobs.x]\na = " + b"[" * 100_000, "more than 20 levels of nesting"),
        (b"[worker]\ngrace_seconds = inf", "worker.grace_seconds: Input should be a finite number (horae.toml:2)"),
        (b"[worker]\ngrace_seconds = 1e300", "worker.grace_seconds: Input should be less than or equal to 86400"),
        (b'state_dir = "a\\u0000"', "state_dir: it contains a NUL character (horae.toml:1)"),
        (b"\xff\xfe", "horae.toml: it is not UTF-8 text"),
    ],
)
def test_settings_that_cannot_be_used_are_a_sentence(
    small: Path, capsys: pytest.CaptureFixture[str], text: bytes, said: str
) -> None:
    (small / "horae.toml").write_bytes(text)
    for command in ("jobs", "check", "fires"):
        assert run([command, "--project", str(small)]) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert said in shown.err
        assert "Traceback" not in shown.err


def test_a_running_up_lends_its_addresses_but_not_over_configured_ones(small: Path) -> None:
    import os

    settings = load(small, {})
    assert effective(settings) is settings
    Endpoints(pid=os.getpid(), store_url="redis://:secret@127.0.0.1:1/0", prefect_api_url="http://x/api").write(
        settings.state
    )
    found = effective(settings)
    assert found.store.url is not None
    assert found.store.url.get_secret_value() == "redis://:secret@127.0.0.1:1/0"
    assert found.prefect.api_url is not None
    assert found.prefect.api_url.get_secret_value() == "http://x/api"
    kept = effective(load(small, {"HORAE_STORE__URL": "redis://own:1/0"}))
    assert kept.store.url is not None
    assert kept.store.url.get_secret_value() == "redis://own:1/0"


def test_a_time_longer_ago_than_any_run_is_no_error() -> None:
    assert when_of("--since", "99999999d") == EPOCH
    assert when_of("--since", "1w") < when_of("--since", "6d")
    assert when_of("--since", "1h") < now() < when_of("--since", "1h") + timedelta(hours=2)


def test_durations_are_spoken() -> None:
    spoken = [roughly(parse_duration(text)) for text in ("5s", "90s", "3h", "26h", "10d")]
    assert spoken == ["5 s", "1 min", "3 h", "1 d 2 h", "10 d"]
    assert [took(seconds) for seconds in (None, 0.012, 2.34, 75)] == ["", "12 ms", "2.3 s", "1 min"]


@pytest.mark.parametrize("name", [*COMMANDS, *(f"dead {name}" for name in dead.COMMANDS)])
def test_every_command_has_help_with_an_example(name: str, capsys: Output) -> None:
    assert run([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert run([*name.split(), "-h"]) == 0
    assert capsys.readouterr().out == shown
    assert f"horae {name}" in shown.partition("Usage:")[2].partition("\n")[2]


def test_horae_alone_shows_its_commands(capsys: Output) -> None:
    assert run([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)
    assert run(["--version"]) == 0
    assert re.fullmatch(r"horae \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_the_reference_page_is_that_of_the_commands() -> None:
    written = (REPOSITORY / "docs/reference/cli.md").read_text()
    assert written == page(), "run `python -m horae.cli.reference > docs/reference/cli.md`"


def test_every_json_option_has_a_documented_shape() -> None:
    root = command_line()
    with typer.Context(root, info_name="horae") as context:
        having = [name for name, command in leaves(root, context) if any("--json" in p.opts for p in command.params)]
    heads = " ".join(line for line in SHAPES.splitlines() if line.startswith("## "))
    assert [name for name in having if f"horae {name}" not in heads] == []
