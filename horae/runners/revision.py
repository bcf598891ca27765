"""Which version of the job definitions this is: a newer one takes over, an older one stands aside."""

import subprocess
from pathlib import Path

from horae.settings import Settings

FOLDERS = ("infra", "internal", "flows")


def revision_of(settings: Settings) -> int:
    """The configured revision, else the commit's time, or the time of the newest job file that is not committed as it
    is, in Unix seconds."""
    if settings.revision is not None:
        return settings.revision
    project = settings.project
    committed = _git(project, "log", "-1", "--format=%ct")
    changed = _git(project, "status", "--porcelain", "--", *FOLDERS)
    if committed.isdigit() and not changed:
        return int(committed)
    newest = [path.stat().st_mtime for folder in FOLDERS for path in (project / folder).glob("*.py")]
    return int(max([*newest, float(committed) if committed.isdigit() else 0.0]))


def _git(project: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(project), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
