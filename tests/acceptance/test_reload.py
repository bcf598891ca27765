"""`horae up` takes up job files that change while it runs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_for

HORAE = (sys.executable, "-m", "horae")
JOB = """from horae import every, job


@job(traits=["infrastructure"], idempotent=True)
def {name}() -> str:
    \"\"\"Answer.\"\"\"
    return "{answer}"
"""


@pytest.fixture
def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("HORAE_", "PREFECT_"))}


class Up:
    """A `horae up` that goes on in a project of its own."""

    def __init__(self, project: Path, environment: dict[str, str], *options: str) -> None:
        self.project, self.environment, self.said = project, environment, project / "up.log"
        with self.said.open("wb") as log:
            self.process = subprocess.Popen(
                [*HORAE, "up", *options], cwd=project, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_for((project / ".horae/run/endpoints.json").is_file, "everything to be up", 60)

    def told(self) -> str:
        return " ".join(self.said.read_text().split())

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*HORAE, *arguments], cwd=self.project, env=self.environment, capture_output=True, text=True, timeout=60
        )

    def run(self, job: str) -> dict[str, Any]:
        """The run of an enqueue, once it has its verdict."""
        accepted = self.command("enqueue", job, "--json")
        assert accepted.returncode == 0, accepted.stderr
        run_id = json.loads(accepted.stdout)["run_id"]

        def settled() -> dict[str, Any] | None:
            found: dict[str, Any] = json.loads(self.command("show", run_id, "--json").stdout)
            return found if found["verdict"] else None

        found = wait_for(settled, f"the verdict of {job}", 40)
        assert found
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            assert self.process.wait(20) == 0


@pytest.fixture
def up(project: Path, environment: dict[str, str]) -> Iterator[Up]:
    (project / "infra/first.py").write_text(JOB.format(name="first", answer="old"))
    started = Up(project, environment)
    yield started
    started.end()


@pytest.mark.requires("valkey")
@pytest.mark.timeout(180)
def test_a_new_and_an_edited_job_run_without_a_new_start(up: Up) -> None:
    assert up.run("first")["result"] == "old"
    (up.project / "infra/first.py").write_text(JOB.format(name="first", answer="new one"))
    (up.project / "infra/second.py").write_text(JOB.format(name="second", answer="2"))
    (up.project / "infra/broken.py").write_text("import no_such_module\n")
    wait_for(lambda: "the queue worker has loaded the changed jobs" in up.told(), "the reload", 40)
    assert "infra/broken.py, infra/first.py, infra/second.py changed: loading 2 jobs" in up.told()
    assert "HR701 infra/broken.py:1" in up.told()
    assert up.run("first")["result"] == "new one"
    assert up.run("second")["result"] == "2"
    assert " died" not in up.told()
    with (up.project / "horae.toml").open("a") as file:
        file.write("# more\n")
    wait_for(lambda: "horae.toml changed; restart `horae up`" in up.told(), "word on the settings", 20)


@pytest.mark.requires("valkey")
@pytest.mark.timeout(180)
def test_a_job_that_no_worker_knows_is_named_as_such(project: Path, environment: dict[str, str]) -> None:
    up = Up(project, environment, "--no-reload")
    try:
        (project / "infra/late.py").write_text(JOB.format(name="late", answer="x"))
        accepted = up.command("enqueue", "late")
        assert accepted.returncode == 0
        assert "the running `horae up` does not know late yet" in accepted.stderr
        for command in (["fires"], ["jobs"]):
            wait_for(
                lambda command=command: "no running worker knows the job" in up.command(*command).stdout,  # type: ignore[misc]
                f"`horae {command[0]}` to say that no worker knows it",
                30,
            )
    finally:
        up.end()
