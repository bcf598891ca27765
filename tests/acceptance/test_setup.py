"""`scripts/bootstrap` and `make`, as on the machine of somebody who has just cloned the project."""

import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from horae.up.lock import project_lock
from tests.shipped import ship

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "env", "dirname", "id", "cksum", "cat", "mkdir", "sed", "rm", "tail", "git", "make", "uname", "tr")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files of this checkout that git tracks, as they are now."""
    return ship(tmp_path / "clone")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder to be all of PATH: the tools that every system has, without any Python or uv."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    return folder


def bootstrap(clone: Path, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "UV_", "SSL_"))}
    home = {"HOME": str(path.parent), "PATH": str(path)}
    return subprocess.run(
        [str(path / "sh"), str(clone / "scripts/bootstrap")],
        env={**kept, **home, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.timeout(900)
def test_a_fresh_clone_is_set_up_by_one_command(clone: Path, bare: Path) -> None:
    """With a Python of any version to install uv with, and 3.13 where uv or the user put it."""
    (bare / "python3").symlink_to(os.path.realpath(sys.executable))
    (bare / "python3.13").symlink_to(os.path.realpath(sys.executable))
    done = bootstrap(clone, bare)
    assert done.returncode == 0, done.stderr
    assert (clone / ".horae/tools/uv/bin/uv").exists()
    answered = subprocess.run([clone / ".venv/bin/python", "-c", "import horae.jobs, prefect"], check=False, cwd=clone)
    assert answered.returncode == 0
    assert list((clone / "horae/jobs/__pycache__").glob("job.*.pyc")), "commands must not have to compile first"
    began = time.monotonic()
    again = bootstrap(clone, bare)
    assert (again.returncode, again.stderr) == (0, "")
    assert time.monotonic() - began < 2
    cleaned = subprocess.run(["make", "clean"], cwd=clone, capture_output=True, text=True, check=False)
    assert cleaned.returncode == 0, cleaned.stderr
    assert not (clone / ".venv").exists()
    assert not (clone / ".horae").exists()


def test_without_any_python_it_says_how_to_get_one(clone: Path, bare: Path) -> None:
    done = bootstrap(clone, bare)
    assert done.returncode == 1
    assert "there is no Python 3.8 or newer on PATH" in done.stderr
    assert "apt install python3" in done.stderr


def test_without_git_it_says_how_to_get_it(clone: Path, bare: Path) -> None:
    (bare / "git").unlink()
    done = bootstrap(clone, bare)
    assert (done.returncode, "git is not installed" in done.stderr) == (1, True)


def test_a_place_that_cannot_be_written_is_named(clone: Path, bare: Path) -> None:
    (clone / ".horae").write_text("in the way")
    done = bootstrap(clone, bare)
    assert done.returncode == 1
    assert f"{clone} is not writable" in done.stderr


def test_a_shim_that_does_not_run_counts_as_no_python(clone: Path, bare: Path) -> None:
    for name in ("python3", "uv"):
        (bare / name).write_text("#!/bin/sh\necho 'not installed in this version' >&2\nexit 127\n")
        (bare / name).chmod(0o755)
    done = bootstrap(clone, bare)
    assert "there is no Python 3.8 or newer on PATH" in done.stderr


def test_an_index_that_does_not_answer_is_told_with_the_way_out(clone: Path, bare: Path) -> None:
    python = bare / "python3"
    # Like Debian's: neither venv nor pip.
    python.write_text(f'#!/bin/sh\n[ "$1" != -m ] || exit 1\nexec {os.path.realpath(sys.executable)} "$@"\n')
    python.chmod(0o755)
    done = bootstrap(clone, bare, PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert done.returncode == 1
    assert "could not install uv" in done.stderr
    assert "PIP_INDEX_URL" in done.stderr


@contextmanager
def index(folder: Path) -> Iterator[str]:
    """A package index of files, on loopback."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


def fetch_pip(folder: Path, url: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/fetch_pip.py, given as text, against that index."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return subprocess.run(
        [sys.executable, "-c", script, str(folder / "pip.whl")],
        env={**kept, "PIP_INDEX_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


def test_pip_is_fetched_from_the_users_index_and_only_if_it_is_the_one_expected(tmp_path: Path) -> None:
    script = (ROOT / "scripts/fetch_pip.py").read_text()
    name, wheel = "pip-25.0.1-py3-none-any.whl", b"a wheel"
    (tmp_path / "simple/pip").mkdir(parents=True)
    (tmp_path / "simple/pip/index.html").write_text(f'<a href="../../files/{name}#sha256=00">{name}</a>')
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / name).write_bytes(wheel)
    with index(tmp_path) as url:
        refused = fetch_pip(tmp_path, url, script)
        assert refused.returncode == 1
        assert "does not have the expected checksum of pip-25.0.1" in refused.stderr
        [pinned] = [line for line in script.splitlines() if line.startswith("SHA256")]
        fetched = fetch_pip(tmp_path, url, script.replace(pinned, f'SHA256 = "{hashlib.sha256(wheel).hexdigest()}"'))
        assert fetched.returncode == 0, fetched.stderr
    assert (tmp_path / "pip.whl").read_bytes() == wheel


def test_cleaning_spares_what_runs_and_what_jobs_made(clone: Path) -> None:
    state = clone / ".horae"
    (state / "backups").mkdir(parents=True)
    (state / "logs").mkdir()
    with project_lock(state):
        refused = subprocess.run(["make", "clean"], cwd=clone, capture_output=True, text=True, check=False)
        assert refused.returncode != 0
        assert "horae up is running here" in refused.stderr
    done = subprocess.run(["make", "clean"], cwd=clone, capture_output=True, text=True, check=False)
    assert (done.returncode, "kept .horae (backups)" in done.stdout) == (0, True), done.stderr
    assert not (state / "logs").exists()
