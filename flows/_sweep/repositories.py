"""Which repositories a sweep looks at: paths and globs, relative to the project."""

import os
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A place to sweep. It may turn out not to be a repository: then the sweep says so."""

    name: str
    """The path as a reader of the project knows it; unique in one sweep."""
    path: Path


def discover(project: Path, patterns: list[str]) -> list[Repository]:
    """The repositories in the order named, each once.

    A path is taken as it is, so that a wrong one is named in the report. A glob gives the folders that hold a
    `.git`; one that gives none is itself taken as a path, and so named too.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        place = Path(os.path.normpath(project / Path(pattern).expanduser()))
        if has_magic(pattern) and not place.exists():
            matches = [Path(match) for match in sorted(glob(str(place), recursive=True))]
            folders = [match for match in matches if (match / ".git").exists()]
        else:
            folders = [place]
        for folder in folders or [place]:
            found.setdefault(_resolved(folder))
    names = [_name(path, project.resolve()) for path in found]
    return [
        Repository(name=name if names.count(name) == 1 else str(path), path=path)
        for name, path in zip(names, found, strict=True)
    ]


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a loop of links: let the sweep of it fail
        return path.absolute()


def _name(path: Path, project: Path) -> str:
    if path == project:
        return project.name
    return str(path.relative_to(project)) if path.is_relative_to(project) else path.name
