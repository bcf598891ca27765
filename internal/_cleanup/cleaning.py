"""Cleans up one place and reports the result."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from horae import Settings
from horae.clock import monotonic
from internal._cleanup.files import Found, OutOfTime, doomed, files
from internal._cleanup.refusing import folder_of, refusal
from internal._cleanup.settings import Place

NAMED = 3
"""The most undeletable files that the result names."""


@dataclass(kw_only=True, slots=True)
class Cleaned:
    """The result for one place."""

    path: str
    """As configured."""
    there: bool = True
    files: int = 0
    """Files that were checked."""
    deleted: int = 0
    """Deleted files; in a dry run, files that would be deleted."""
    freed_bytes: int = 0
    unseen: str = ""
    """Why the place was not, or only partly, checked."""
    failed: list[str] = field(default_factory=list)
    """Files that could not be deleted, with the reason."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "there": self.there,
            "files": self.files,
            "deleted": self.deleted,
            "freed_bytes": self.freed_bytes,
            "unseen": self.unseen or None,
            "failed": self.failed[:NAMED],
        }


def clean(
    place: Place, settings: Settings, now: float, deadline: float, youngest_seconds: float, *, dry_run: bool
) -> Cleaned:
    """Delete the old and expired files of one place. Faults there are reported, not raised. A new run continues."""
    done = Cleaned(path=place.path)
    folder = folder_of(place, settings)
    done.unseen = refusal(folder, settings)
    if done.unseen:
        return done
    if not folder.is_dir():
        done.there = False
        return done
    found: list[Found] = []
    try:
        for one in files(folder, place, now, deadline):
            found.append(one)
    except OutOfTime:
        done.unseen = f"checked only {len(found)} files of {place.path}, because the time was over"
    except OSError as error:
        done.unseen = f"cannot read {error.filename or folder}: {error.strerror}"
    done.files = len(found)
    # A partial list does not show the newest files or the total size, so delete only expired files.
    going = doomed(found, place, now, youngest_seconds) if not done.unseen else [one for one in found if one.expired]
    _delete(going, done, deadline, dry_run=dry_run)
    if not dry_run:
        _drop_empty_folders(folder, {one.path.parent for one in going})
    return done


def _delete(going: Sequence[Found], done: Cleaned, deadline: float, *, dry_run: bool) -> None:
    for file in going:
        if monotonic() > deadline:
            left = len(going) - done.deleted - len(done.failed)
            done.unseen = done.unseen or (
                f"{left} files of {done.path} remain for the next run, because the time was over"
            )
            return
        try:
            if not dry_run and not _unlink(file):
                continue
        except OSError as error:
            done.failed.append(f"{file.path}: {error.strerror}")
            continue
        done.deleted += 1
        done.freed_bytes += file.disk_bytes


def _unlink(file: Found) -> bool:
    """Delete the file, unless it changed since it was checked or its folder became a link. True if it was deleted."""
    try:
        folder = os.open(file.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        status = os.stat(file.path.name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode) or status.st_mtime != file.changed:
            return False
        os.unlink(file.path.name, dir_fd=folder)
    except FileNotFoundError:
        return False
    finally:
        os.close(folder)
    return True


def _drop_empty_folders(top: Path, folders: set[Path]) -> None:
    """Remove the folders that this run emptied, and their empty parents, but not the place itself."""
    for folder in sorted(folders, key=lambda one: len(one.parts), reverse=True):
        while folder != top and top in folder.parents:
            try:
                folder.rmdir()
            except OSError:
                break  # not empty, or in use
            folder = folder.parent
