"""Runs git read-only: no locks, no monitors, no prompts, and a time limit on every call."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from horae.errors import HoraeError
from horae.programs import run_program

TIMEOUT_SECONDS = 60.0
# A repository's configuration may name a program as file system monitor, and `git status` would run it.
READ_ONLY = ("--no-optional-locks", "-c", "core.fsmonitor=false")
# A git hook sets these variables. With them every git command would use the repository of the hook.
OF_ANOTHER_REPOSITORY = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
}
SYMBOLIC_LINK, SUBMODULE = "120000", "160000"


class BrokenRepository(HoraeError):
    """This repository cannot be swept."""


class GitTimedOut(BrokenRepository):
    """Git did not answer in time; a retry may succeed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracked:
    """The tracked entries of a work tree, as paths relative to it."""

    files: tuple[str, ...]
    links: tuple[str, ...]
    submodules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkTree:
    """Branch, commit and uncommitted changes of a work tree."""

    branch: str | None
    """None: detached."""
    commit: str | None
    """The commit. None: there is no commit."""
    staged: int = 0
    changed: int = 0
    conflicted: int = 0
    untracked: int = 0
    """Untracked entries. A folder without tracked files counts once."""
    unpushed: int | None = None
    """Commits that the upstream branch does not have. None: there is no upstream branch."""


def git(repository: Path, *arguments: str, timeout_seconds: float = TIMEOUT_SECONDS) -> bytes:
    """Run git and return its output; raises BrokenRepository with git's reason, or GitTimedOut."""
    environment = {name: text for name, text in os.environ.items() if name not in OF_ANOTHER_REPOSITORY}
    environment |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
    command = ["git", *READ_ONLY, "-C", str(repository), *arguments]
    try:
        done = run_program(command, env=environment, timeout_seconds=timeout_seconds)
    except OSError as error:
        raise BrokenRepository(f"git cannot be started: {error}") from error
    if done.timed_out:
        raise GitTimedOut(f"git {arguments[0]} took longer than {timeout_seconds:g} s")
    if done.status:
        raise BrokenRepository(_reason(repository, done.stderr.decode(errors="replace")))
    return done.stdout


def _reason(repository: Path, said: str) -> str:
    if "dubious ownership" in said:
        return (
            "another user owns it and git refuses to read it; if you trust it, run: "
            f"git config --global --add safe.directory {repository}"
        )
    if "not a git repository" in said:
        return "not a git repository"
    if "cannot change to" in said and "Permission denied" in said:
        return "the folder may not be read"
    lines = [line for line in said.strip().splitlines() if line]
    return f"git says: {lines[-1].removeprefix('fatal: ')}" if lines else "git failed without a message"


def require_work_tree(repository: Path) -> None:
    """Raise BrokenRepository if the folder is not the top of a readable work tree."""
    if not repository.is_dir():
        raise BrokenRepository("it is not a folder" if repository.exists() else "the folder does not exist")
    if not os.access(repository, os.R_OK | os.X_OK):
        raise BrokenRepository("the folder may not be read")
    if git(repository, "rev-parse", "--is-bare-repository").strip() == b"true":
        raise BrokenRepository("a bare repository has no work tree to sweep; give a clone of it")
    top = Path(os.fsdecode(git(repository, "rev-parse", "--show-toplevel").rstrip(b"\n")))
    if top.resolve() != repository.resolve():
        raise BrokenRepository(f"it is a folder inside the repository {top}; give {top}")


def tracked(repository: Path) -> Tracked:
    """All entries of the index, in git's order. A file in conflict counts once."""
    found: dict[str, str] = {}
    for entry in git(repository, "ls-files", "-z", "--stage").split(b"\0"):
        about, tab, path = entry.partition(b"\t")
        if tab:
            found[os.fsdecode(path)] = about[:6].decode()

    def of(*modes: str) -> tuple[str, ...]:
        return tuple(path for path, mode in found.items() if mode in modes)

    files = tuple(path for path, mode in found.items() if mode not in (SYMBOLIC_LINK, SUBMODULE))
    return Tracked(files=files, links=of(SYMBOLIC_LINK), submodules=of(SUBMODULE))


def work_tree(repository: Path) -> WorkTree:
    """Branch, commit and uncommitted changes, from one `git status`."""
    said = git(repository, "status", "--porcelain=v2", "--branch", "-z", "--ignore-submodules=dirty")
    records = iter(said.split(b"\0"))
    headers: dict[str, str] = {}
    counts = {"staged": 0, "changed": 0, "conflicted": 0, "untracked": 0}
    for record in records:
        kind, _, rest = record.partition(b" ")
        if kind == b"#":
            name, _, text = rest.decode(errors="replace").partition(" ")
            headers[name] = text
        elif kind == b"?":
            counts["untracked"] += 1
        elif kind == b"u":
            counts["conflicted"] += 1
        elif kind in (b"1", b"2"):
            counts["staged"] += rest[:1] != b"."
            counts["changed"] += rest[1:2] != b"."
            if kind == b"2":
                next(records)  # the old name of a renamed file is a separate record
    branch, commit, ahead = headers.get("branch.head"), headers.get("branch.oid"), headers.get("branch.ab")
    return WorkTree(
        branch=None if branch == "(detached)" else branch,
        commit=None if commit == "(initial)" else commit,
        unpushed=int(ahead.split()[0]) if ahead else None,
        **counts,
    )


def last_commit(repository: Path) -> datetime:
    """When the checked-out commit was made; raises BrokenRepository if there is none."""
    said = git(repository, "log", "-1", "--format=%ct")
    return datetime.fromtimestamp(int(said), UTC)
