"""The lowest and the newest Prefect of the range that we allow, each with the newest of what it needs.

A lock file does not travel with a wheel: who installs `horae[prefect]` today gets what the registry has today. Prefect
3.8.8 failed in silence under FastAPI 0.151 and SQLAlchemy 2.1, so nothing but a run tells.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUARD = ROOT / "tests/integration/prefect_guard.py"


def allowed() -> tuple[str, str]:
    """The requirement of the extra, and its lowest version."""
    [found] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["prefect"]
    low = found.removeprefix("prefect>=").partition(",")[0]
    assert found == f"prefect>={low},<4"
    return found, low


@pytest.fixture(scope="module")
def install(tmp_path_factory: pytest.TempPathFactory) -> "Install":
    return Install(tmp_path_factory.mktemp("environments"))


class Install:
    """Makes environments beside the locked one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        own = ROOT / ".horae/tools/uv/bin/uv"
        self._uv = str(own) if own.exists() else shutil.which("uv") or "uv"

    def python(self, requirement: str) -> Path:
        """The Python of an environment with our own requirements and this Prefect, nothing of it from the lock."""
        made = self._folder / requirement.replace(",", "-")
        self._run("venv", "--python", sys.executable, str(made))
        # In the project's folder, so that what [tool.uv] leaves out of Oneiric is left out here too.
        wanted = ("-r", "pyproject.toml", "--extra", "prefect", requirement)
        self._run("pip", "install", "--quiet", "--python", str(made / "bin/python"), *wanted)
        return made / "bin/python"

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [self._uv, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr


def version(python: Path) -> str:
    code = "from importlib.metadata import version; print(version('prefect'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def hold(python: Path, folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, str(GUARD), str(folder)], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert done.stdout.splitlines()[-1] == "held: server, deploy, scheduled runs, a run's end"


@pytest.mark.requires("registry")
@pytest.mark.timeout(600)
def test_the_lowest_and_the_newest_version_deploy_schedule_and_run(install: Install, tmp_path: Path) -> None:
    """One trial where the two are the same version."""
    requirement, low = allowed()
    newest = install.python(requirement)
    hold(newest, tmp_path / "newest")
    if version(newest) != low:
        lowest = install.python(f"prefect=={low}")
        assert version(lowest) == low
        hold(lowest, tmp_path / "lowest")
