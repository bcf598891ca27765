"""A virtual environment for each peer, made with uv once and kept: `.horae/bench/environments/NAME`."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.errors import BenchError

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".horae/bench/environments"
REQUIREMENTS = Path(__file__).parent / "requirements"


def find_uv() -> str:
    """The uv that scripts/bootstrap uses, looked for where it looks; raises BenchError."""
    tools = ROOT / ".horae/tools"
    places = [tools / "uv/bin/uv", tools / "uv-target/bin/uv", shutil.which("uv"), Path.home() / ".local/bin/uv"]
    for place in places:
        if (
            place
            and os.access(place, os.X_OK)
            and subprocess.run([place, "--version"], capture_output=True).returncode == 0
        ):
            return str(place)
    raise BenchError("uv is missing, which creates the environments of the peers; `make setup` finds or installs it")


def python_of(name: str, say: Callable[[str], None]) -> Path:
    """The interpreter of that peer's environment, with exactly what `requirements/NAME.txt` pins; raises BenchError."""
    requirements = REQUIREMENTS / f"{name}.txt"
    folder, wanted = KEPT / name, hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    python, stamp = folder / "bin/python", folder / "horae-bench.stamp"
    if python.exists() and stamp.is_file() and stamp.read_text() == wanted:
        return python
    say(f"creating the environment of {name} in {folder.relative_to(ROOT)}")
    uv = find_uv()
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    _run(uv, "venv", "--quiet", "--clear", "--no-project", "--python", str(base), str(folder))
    _run(uv, "pip", "sync", "--quiet", "--compile-bytecode", "--python", str(python), str(requirements))
    stamp.write_text(wanted)
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command[1:3])} failed:\n{done.stderr.strip()[-1500:]}")
