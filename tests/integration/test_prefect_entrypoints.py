"""Where Prefect loads a flow from an entrypoint, Horae reads it, or says that it could not."""

import contextlib
import sys
import warnings
from pathlib import Path

import pytest
from prefect.exceptions import MissingFlowError, ScriptError
from prefect.flows import load_flow_from_entrypoint

from horae.errors import InvalidJob
from horae.prefect.yaml import read_flow

PLAIN = "from prefect import flow\n"
SOURCE = (
    PLAIN
    + """
import functools

def _plain() -> None: ...

made = flow(_plain, name="made")
also = flow(name="also")(_plain)
renamed = made

def ours(function):
    return flow(function, name="ours")

@ours
def wrapped() -> None: ...

@flow(name="na" + "med")
def computed() -> None: ...

@flow
def _hidden_name() -> None: ...

class Jobs:
    @staticmethod
    @flow
    def nightly(x: int = 1) -> None: ...

    @flow
    def method(self, y: int) -> None: ...

if True:
    @flow
    def guarded() -> None: ...
else:
    guarded = None

try:
    import json
    @flow
    def tried() -> None: ...
except ImportError:
    tried = None

with __import__('contextlib').suppress():
    @flow
    def within() -> None: ...

from horae_package.deep import imported, imported as again
"""
)
FILES: dict[str, bytes] = {
    "flows/b.py": SOURCE.encode(),
    "flows/bom.py": b"\xef\xbb\xbf" + PLAIN.encode() + b"@flow\ndef bom() -> None: ...\n",
    "flows/latin.py": b"# -*- coding: latin-1 -*-\n" + PLAIN.encode() + b"@flow\ndef latin(): return 'caf\xe9'\n",
    "flows/broken.py": b"def x(:\n",
    "horae_package/__init__.py": PLAIN.encode() + b"@flow\ndef top() -> None: ...\n",
    "horae_package/deep.py": PLAIN.encode() + b"@flow(name='deep')\ndef imported() -> None: ...\n",
}
READ = (
    "flows/b.py:made", "flows/b.py:also", "flows/b.py:renamed", "flows/b.py:_hidden_name", "flows/b.py:Jobs.nightly",
    "flows/b.py:Jobs.method", "flows/b.py:guarded", "flows/b.py:tried", "flows/b.py:within", "flows/b.py:imported",
    "flows/b.py:again", "./flows/b.py:made", "flows/../flows/b.py:made", "flows/bom.py:bom", "flows/latin.py:latin",
    "horae_package:top", "horae_package.top", "horae_package.deep:imported", "horae_package.deep.imported",
)  # fmt: skip
UNREAD = ("flows/b.py:wrapped", "flows/b.py:computed")
REFUSED = (
    "flows/b.py:_plain", "flows/b.py:nobody", "flows/b.py:Jobs", "flows/b.py:Jobs.nobody", "flows/none.py:made",
    "flows/broken.py:x", "horae_package.none:top", "horae_package.deep.nobody",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("entrypoints")
    for name, content in FILES.items():
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_bytes(content)
    return made


def prefects_name(folder: Path, entrypoint: str) -> str | None:
    """The name of the flow that Prefect loads; None when it refuses."""
    before = sys.path[:]
    sys.path.insert(0, str(folder))
    try:
        with contextlib.chdir(folder), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return str(load_flow_from_entrypoint(entrypoint).name)
    except (MissingFlowError, ScriptError, AttributeError, ModuleNotFoundError, FileNotFoundError, SyntaxError):
        return None
    finally:
        sys.path[:] = before


@pytest.mark.parametrize("entrypoint", READ)
def test_what_prefect_loads_is_read_with_the_same_name(folder: Path, entrypoint: str) -> None:
    found = read_flow(folder, entrypoint)
    assert (found.name, found.unread) == (prefects_name(folder, entrypoint), "")


@pytest.mark.parametrize("entrypoint", UNREAD)
def test_what_only_running_tells_of_is_no_error(folder: Path, entrypoint: str) -> None:
    assert prefects_name(folder, entrypoint)
    assert read_flow(folder, entrypoint).unread


@pytest.mark.parametrize("entrypoint", REFUSED)
def test_what_prefect_refuses_is_refused(folder: Path, entrypoint: str) -> None:
    assert prefects_name(folder, entrypoint) is None
    with pytest.raises(InvalidJob):
        read_flow(folder, entrypoint)
