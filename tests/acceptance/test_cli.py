"""The command line as real processes: what it imports, where its output goes, how it ends."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from horae.local.endpoints import Endpoints
from horae.local.ports import free_port
from tests.waiting import wait_for

REPOSITORY = Path(__file__).parents[2]
HORAE = (sys.executable, "-m", "horae")
HEAVY = {"prefect", "oneiric", "redis", "apscheduler", "httpx", "rich", "sqlalchemy"}
SETTINGS = {"pydantic", "pydantic_settings", "asyncio", "horae.settings"}
"""What reading the settings costs."""
JOB = '''
import sys
import time

from horae import current_run, job


@job(traits=["infrastructure"], idempotent=True)
def copy_files(count: int = 1, wait: float = 0) -> int:
    """Copies files."""
    print("copying", flush=True)
    time.sleep(wait)
    return count
'''

TELL = '''
from horae import every, job
from horae.settings import load

@job(schedule=every("1h"))
def tell() -> None:
    """Says what it found."""
    settings = load()
    print(*(url and url.get_secret_value() for url in (settings.store.url, settings.prefect.api_url)))
'''


@pytest.fixture
def environment() -> dict[str, str]:
    """Without what would lead to another project's store, Prefect or width."""
    dropped = ("HORAE_", "PREFECT_", "COLUMNS", "NO_COLOR", "FORCE_COLOR")
    return {key: value for key, value in os.environ.items() if not key.startswith(dropped)}


@pytest.fixture
def durable(project: Path) -> Path:
    (project / "infra/copy_files.py").write_text(JOB)
    return project


def horae(
    environment: dict[str, str], *arguments: str, cwd: Path = REPOSITORY, **more: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*HORAE, *arguments],
        cwd=cwd,
        env={**environment, **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "also_lazy"),
    [
        (("jobs", "--json"), set()),
        (("jobs",), set()),
        (("decide", "--every", "30s"), SETTINGS | {"yaml"}),
        (("next", "--cron", "0 2 * * *", "--json"), SETTINGS | {"yaml"}),
        (("next", "database-backup"), set()),
        (("check",), set()),
    ],
)
def test_a_quick_command_imports_nothing_heavy(
    environment: dict[str, str], shipped: Path, arguments: tuple[str, ...], also_lazy: set[str]
) -> None:
    """Not a measure of time, which a busy machine spoils, but of what costs it."""
    told = "import json, sys; from horae.cli import run; status = run(sys.argv[1:]); "
    told += "print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", told, *arguments],
        cwd=shipped,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    status, modules = json.loads(done.stderr.splitlines()[-1])
    assert status == 0
    assert "horae.matrix" in modules or "horae.schedules" in modules
    assert (HEAVY | also_lazy) & set(modules) == set()


@pytest.mark.requires("valkey")
def test_jobs_reads_the_last_verdicts_without_the_client_library(
    environment: dict[str, str], durable: Path, valkey_url: str, namespace: str
) -> None:
    store = {"HORAE_STORE__URL": valkey_url, "HORAE_NAMESPACE": namespace}
    done = horae(environment, "run", "copy-files", "-c", "count=2", "--json", cwd=durable, **store)
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert (run["verdict"], run["cause"]) == ("ran", "manual")
    [found] = json.loads(horae(environment, "jobs", "--json", cwd=durable, **store).stdout)
    assert (found["last_verdict"], found["last_run_id"]) == ("ran", run["run_id"])
    assert found["last_duration_seconds"] == run["duration_seconds"]

    [fire] = json.loads(horae(environment, "fires", "copy-files", "--json", cwd=durable, **store).stdout)
    assert fire == run
    logs = horae(environment, "logs", run["run_id"][-10:], cwd=durable, **store)
    assert logs.stdout.endswith(" PRINT copying\n")
    assert horae(environment, "logs", "nothing", cwd=durable, **store).returncode == 2


@pytest.mark.requires("valkey")
def test_a_job_in_the_foreground_finds_what_a_running_up_started(
    environment: dict[str, str], project: Path, valkey_url: str
) -> None:
    (project / "internal/tell.py").write_text(TELL)
    Endpoints(pid=os.getpid(), store_url=valkey_url, prefect_api_url="http://127.0.0.1:9/api").write(project / ".horae")
    done = horae(environment, "run", "tell", cwd=project)
    assert done.returncode == 0, done.stderr
    assert f"PRINT {valkey_url} http://127.0.0.1:9/api" in done.stdout


@pytest.mark.requires("valkey")
def test_an_enqueued_run_waits_for_its_time(
    environment: dict[str, str], durable: Path, valkey_url: str, namespace: str
) -> None:
    store = {"HORAE_STORE__URL": valkey_url, "HORAE_NAMESPACE": namespace}
    at = "2036-12-01T02:00:00Z"
    done = horae(environment, "enqueue", "copy-files", "--at", at, "-c", "count=3", "--json", cwd=durable, **store)
    assert done.returncode == 0, done.stderr
    accepted = json.loads(done.stdout)
    assert {key: accepted[key] for key in ("job", "provider", "due", "new")} == {
        "job": "copy-files",
        "provider": "redis",
        "due": at,
        "new": True,
    }
    [fire] = json.loads(horae(environment, "fires", "--json", cwd=durable, **store).stdout)
    assert (fire["run_id"], fire["state"], fire["cause"]) == (accepted["run_id"], "pending", "enqueue")
    assert fire["due"] == at
    assert f"pending, due {at}" in horae(environment, "fires", cwd=durable, **store).stdout
    refused = horae(environment, "enqueue", "copy-files", "--provider", "reddis", cwd=durable, **store)
    assert refused.returncode == 2
    assert "did you mean 'redis'?" in refused.stderr


@pytest.mark.requires("valkey")
def test_an_enqueue_that_accepts_nothing_new_says_so(
    environment: dict[str, str], durable: Path, valkey_url: str, namespace: str
) -> None:
    store = {"HORAE_STORE__URL": valkey_url, "HORAE_NAMESPACE": namespace}
    file = durable / "infra" / "copy_files.py"
    file.write_text(file.read_text().replace("@job(", '@job(unique_by=("count",), ', 1))
    first = json.loads(
        horae(environment, "enqueue", "copy-files", "-c", "count=3", "--json", cwd=durable, **store).stdout
    )
    again = horae(environment, "enqueue", "copy-files", "-c", "count=3", cwd=durable, **store)
    assert again.returncode == 0
    assert first["run_id"] in again.stdout
    assert "uniqueness key" in again.stdout
    assert "due now" not in again.stdout
    refused = horae(environment, "enqueue", "copy-files", "-c", "count=NaN", cwd=durable, **store)
    assert refused.returncode == 2
    assert "as JSON" in refused.stderr


def test_a_store_that_is_away_costs_the_verdicts_and_not_the_answer(environment: dict[str, str], durable: Path) -> None:
    store = {"HORAE_STORE__URL": f"redis://127.0.0.1:{free_port()}/0"}
    jobs = horae(environment, "jobs", "--json", cwd=durable, **store)
    assert jobs.returncode == 0
    assert json.loads(jobs.stdout)[0]["last_verdict"] is None
    assert "does not answer" in jobs.stderr
    fires = horae(environment, "fires", cwd=durable, **store)
    assert (fires.returncode, fires.stdout) == (1, "")
    assert "does not answer" in fires.stderr
    assert "Traceback" not in fires.stderr


def test_a_reader_that_has_seen_enough_is_no_error(environment: dict[str, str]) -> None:
    arguments = ("next", "--every", "1s", "--count", "10000")
    child = subprocess.Popen(
        [*HORAE, *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == ""
    assert child.returncode == 141


@pytest.fixture
def running_job(environment: dict[str, str], durable: Path) -> Iterator["subprocess.Popen[str]"]:
    child = subprocess.Popen(
        [*HORAE, "run", "copy-files", "-c", "wait=100"],
        cwd=durable,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        yield child
        child.kill()


def test_ctrl_c_ends_a_run_quietly(running_job: "subprocess.Popen[str]") -> None:
    assert running_job.stdout is not None
    assert running_job.stdout.readline().endswith(" PRINT copying\n")
    running_job.send_signal(signal.SIGINT)
    _, errors = running_job.communicate(timeout=30)
    assert running_job.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.requires("valkey")
@pytest.mark.parametrize("command", [("worker",), ("sidecar",), ("fires", "--follow")])
def test_ctrl_c_is_how_a_command_without_an_end_ends_well(
    environment: dict[str, str], durable: Path, valkey_url: str, namespace: str, command: tuple[str, ...]
) -> None:
    store = {"HORAE_STORE__URL": valkey_url, "HORAE_NAMESPACE": namespace}
    accepted = horae(environment, "enqueue", "copy-files", cwd=durable, **store)
    assert accepted.returncode == 0, accepted.stderr
    with (
        (durable / "said").open("wb") as said,
        subprocess.Popen(
            [*HORAE, *command], cwd=durable, env={**environment, **store}, stdout=said, stderr=said
        ) as one,
    ):
        try:
            # What each of them says once it is there: it logs that it started, or tells the run.
            there = (" started, ", "copy-files")
            wait_for(lambda: any(text in (durable / "said").read_text() for text in there), "it to begin", 30)
            one.send_signal(signal.SIGINT)
            assert one.wait(20) == 0
        finally:
            one.kill()
    assert (
        f"`{command[0]}" in (REPOSITORY / "docs/reference/cli.md").read_text().partition("| 130 |")[2].splitlines()[0]
    )


@pytest.mark.requires("valkey")
def test_pause_and_resume_answer_in_json(
    environment: dict[str, str], durable: Path, valkey_url: str, namespace: str
) -> None:
    store = {"HORAE_STORE__URL": valkey_url, "HORAE_NAMESPACE": namespace}

    def said(*arguments: str) -> dict[str, object]:
        done = horae(environment, *arguments, "--json", cwd=durable, **store)
        assert (done.returncode, done.stderr) == (0, "")
        return dict(json.loads(done.stdout))

    first = said("pause", "copy-files")
    assert (first["job"], first["paused"], first["changed"]) == ("copy-files", True, True)
    assert said("pause", "copy-files")["changed"] is False
    assert said("pause", "--all")["everything_paused"] is True
    resumed = said("resume", "--all")
    assert (resumed["job"], resumed["paused"], resumed["paused_by_name"]) == (None, False, ["copy-files"])
    text = horae(environment, "resume", "copy-files", cwd=durable, **store).stdout
    assert text == "copy-files runs again\n"


def completed(environment: dict[str, str], cwd: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    asked = f". <(horae completion bash); COMP_WORDS=({' '.join(words)!s} {'' if words[-1] else "''"}); "
    asked += f"COMP_CWORD={len(words) - 1}; _horae_completion horae; printf '%s\n' \"${{COMPREPLY[@]}}\""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "--norc", "-c", asked]
    done = subprocess.run(command, cwd=cwd, env={**environment, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_options_and_jobs(environment: dict[str, str], durable: Path, tmp_path: Path) -> None:
    assert completed(environment, durable, "horae", "en") == ["enqueue"]
    assert completed(environment, durable, "horae", "dead", "re") == ["replay"]
    assert "--context" in completed(environment, durable, "horae", "enqueue", "--c")
    assert completed(environment, durable, "horae", "enqueue", "copy") == ["copy-files"]
    assert completed(environment, tmp_path, "horae", "run", "copy") == []
    assert completed(environment, durable, "horae", "enqeue", "copy") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
@pytest.mark.parametrize("arguments", [("jobs", "--json"), ("next", "--every", "1s", "--count", "10000"), ("--help",)])
def test_a_full_disk_under_the_output_is_a_sentence(
    environment: dict[str, str], durable: Path, arguments: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*HORAE, *arguments], cwd=durable, env=environment, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "horae: cannot write the output: No space left on device"
    assert "Traceback" not in done.stderr


def test_where_there_is_no_utf_8_the_output_is_ascii(environment: dict[str, str], tmp_path: Path) -> None:
    latin = horae(environment, "decide", "--every", "30s", cwd=tmp_path, PYTHONIOENCODING="latin-1")
    assert (latin.returncode, latin.stderr) == (0, "")
    assert "> APScheduler" in latin.stdout
    shown = on_a_terminal({**environment, "LC_ALL": "C"}, tmp_path, "", "decide", "--every", "30s")
    assert shown.isascii()
    assert "> " in shown
    assert shown.count("?") == 4, "those of the questions"


def on_a_terminal(environment: dict[str, str], cwd: Path, typed: str, *arguments: str) -> str:
    """What a command shows on a pseudo-terminal on which that is typed."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*HORAE, *arguments], cwd=cwd, env={**environment, "TERM": "xterm"}, stdin=theirs, stdout=theirs
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # Linux's way to say that the other side is closed
        pass
    os.close(ours)
    assert child.wait(30) == 0
    return shown.decode()


def test_on_a_terminal_decide_asks_and_lights_the_path(environment: dict[str, str], tmp_path: Path) -> None:
    shown = on_a_terminal(environment, tmp_path, "\n\n90d\n2\n", "decide")
    for number in range(1, 5):
        assert f"Step {number}:" in shown
    assert "The same as one command" in shown
    assert "▶ Prefect" in shown
    assert "\x1b[1m" in shown


def test_colours_are_for_terminals(environment: dict[str, str], shipped: Path) -> None:
    assert "\x1b[" in on_a_terminal(environment, shipped, "", "jobs")
    assert "\x1b[" not in on_a_terminal({**environment, "NO_COLOR": "1"}, shipped, "", "jobs")
    assert "\x1b[" not in horae(environment, "jobs", cwd=shipped).stdout
