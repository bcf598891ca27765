"""Flow runs in containers: a work pool of type docker, with the code from the image, from a volume and from git.

They need a Docker engine with the image `horae`: `scripts/containers start`, `base` and `build`, then DOCKER_HOST. CI
has none, so they are skipped there too.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from horae.local.ports import LOOPBACK, free_port
from horae.up.prefect_parts import environment
from tests.prefect_server import prefect_server
from tests.processes import ROOT
from tests.requirements import images_absent
from tests.waiting import wait_for

pytestmark = [pytest.mark.skipif(bool(images_absent("horae")), reason=images_absent("horae")), pytest.mark.timeout(300)]
POOL = "horae-docker"
FLOW = """
import pathlib

from prefect import flow


@flow(log_prints=True)
def told() -> None:
    print("the code is in", pathlib.Path(__file__).resolve().parent)
"""
AUTHOR = {f"GIT_{who}_{what}": "somebody@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class Pool:
    """A Prefect server, and a Docker worker on its pool."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self.environment = os.environ | environment(folder, url)

    def prefect(self, *words: str) -> str:
        command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
        done = subprocess.run(command, cwd=self._folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def working(self) -> Iterator[None]:
        self.prefect("work-pool", "create", POOL, "--type", "docker")
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "docker"]
        log = self._folder / "worker.log"
        with log.open("wb") as file:
            worker = subprocess.Popen(command, env=self.environment, stdout=file, stderr=file)
        try:
            wait_for(lambda: "started" in log.read_text(), f"the worker, see {log}", 60)
            yield
        finally:
            worker.terminate()
            worker.wait(30)

    def run(self, file: Path, name: str, **variables: Any) -> str:
        """Deploy it, with the host's network and further job variables; run it; what its worker printed meanwhile."""
        project = yaml.safe_load(file.read_text())
        [deployment] = project["deployments"]
        deployment["work_pool"]["job_variables"] |= {"network_mode": "host", **variables}
        (self._folder / "prefect.yaml").write_text(yaml.safe_dump(project))
        self.prefect("deploy", "--all")
        return self.prefect("deployment", "run", name, "--watch") + (self._folder / "worker.log").read_text()


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    folder = tmp_path_factory.mktemp("docker-pool")
    (folder / "flows").mkdir()
    (folder / "flows/told.py").write_text(FLOW)  # `prefect deploy` reads the signature
    (folder / "flows/code_sweep.py").write_text((ROOT / "flows/code_sweep.py").read_text())
    with prefect_server(folder) as url:
        found = Pool(folder, url)
        with found.working():
            yield found


def told(folder: Path, pull: list[Any]) -> Path:
    work_pool = {"name": POOL, "job_variables": {"image": "horae", "image_pull_policy": "Never", "auto_remove": True}}
    deployment = {"name": "told", "entrypoint": "flows/told.py:told", "work_pool": work_pool}
    file = folder / "trial.yaml"
    file.write_text(yaml.safe_dump({"name": "trial", "pull": pull, "deployments": [deployment]}))
    return file


def code(folder: Path) -> Path:
    (folder / "flows").mkdir(parents=True)
    (folder / "flows/told.py").write_text(FLOW)
    return folder


def committed(folder: Path) -> Path:
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "flows"]):
        subprocess.run(["git", *words], cwd=folder, env=os.environ | AUTHOR, check=True)
    return folder


def open_to_the_container(folder: Path) -> Path:
    subprocess.run(["chown", "-R", "10001:10001", str(folder)], check=True)
    for parent in folder.parents[:3]:
        parent.chmod(0o755)
    return folder


def test_the_code_sweep_runs_from_the_image(pool: Pool, tmp_path: Path) -> None:
    repository = open_to_the_container(committed(code(tmp_path / "repository")))
    said = pool.run(
        ROOT / "prefect-docker.yaml",
        "code-sweep/code-sweep-docker",
        volumes=[f"{repository}:/repos/one:ro"],
        env={"HORAE_REPOS": "/repos/one"},
    )
    assert "finished successfully" in said, said


def test_code_from_a_volume(pool: Pool, tmp_path: Path) -> None:
    project = open_to_the_container(code(tmp_path / "code"))
    step = {"prefect.deployments.steps.set_working_directory": {"directory": "/code"}}
    said = pool.run(told(tmp_path, [step]), "told/told", volumes=[f"{project}:/code:ro"])
    assert "the code is in /code/flows" in said, said


def test_code_from_git(pool: Pool, tmp_path: Path) -> None:
    repository = committed(code(tmp_path / "repository"))
    with served(repository) as url:
        steps = [
            {"prefect.deployments.steps.set_working_directory": {"directory": "/tmp"}},  # the only folder to write to
            {"prefect.deployments.steps.git_clone": {"repository": url, "branch": "main"}},
        ]
        said = pool.run(told(tmp_path, steps), "told/told")
    assert "the code is in /tmp/" in said, said


@contextmanager
def served(repository: Path) -> Iterator[str]:
    """A repository, by git's own protocol."""
    port = free_port()
    where = [f"--listen={LOOPBACK}", f"--port={port}", f"--base-path={repository.parent}"]
    with subprocess.Popen(["git", "daemon", "--reuseaddr", "--export-all", *where, str(repository)]) as daemon:
        yield f"git://{LOOPBACK}:{port}/{repository.name}"
        daemon.terminate()
