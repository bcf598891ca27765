"""Cleaning up one place, and what is told of it."""

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
"""Files that are named when they cannot be deleted."""


@dataclass(kw_only=True, slots=True)
class Cleaned:
    """What became of one place."""

    path: str
    """As configured."""
    there: bool = True
    files: int = 0
    """Files that were looked at."""
    deleted: int = 0
    """In a dry run: that would be deleted."""
    freed_bytes: int = 0
    unseen: str = ""
    """Why it was not, or not wholly, looked at."""
    failed: list[str] = field(default_factory=list)
    """What could not be deleted, with the reason."""

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
    """Delete what may go in one place. Never raises for what it finds there; run again, it goes on."""
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
        done.unseen = f"looked at {len(found)} files of {place.path} only: the time was over"
    except OSError as error:
        done.unseen = f"cannot look into {error.filename or folder}: {error.strerror}"
    done.files = len(found)
    # Of a part alone nobody can say which are the newest, or how large the whole is: only what is expired goes.
    going = doomed(found, place, now, youngest_seconds) if not done.unseen else [one for one in found if one.expired]
    _delete(going, done, deadline, dry_run=dry_run)
    if not dry_run:
        _drop_empty_folders(folder, {one.path.parent for one in going})
    return done


def _delete(going: Sequence[Found], done: Cleaned, deadline: float, *, dry_run: bool) -> None:
    for file in going:
        if monotonic() > deadline:
            left = len(going) - done.deleted - len(done.failed)
            done.unseen = done.unseen or f"{left} files of {done.path} are left to the next run: the time was over"
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
    """Delete the file, unless it was changed since it was looked at or its folder became a link; whether it went."""
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
    """Those that this run emptied, and their parents up to the place itself, which stays."""
    for folder in sorted(folders, key=lambda one: len(one.parts), reverse=True):
        while folder != top and top in folder.parents:
            try:
                folder.rmdir()
            except OSError:
                break  # it is not empty, or somebody else has it
            folder = folder.parent
