"""Which processes a template may fork."""

import subprocess
import sys

import pytest

ASKS = "from horae.execution.template import why_unfit; print(why_unfit())"


def why(before: str) -> str:
    """What a fresh process says after that code."""
    command = (sys.executable, "-c", f"{before}\n{ASKS}")
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_a_process_with_one_thread_may_be_forked() -> None:
    assert why("") == ""


def test_a_thread_of_python_makes_forking_unsafe() -> None:
    assert "starts a thread" in why(
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    )


@pytest.mark.parametrize("name", ["grpc", "polars", "pyarrow"])
def test_some_libraries_make_forking_unsafe(name: str) -> None:
    assert name in why(f"import sys, types; sys.modules[{name!r}] = types.ModuleType({name!r})")


def test_threads_of_openblas_are_safe_because_it_stops_them() -> None:
    pytest.importorskip("numpy")
    assert why("import numpy; a = numpy.random.rand(500, 500); a @ a") == ""
