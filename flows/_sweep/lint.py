"""Lint findings and complexity of Python files, by ruff."""

import json
import os
import re
import shutil
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Any

from horae.errors import HoraeError
from horae.programs import run_program

TIMEOUT_SECONDS = 120.0
COMPLEXITY_LIMIT = 10
"""McCabe's limit. A function above it counts as too complex."""
PYTHON = (".py", ".pyi", ".ipynb")
WORST = 5
FILES_A_CALL = 500  # keeps the command line far below any system's limit
# A repository's configuration may have `fix = true`. A sweep must change nothing and leave no cache.
READ_ONLY = ("--no-fix", "--no-cache", "--exit-zero", "--quiet", "--output-format=json")


class RuffFailed(HoraeError):
    """Ruff did not give an answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lint:
    findings: int
    by_rule: dict[str, int]
    """The most frequent rule first."""
    configuration: str
    """`own` if the repository configures ruff at its root, else `default` for ruff's default rules."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """A function and its cyclomatic complexity."""

    file: str
    line: int
    name: str
    complexity: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Complexity:
    functions: int
    mean: float
    highest: int
    over_limit: int
    """Functions above COMPLEXITY_LIMIT."""
    worst: tuple[Function, ...]


def lint(repository: Path, files: tuple[str, ...]) -> Lint:
    """Findings by rule with the repository's configuration, or ruff's defaults; raises RuffFailed."""
    own = configures_ruff(repository)
    found = list(_ruff(repository, files, *([] if own else ["--isolated"]), "--force-exclude"))
    rules = Counter(str(finding["code"] or "syntax-error") for finding in found)
    return Lint(findings=len(found), by_rule=dict(rules.most_common()), configuration="own" if own else "default")


def complexity(repository: Path, files: tuple[str, ...]) -> Complexity:
    """Cyclomatic complexity of every function, even if the repository ignores the rule; raises RuffFailed."""
    every = ("--isolated", "--ignore-noqa", "--select=C901", "--config=lint.mccabe.max-complexity=0")
    functions = [
        Function(
            file=_relative(repository, finding["filename"]),
            line=finding["location"]["row"],
            name=said["name"],
            complexity=int(said["complexity"]),
        )
        for finding in _ruff(repository, files, *every)
        if (said := re.match(r"`(?P<name>.*)` is too complex \((?P<complexity>\d+) > 0\)", finding["message"]))
    ]
    worst = sorted(functions, key=lambda f: (-f.complexity, f.file, f.line))
    return Complexity(
        functions=len(functions),
        mean=round(sum(f.complexity for f in functions) / len(functions), 2) if functions else 0.0,
        highest=worst[0].complexity if worst else 0,
        over_limit=sum(f.complexity > COMPLEXITY_LIMIT for f in functions),
        worst=tuple(worst[:WORST]),
    )


def configures_ruff(repository: Path) -> bool:
    """Whether the root of the repository has a configuration for ruff."""
    if any((repository / name).is_file() for name in ("ruff.toml", ".ruff.toml")):
        return True
    try:
        return "ruff" in tomllib.loads((repository / "pyproject.toml").read_text()).get("tool", {})
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return True  # let ruff report what is wrong with the file


def _ruff(repository: Path, files: tuple[str, ...], *options: str) -> Iterator[dict[str, Any]]:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("RUFF_")}
    for some in batched(files, FILES_A_CALL, strict=False):
        command = [_program(), "check", *READ_ONLY, *options, "--", *(f"./{file}" for file in some)]
        done = run_program(command, cwd=repository, env=environment, timeout_seconds=TIMEOUT_SECONDS)
        if done.timed_out:
            raise RuffFailed(f"ruff took longer than {TIMEOUT_SECONDS:g} s")
        if done.status:
            raise RuffFailed(f"ruff failed: {_summary(done.stderr.decode(errors='replace'))}")
        yield from json.loads(done.stdout)


def _program() -> str:
    beside = Path(sys.executable).with_name("ruff")
    program = str(beside) if beside.is_file() else shutil.which("ruff")
    if program is None:
        raise RuffFailed("ruff is not installed; install it in the environment that runs the sweep")
    return program


def _summary(said: str) -> str:
    return " ".join(line.strip() for line in said.splitlines() if line.strip())[:400] or "without a message"


def _relative(repository: Path, file: str) -> str:
    path = Path(file)
    return str(path.relative_to(repository)) if path.is_relative_to(repository) else file
