"""Another revision of Horae to run beside this one: a git worktree with an environment of its own, kept in .horae/."""

import subprocess

from chaos.record import OLDER
from horae.errors import UsageError
from tests.processes import ROOT, Checkout

KEPT = ROOT / ".horae/beside"


def commit_of(revision: str) -> str:
    """Its full hash; raises UsageError where the history does not have it."""
    found = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if found.returncode:
        raise UsageError(
            f"--beside {revision!r}: the repository does not have this revision; `git fetch --unshallow` completes "
            "a shallow clone"
        )
    return found.stdout.strip()


def prepared(revision: str) -> Checkout:
    """Check it out and install what its lock file names, unless that was done before; raises UsageError."""
    commit = commit_of(revision)
    root = KEPT / commit
    if not (root / "scripts/bootstrap").exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        _git("worktree", "prune")
        added = _git("worktree", "add", "--detach", "--force", str(root), commit)
        if added.returncode:
            raise UsageError(f"--beside {revision!r} cannot be checked out: {added.stderr.strip()}")
    installed = subprocess.run([root / "scripts/bootstrap"], cwd=root, capture_output=True, text=True, check=False)
    if installed.returncode:
        raise UsageError(f"--beside {revision!r} cannot be set up: {installed.stderr.strip()}")
    # Not this checkout itself: its `horae` would go before that of the revision.
    path = KEPT / "path"
    path.mkdir(exist_ok=True)
    link = path / "chaos"
    if not link.is_symlink():
        link.symlink_to(ROOT / "chaos")
    return Checkout(root=root, python=root / ".venv/bin/python", path=path, mark=OLDER)


def _git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
