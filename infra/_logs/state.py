"""Remembers offsets and error patterns in one file. Replacing that file commits a run."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from horae import clock
from horae.errors import RunError
from infra._logs.marks import Mark

VERSION = 1
PATTERN_LIMIT = 10_000


class LogsNotCollected(RunError):
    """The logs could not be collected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """An error pattern that was met."""

    level: str
    pattern: str
    first_seen: str
    last_seen: str
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Followed:
    read_at: datetime
    marks: tuple[Mark, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    batch: int = 0
    """The number of the last committed run. Files of a higher one come from a run that died."""
    followed: Mapping[str, Followed] = field(default_factory=dict)
    """By source."""
    patterns: Mapping[str, Known] = field(default_factory=dict)
    """By their own text."""

    def without_old(self, now: datetime, keep_days: int) -> "State":
        """Drop patterns that were not met for `keep_days`. Of the rest keep `PATTERN_LIMIT`, the latest."""
        oldest = clock.isoformat(now - timedelta(days=keep_days))
        young = {text: known for text, known in self.patterns.items() if known.last_seen >= oldest}
        latest = sorted(young, key=lambda text: young[text].last_seen)[-PATTERN_LIMIT:]
        return replace(self, patterns={text: young[text] for text in latest})


def load(path: Path) -> State | None:
    """Read the file; None if there is none. Raises LogsNotCollected if it cannot be read."""
    try:
        values = json.loads(path.read_text())
        if values["version"] != VERSION:
            raise ValueError(f"it has version {values['version']}, but this program reads version {VERSION}")
        return State(
            batch=values["batch"],
            followed={
                source: Followed(
                    read_at=datetime.fromisoformat(one["read_at"]), marks=tuple(Mark(**mark) for mark in one["marks"])
                )
                for source, one in values["followed"].items()
            },
            patterns={known["pattern"]: Known(**known) for known in values["patterns"]},
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LogsNotCollected(
            f"the offsets in {path} cannot be read ({error}). Restore that file from a backup, or move the whole "
            "folder away to collect the logs again from their beginning"
        ) from error


def save(state: State, path: Path) -> None:
    """Replace the file, durably."""
    values: dict[str, Any] = {
        "version": VERSION,
        "batch": state.batch,
        "followed": {
            source: {"read_at": clock.isoformat(one.read_at), "marks": [mark.as_dict() for mark in one.marks]}
            for source, one in state.followed.items()
        },
        "patterns": [
            {
                "level": one.level,
                "pattern": one.pattern,
                "first_seen": one.first_seen,
                "last_seen": one.last_seen,
                "count": one.count,
            }
            for one in state.patterns.values()
        ],
    }
    new = path.with_name(path.name + ".new")
    with new.open("w") as file:
        os.fchmod(file.fileno(), 0o600)
        json.dump(values, file, ensure_ascii=True)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
