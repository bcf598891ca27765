"""The version of the job definitions. A sidecar with a newer version takes over a job from an older one."""

from pathlib import Path

from horae.programs import run_program
from horae.settings import Settings

GIT_SECONDS = 10


def revision_of(settings: Settings) -> int:
    """The configured revision. Default, in Unix seconds: the time of the commit, or of the newest job file with
    uncommitted changes.
    """
    if settings.revision is not None:
        return settings.revision
    project = settings.project
    committed = _git(project, "log", "-1", "--format=%ct")
    changed = _git(project, "status", "--porcelain", "--", *settings.folders.all)
    if committed.isdigit() and not changed:
        return int(committed)
    newest = [path.stat().st_mtime for folder in settings.folders.all for path in (project / folder).glob("*.py")]
    return int(max([*newest, float(committed) if committed.isdigit() else 0.0]))


def _git(project: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(project), *arguments]
    try:
        done = run_program(command, timeout_seconds=GIT_SECONDS)
    except OSError:
        return ""
    return "" if done.timed_out or done.status else done.stdout.decode(errors="replace").strip()
