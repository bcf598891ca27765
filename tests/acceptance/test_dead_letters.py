"""Dead letters, stories, pauses and cancelling on the real command line, with a real Valkey and a real queue worker."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from horae.jobs.policies import Tier
from horae.runs import Cause, Run
from horae.settings import Settings, StoreSettings
from horae.store import connect
from horae.store.values import NewRun
from tests.processes import Services, services
from tests.servers import OwnValkey
from tests.waiting import wait_for

HORAE = (sys.executable, "-m", "horae")
JOBS = '''
import time

from horae import job


@job(traits={"infrastructure"}, idempotent=True)
async def copy_files(*, source: str = "/nowhere", count: int = 1) -> dict:
    """Copy files."""
    if source == "/nowhere":
        raise OSError(f"there is no {source}")
    return {"copied": count, "from": source}


@job(traits={"infrastructure"}, idempotent=True)
def slow(*, seconds: float = 60.0) -> None:
    """Take a while."""
    print("began", flush=True)
    time.sleep(seconds)
'''

pytestmark = pytest.mark.requires("valkey")


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody at a shell in a project."""

    project: Path
    environment: dict[str, str]
    running: Services

    def horae(self, *arguments: str, status: int = 0) -> str:
        """What it prints, on both streams where it fails."""
        done = self.done(*arguments, status=status)
        return done.stdout + (done.stderr if status else "")

    def done(self, *arguments: str, status: int) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*HORAE, *arguments],
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback (most" not in done.stderr
        return done

    def typed(self, text: str, *arguments: str) -> int:
        """The exit status on a terminal on which that is typed."""
        ours, theirs = pty.openpty()
        try:
            os.write(ours, text.encode())
            command = [*HORAE, *arguments]
            done = subprocess.run(
                command,
                cwd=self.project,
                env=self.environment,
                stdin=theirs,
                capture_output=True,
                check=False,
                timeout=60,
            )
        finally:
            os.close(ours)
            os.close(theirs)
        return done.returncode

    def json(self, *arguments: str, status: int = 0) -> Any:
        return json.loads(self.done(*arguments, "--json", status=status).stdout)

    def enqueue(self, job: str = "copy-files", *context: str) -> str:
        given = [part for pair in context for part in ("--context", pair)]
        return str(self.json("enqueue", job, *given)["run_id"])

    @property
    def settings(self) -> Settings:
        url, namespace = self.environment["HORAE_STORE__URL"], self.environment["HORAE_NAMESPACE"]
        return Settings(namespace=namespace, store=StoreSettings(url=SecretStr(url)))

    def row(self, run_id: str) -> Run:
        """What the ledger says, without the second that a command takes."""

        async def read() -> Run:
            async with connect(self.settings) as store:
                found = await store.ledger.run(run_id)
                assert found
                return found

        return asyncio.run(read())

    def state(self, run_id: str) -> str:
        return self.row(run_id).state.value

    def failed(self, *context: str) -> str:
        run = self.enqueue("copy-files", *context)
        wait_for(lambda: self.state(run) == "failed", "the run to fail", 30)
        return run

    def follow(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*HORAE, "fires", "--follow", *arguments],
            cwd=self.project,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def user_of(project: Path, url: str, namespace: str, running: Services) -> User:
    (project / "infra" / "jobs.py").write_text(JOBS)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HORAE_", "PREFECT_"))}
    environment = {**kept, "HORAE_STORE__URL": url, "HORAE_NAMESPACE": namespace, "COLUMNS": "200"}
    return User(project=project, environment=environment, running=running)


@pytest.fixture
def user(project: Path, valkey_url: str, namespace: str) -> Iterator[User]:
    with services(project, valkey_url, namespace) as running:
        yield user_of(project, valkey_url, namespace, running)


def test_a_failed_run_is_shown_replayed_with_another_context_and_runs(user: User) -> None:
    user.running.start("queue_worker")
    dead = user.failed("count=3")

    [letter] = user.json("dead", "list")
    assert (letter["run_id"], letter["job"], letter["reason"]) == (dead, "copy-files", "raised")
    assert letter["error"] == "OSError: there is no /nowhere"
    whole = user.json("dead", "show", dead[-12:])
    assert whole["message"]["context"] == {"count": 3}
    assert "raise OSError" in whole["traceback"]
    assert [event["what"] for event in whole["story"]] == ["accepted", "published", "claimed", "settled"]
    told = user.horae("dead", "show", dead)
    assert "count = 3" in told
    assert "raise OSError" in told
    assert f"horae dead replay {dead}" in told

    edit = ("--context", 'source="/data"', "--reason", "it was the wrong folder")
    [foretold] = user.json("dead", "replay", dead, *edit, "--preview")
    assert foretold["outcome"] == "would be replayed"
    assert foretold["context"] == {"count": 3, "source": "/data"}
    assert len(user.json("dead", "list")) == 1, "a preview does nothing"

    [replayed] = user.json("dead", "replay", dead, *edit)
    assert (replayed["outcome"], replayed["run_id"]) == ("replayed", foretold["run_id"])
    assert user.json("dead", "list") == []
    wait_for(lambda: user.state(replayed["run_id"]) == "ran", "the replay to run", 30)

    new, old = user.json("show", replayed["run_id"]), user.json("show", dead)
    assert (new["cause"], new["replays"], new["result"]) == ("replay", dead, {"copied": 3, "from": "/data"})
    assert new["metadata"] == {"replays": dead, "replay_reason": "it was the wrong folder"}
    assert (old["replayed_as"], old["verdict"]) == (new["run_id"], "failed")
    assert old["story"][-1]["what"] == "replayed"
    assert "it was the wrong folder" in user.horae("show", new["run_id"])
    assert f"already replayed as {new['run_id']}" in user.horae("dead", "replay", dead, status=2)
    assert [fire["run_id"] for fire in user.json("fires", "--cause", "replay")] == [new["run_id"]]


def test_what_cannot_be_replayed_is_said_with_what_to_do(user: User, valkey_url: str, namespace: str) -> None:
    user.running.start("queue_worker")
    removed = user.failed()
    with redis.Redis.from_url(valkey_url) as broker:
        broker.xadd(f"{{{namespace}}}:queue:redis:normal", {"m": "this is { no message"})
    wait_for(lambda: len(user.json("dead", "list")) == 2, "the body to be buried", 30)
    letters = user.json("dead", "list")
    [buried] = [letter["run_id"] for letter in letters if not letter["is_message"]]
    assert user.json("dead", "show", buried)["body"] == "this is { no message"
    refused = user.horae("dead", "replay", buried, status=2)
    assert "is not a valid message" in refused
    assert f"horae dead drop {buried}" in refused

    (user.project / "infra" / "jobs.py").write_text(JOBS.replace("copy_files", "copy_all_files"))
    refused = user.horae("dead", "replay", removed, status=2)
    assert "no job 'copy-files' is registered now; did you mean 'copy-all-files'?" in refused
    for fate in user.json("dead", "replay", "--all", status=1):
        assert fate["outcome"] == "refused"
    assert len(user.json("dead", "list", "--job", "copy-files")) == 1, "letters of a removed job are still there"

    (user.project / "infra" / "jobs.py").write_text(JOBS.replace("count: int", "number: int"))
    assert "unknown context key 'cuont'" in user.horae("dead", "replay", removed, "-c", "cuont=1", status=2)
    assert user.json("dead", "drop", buried) == {"dropped": 1}
    assert "was dropped" in user.horae("dead", "replay", buried, status=2)
    assert "did you mean 'copy-files'?" in user.horae("dead", "list", "--job", "copy-file", status=2)
    assert "unknown run" in user.horae("dead", "replay", "0123456789", status=2)


def test_many_are_replayed_exported_and_dropped_only_when_somebody_says_so(user: User, tmp_path: Path) -> None:
    user.running.start("queue_worker")
    runs = [user.failed(f"count={count}") for count in range(3)]
    assert "add --yes" in user.horae("dead", "replay", "--job", "copy-files", status=2)
    assert "add --yes" in user.horae("dead", "drop", *runs, status=2)
    assert "no dead letters selected" in user.horae("dead", "drop", status=2)

    lines = user.horae("dead", "export").splitlines()
    user.horae("dead", "export", "--job", "copy-files", "--output", str(tmp_path / "dead.jsonl"))
    assert (tmp_path / "dead.jsonl").read_text().splitlines() == lines
    exported = [json.loads(line) for line in lines]
    assert [one["run_id"] for one in exported] == runs
    assert [one["message"]["context"] for one in exported] == [{"count": count} for count in range(3)]
    assert all(one["traceback"] and one["story"] for one in exported)
    assert "No such file" in user.horae("dead", "export", "-o", str(tmp_path / "no" / "folder"), status=2)

    assert user.json("dead", "drop", runs[0]) == {"dropped": 1}
    fates = user.json("dead", "replay", "--all", "--yes", "-c", "source=/data")
    assert {fate["replays"]: fate["outcome"] for fate in fates} == dict.fromkeys(runs[1:], "replayed")
    for fate in fates:
        wait_for(lambda run=fate["run_id"]: user.state(run) == "ran", "a replay to run", 30)  # type: ignore[misc]
    assert user.json("dead", "replay", "--all") == []


def test_on_a_terminal_more_than_one_is_asked_for(user: User) -> None:
    user.running.start("queue_worker")
    runs = [user.failed(), user.failed()]
    assert user.typed("n\n", "dead", "replay", "--all") == user.typed("n\n", "dead", "drop", *runs) == 1
    assert len(user.json("dead", "list")) == 2
    assert user.typed("y\n", "dead", "drop", "--all") == 0
    assert user.json("dead", "list") == []


def test_fires_are_filtered_by_verdict_cause_tier_and_time(user: User) -> None:
    user.running.start("queue_worker")
    failed = user.failed()
    waits = str(user.json("enqueue", "copy-files", "--at", "2036-12-01T02:00:00Z")["run_id"])

    def found(*arguments: str) -> list[str]:
        return [fire["run_id"] for fire in user.json("fires", *arguments)]

    assert found("--verdict", "failed") == [failed]
    assert found("--verdict", "open") == [waits]
    assert set(found("--verdict", "open", "--verdict", "failed")) == {failed, waits}
    assert found("--cause", "schedule") == found("--tier", "prefect") == found("--until", "1h") == []
    assert set(found("copy-files", "--tier", "oneiric", "--since", "1h")) == {failed, waits}
    assert found("--limit", "0") == []
    assert "did you mean 'failed'?" in user.horae("fires", "--verdict", "fialed", status=2)
    assert "did you mean 'copy-files'?" in user.horae("fires", "copy-file", status=2)


def test_a_run_is_named_by_a_part_of_its_id(user: User) -> None:
    runs = ["aaaaaaaa-1111-zzzzzzzz", "aaaaaaaa-2222-yyyyyyyy"]

    async def accept() -> None:
        async with connect(user.settings) as store:
            news = [NewRun(run_id=run, job="copy-files", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE) for run in runs]
            await store.outbox.accept(news)

    asyncio.run(accept())
    assert user.json("show", runs[0][-8:])["run_id"] == user.json("show", "aaaaaaaa-1")["run_id"] == runs[0]
    listed = user.horae("cancel", "aaaaaaaa", status=2)
    assert "matches 2 runs" in listed
    assert all(f"{run}  " in listed for run in runs)
    assert "at least 8 characters" in user.horae("show", runs[0][:7], status=2)
    assert "unknown run" in user.horae("show", "f" * 36, status=2)


def test_follow_tells_each_change_and_outlives_the_store(project: Path, tmp_path: Path, namespace: str) -> None:
    (tmp_path / "valkey").mkdir()
    valkey = OwnValkey(tmp_path / "valkey")
    valkey.start()
    with services(project, valkey.url, namespace) as running:
        user = user_of(project, valkey.url, namespace, running)
        following = user.follow("--json", "--limit", "0")
        assert following.stdout
        assert following.stderr
        try:
            first = user.enqueue("copy-files", "source=/data")
            assert json.loads(following.stdout.readline()) | {"run_id": first, "state": "queued"} == json.loads(
                json.dumps(user.json("fires")[0])
            )
            running.start("queue_worker")
            states = [json.loads(following.stdout.readline())["state"]]
            if states == ["running"]:
                states.append(json.loads(following.stdout.readline())["state"])
            assert states[-1] == "ran"

            valkey.kill()
            assert "waiting: the store" in following.stderr.readline()
            valkey.start()
            assert "answers again" in following.stderr.readline()
            second = user.enqueue("copy-files")
            told = [json.loads(following.stdout.readline())]
            while told[-1]["verdict"] is None:
                told.append(json.loads(following.stdout.readline()))
            assert {one["run_id"] for one in told} == {second}
            assert told[-1]["verdict"] == "failed"

            following.send_signal(signal.SIGINT)
            assert following.wait(10) == 0
            assert "Traceback" not in following.stderr.read()
        finally:
            following.kill()
            following.wait()
            following.stdout.close()
            following.stderr.close()
            valkey.kill()


def test_a_paused_job_waits_and_goes_on(user: User) -> None:
    user.running.start("queue_worker")
    assert "is paused" in user.horae("pause", "copy-files")
    assert "is already paused" in user.horae("pause", "copy-files")
    run = user.enqueue("copy-files", "source=/data")
    wait_for(lambda: user.row(run).story[-1].what == "waits", "the run to wait", 30)
    jobs = {job["name"]: job["paused"] for job in user.json("jobs")}
    assert jobs == {"copy-files": True, "slow": False}
    assert "paused, pending" in user.horae("jobs")

    assert "everything is paused" in user.horae("pause", "--all")
    assert all(job["paused"] for job in user.json("jobs"))
    assert "still paused by name: copy-files" in user.horae("resume", "--all")
    assert user.state(run) == "pending"
    assert "1 waiting run handed out" in user.horae("resume", "copy-files")
    wait_for(lambda: user.state(run) == "ran", "the run to go on", 30)
    assert "was not paused" in user.horae("resume", "copy-files")
    assert "did you mean 'copy-files'?" in user.horae("pause", "copy-file", status=2)
    assert "no job selected" in user.horae("pause", status=2)


def test_a_run_is_cancelled_while_it_waits_and_while_it_runs(user: User) -> None:
    waits = str(user.json("enqueue", "slow", "--at", "2036-12-01T02:00:00Z")["run_id"])
    assert "is cancelled" in user.horae("cancel", waits)
    assert (user.state(waits), user.row(waits).reason) == ("cancelled", "requested")
    assert "already had its verdict: cancelled: requested" in user.horae("cancel", waits)

    user.running.start("queue_worker", HORAE_WORKER__LEASE_SECONDS="1")
    runs = user.enqueue("slow")
    wait_for(lambda: user.state(runs) == "running", "the run to begin", 30)
    told = user.json("cancel", runs, "--wait", "20s")
    assert (told["outcome"], told["verdict"]) == ("asked", "cancelled")
    done = user.enqueue("copy-files", "source=/data")
    wait_for(lambda: user.state(done) == "ran", "a run to end", 30)
    assert user.json("cancel", done, status=1)["outcome"] == "settled"
    assert "--wait" in user.horae("cancel", done, "--wait", "soon", status=2)
