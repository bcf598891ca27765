"""Watches the files that define the jobs while `horae up` runs."""

from pathlib import Path

from horae.settings import FILE as SETTINGS_FILE
from horae.settings import Settings

type Stamp = tuple[int, int]
"""The time of the last write in nanoseconds, and the size."""


class JobFiles:
    """`changed` returns changes when writing has paused, because an editor may write a file in several steps."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known = self._now = self._look()

    def changed(self) -> list[str]:
        """Files that were added, edited or removed since the last answer, relative to the project. None while files
        still change.
        """
        before, self._now = self._now, self._look()
        if self._now != before:
            return []
        found = {path for path, stamp in self._now.items() ^ self._known.items()}
        self._known = self._now
        return sorted(found)

    def _look(self) -> dict[str, Stamp]:
        project, found = self._settings.project, {}
        files = [project / SETTINGS_FILE]
        for pattern in self._settings.prefect.files:
            files += [] if Path(pattern).is_absolute() else project.glob(pattern)
        for folder in self._settings.folders.all:
            files += (project / folder).rglob("*.py")
        for path in files:
            try:
                status = path.stat()
            except OSError:
                continue  # the file does not exist, or was removed meanwhile
            found[path.relative_to(project).as_posix()] = (status.st_mtime_ns, status.st_size)
        return found


def needs_restart(files: list[str]) -> list[str]:
    """The changed files that only a new start of `horae up` reads: settings and deployments."""
    return [file for file in files if not file.endswith(".py")]
