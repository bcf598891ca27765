"""The sweep of one repository."""

from dataclasses import dataclass
from datetime import datetime

from flows._sweep import git
from flows._sweep.content import Content, measure
from flows._sweep.lint import PYTHON, Complexity, Lint, RuffFailed, complexity, lint
from flows._sweep.repositories import Repository


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """The results for one repository. A sweep only reads."""

    repository: Repository
    work_tree: git.WorkTree
    last_commit_at: datetime | None
    days_since_commit: int | None
    """Whole days since the last commit; None without a commit."""
    content: Content
    lint: Lint | None
    """None: see `problems`."""
    complexity: Complexity | None
    notes: tuple[str, ...]
    """Remarks: detached, no commits, submodules, files that were not read."""
    problems: tuple[str, ...]
    """Measurements that failed, and why."""


def sweep(repository: Repository, now: datetime) -> Sweep:
    """Measure everything that git tracks; raises BrokenRepository with the reason.

    If ruff fails, the sweep continues and `problems` has the reason.
    """
    path = repository.path
    git.require_work_tree(path)
    work_tree = git.work_tree(path)
    tracked = git.tracked(path)
    content = measure(path, tracked.files)
    committed = git.last_commit(path) if work_tree.commit else None
    unread = set(content.unread)
    python = tuple(file for file in tracked.files if file.endswith(PYTHON) and file not in unread)
    problems: list[str] = []
    findings = functions = None
    try:
        findings = lint(path, python)
        functions = complexity(path, python)
    except RuffFailed as error:
        problems.append(error.message)
    return Sweep(
        repository=repository,
        work_tree=work_tree,
        last_commit_at=committed,
        days_since_commit=max(0, (now - committed).days) if committed else None,
        content=content,
        lint=findings,
        complexity=functions,
        notes=tuple(_notes(work_tree, tracked, content)),
        problems=tuple(problems),
    )


def _notes(work_tree: git.WorkTree, tracked: git.Tracked, content: Content) -> list[str]:
    notes = []
    if work_tree.commit is None:
        notes.append("no commits yet")
    elif work_tree.branch is None:
        notes.append(f"detached at {work_tree.commit[:12]}")
    if tracked.submodules:
        notes.append(f"submodules not entered: {', '.join(tracked.submodules)}")
    if content.unread:
        shown = ", ".join(content.unread[:5]) + (", …" if len(content.unread) > 5 else "")
        notes.append(f"{len(content.unread)} tracked files not read (missing, too large or not allowed): {shown}")
    return notes
