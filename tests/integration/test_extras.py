"""scripts/extras.py: each extra in an environment of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shipped import ROOT, ship

pytestmark = pytest.mark.timeout(200)


def extras(project: Path, *names: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(project / "scripts/extras.py"), *names]
    path = f"{ROOT / '.horae/tools/uv/bin'}{os.pathsep}{os.environ['PATH']}"  # the uv of set-up
    return subprocess.run(
        command, cwd=project, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=180, check=False
    )


def test_an_unknown_extra_is_refused() -> None:
    done = extras(ROOT, "etll")
    assert (done.returncode, done.stderr.splitlines()[0][:29]) == (2, "extras: unknown extra 'etll'.")


@pytest.mark.requires("registry")
def test_a_library_that_the_extra_lacks_is_named_with_the_extra(tmp_path: Path) -> None:
    """Every extra of pyproject.toml must also be known to the script."""
    project = ship(tmp_path, "horae", "flows", "scripts", "pyproject.toml", "uv.lock", "README.md", "LICENSE")
    script = project / "scripts/extras.py"
    assert extras(project, "postgres").stdout.startswith("extras: postgres  ok (")
    script.write_text(script.read_text().replace('"postgres": ("psycopg",)', '"postgres": ("psycopg", "dlt")'))
    done = extras(project, "postgres")
    assert done.returncode == 1
    assert done.stdout.startswith(
        "extras: postgres  dlt cannot be imported: ModuleNotFoundError: No module named 'dlt'"
    )
    assert not list((project / ".horae/extras.d").iterdir())
    shutil.rmtree(project)
