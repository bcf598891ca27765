"""A folder that is scanned: its files, and git, asked without changing anything."""

import fnmatch
import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from infra._scan.finding import ScanFailed

# A repository's own configuration may name programs that git would run.
READ_ONLY = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
SKIPPED = {
    ".git",
    ".venv",
    "venv",
    "node_modules",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".tox",
}
"""Folders of dependencies and caches. They are not walked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    name: str
    path: Path
    has_git: bool
    files: tuple[str, ...]
    """Paths of the scanned files within the repository: what git tracks or would track, or all without git."""
    tracked: frozenset[str]
    excluded: int
    """Files that the settings leave out."""
    not_seen: tuple[str, ...]
    """Folders that cannot be read."""


def discover(project: Path, patterns: Sequence[str]) -> list[tuple[str, Path]]:
    """Name and path of each folder, once. A glob that matches nothing stays, so that it is named."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        place = Path(os.path.normpath(project / Path(pattern).expanduser()))
        matches = [Path(match) for match in sorted(glob(str(place)))] if has_magic(str(place)) else []
        folders = [match for match in matches if (match / ".git").exists()]
        found |= dict.fromkeys(folders or [place])
    return [(_name(path, project), path) for path in found]


def opened(name: str, path: Path, exclude: Sequence[str], timeout_seconds: float) -> Repository:
    """Look at a folder; raises ScanFailed with the reason why it cannot be scanned."""
    if not path.is_dir():
        raise ScanFailed("it is not a folder" if path.exists() else "the folder does not exist")
    if not os.access(path, os.R_OK | os.X_OK):
        raise ScanFailed("the folder may not be read")
    has_git = (path / ".git").exists()
    not_seen: list[str] = []
    tracked: frozenset[str] = frozenset()
    if has_git:
        git(path, "rev-parse", "--git-dir", timeout_seconds=timeout_seconds)
        tracked = frozenset(_listed(git(path, "ls-files", "-z", "--cached", timeout_seconds=timeout_seconds)))
        other = _listed(git(path, "ls-files", "-z", "--others", "--exclude-standard", timeout_seconds=timeout_seconds))
        names = sorted({*tracked, *other})
    else:
        not_seen.append("it is not a git repository: there is no history to scan, and all files are scanned")
        names = [str(file.relative_to(path)) for file in walk(path, not_seen) if file.is_file()]
    if submodules := [one for one in names if (path / one).is_dir() and not (path / one).is_symlink()]:
        not_seen.append(f"submodules are not scanned; give them in `repos`: {', '.join(submodules[:5])}")
    files = [one for one in names if (path / one).is_file() and not (path / one).is_symlink()]
    kept = [one for one in files if not any(fnmatch.fnmatch(one, pattern) for pattern in exclude)]
    return Repository(
        name=name,
        path=path,
        has_git=has_git,
        files=tuple(kept),
        tracked=tracked,
        excluded=len(files) - len(kept),
        not_seen=tuple(not_seen),
    )


def walk(folder: Path, not_seen: list[str]) -> Iterable[Path]:
    """Yield every file and folder below, except dependencies and caches. Unreadable folders are added to `not_seen`."""

    def unreadable(error: OSError) -> None:
        not_seen.append(f"{error.filename} cannot be read: {error.strerror}")

    for root, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(one for one in folders if one not in SKIPPED)
        yield from (Path(root) / one for one in [*folders, *sorted(files)])


def git_command(path: Path, *arguments: str) -> list[str]:
    return ["git", *READ_ONLY, "-C", str(path), *arguments]


def git_environment() -> dict[str, str]:
    """Without the variables of another repository, which a git hook sets."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    return kept | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}


def git(path: Path, *arguments: str, timeout_seconds: float, given: str = "") -> str:
    """What git prints; `given` goes to its standard input. Raises ScanFailed."""
    try:
        done = subprocess.run(
            git_command(path, *arguments),
            env=git_environment(),
            input=given.encode(),
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ScanFailed(f"git {arguments[0]} took longer than {timeout_seconds:g} s") from None
    except OSError as error:
        raise ScanFailed(f"git cannot be started: {error.strerror}") from error
    if done.returncode:
        raise ScanFailed(reason(path, done.stderr.decode(errors="replace")))
    return os.fsdecode(done.stdout)


def reason(path: Path, said: str) -> str:
    """Git's words as a sentence, with the way out."""
    if "dubious ownership" in said:
        return (
            "another user owns it and git refuses to read it; if you trust it, run: "
            f"git config --global --add safe.directory {path}"
        )
    lines = [line for line in said.strip().splitlines() if line]
    return f"git says: {lines[-1].removeprefix('fatal: ')}" if lines else "git failed without a message"


def _listed(text: str) -> list[str]:
    return [one for one in text.split("\0") if one]


def _name(path: Path, project: Path) -> str:
    if path == project:
        return project.name or "project"
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)
