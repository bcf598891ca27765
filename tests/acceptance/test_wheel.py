"""The wheel in a fresh environment without extras, in a folder that is nobody's checkout."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.shipped import ROOT

JOBS = {
    "infra/keep.py": '@job(traits=["infrastructure"], idempotent=True, run_on_start=True)\ndef keep() -> int:\n',
    "internal/look.py": '@job(schedule=every("1h"), run_on_start=True)\ndef look() -> int:\n',
}
FLOW = 'from prefect import flow\n\n\n@flow\ndef hello():\n    """Hello."""\n'
DEPLOYMENT = """
deployments:
  - name: hello
    entrypoint: flows/hello.py:hello
    tags: [horae:dashboard]
    work_pool: {name: horae}
"""


def uv() -> str:
    """The one that set-up uses."""
    found = ROOT / ".horae/tools/uv/bin/uv"
    return str(found) if found.is_file() else shutil.which("uv") or "uv"


def done(*command: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    dropped = ("HORAE_", "PREFECT_", "VIRTUAL_ENV", "PYTHONPATH")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--wheel", "--python", sys.executable, "--out-dir", str(folder))
    built = done(uv(), "build", *options, str(ROOT), cwd=folder)
    assert built.returncode == 0, built.stderr
    [found] = folder.glob("horae-*.whl")
    return found


@pytest.fixture(scope="module")
def horae(wheel: Path) -> str:
    """The command of an environment that has the wheel and what it needs, and nothing more."""
    place = wheel.parent / "environment"
    for command in (
        (uv(), "venv", "--quiet", "--python", sys.executable, str(place)),
        (uv(), "pip", "install", "--quiet", "--python", str(place / "bin/python"), str(wheel)),
    ):
        made = done(*command, cwd=wheel.parent)
        assert made.returncode == 0, made.stderr
    return str(place / "bin/horae")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "horae.toml").write_text(
        "[store]\nport = 0\n[prefect]\nport = 0\n[worker]\nhealth_port = 0\n[sidecar]\nhealth_port = 0\n"
    )
    for name, text in JOBS.items():
        (tmp_path / name).parent.mkdir()
        body = '    """Answer."""\n    return 42\n'
        (tmp_path / name).write_text(f"from horae import every, job  # noqa: F401\n\n\n{text}{body}")
    return tmp_path


def test_it_has_the_library_with_all_its_files_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    package = ROOT / "horae"
    kept = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT).as_posix() for path in kept} == {name for name in names if name.startswith("horae/")}
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"horae"}


def test_an_empty_folder_is_told_what_makes_it_a_project(horae: str, tmp_path: Path) -> None:
    answer = done(horae, "up", cwd=tmp_path)
    assert answer.returncode == 2
    assert "create an empty file of that name" in answer.stderr
    (tmp_path / "horae.toml").touch()
    assert "this project has no jobs yet" in done(horae, "check", cwd=tmp_path).stdout


@pytest.mark.timeout(200)
def test_up_runs_without_prefect_and_says_what_flows_need(horae: str, own: Path) -> None:
    answer = done(horae, "up", "--once", "--json", cwd=own)
    assert answer.returncode == 0, answer.stderr
    assert {run["job"]: run["verdict"] for run in json.loads(answer.stdout)} == {"keep": "ran", "look": "ran"}
    assert "prefect" not in answer.stderr.lower()

    (own / "flows").mkdir()
    (own / "flows/hello.py").write_text(FLOW)
    (own / "prefect.yaml").write_text(DEPLOYMENT)
    assert done(horae, "check", cwd=own).returncode == 0
    answer = done(horae, "up", "--once", "--json", cwd=own)
    assert answer.returncode == 0, answer.stderr
    assert {run["job"] for run in json.loads(answer.stdout)} == {"keep", "look"}
    assert "pip install 'horae[prefect]'" in " ".join(answer.stderr.split())
