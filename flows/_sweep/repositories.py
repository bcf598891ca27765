"""Finds the repositories of a sweep from paths and globs, relative to the project."""

import os
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A folder to sweep. If it is not a repository, the sweep reports that."""

    name: str
    """The path relative to the project; unique in one sweep."""
    path: Path


def discover(project: Path, patterns: list[str]) -> list[Repository]:
    """The repositories in the given order, each once.

    A path is used as it is, so the report names a wrong path. A glob matches the folders that contain a `.git`. A
    glob without matches is used as a path, so the report names it too.
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
    except (OSError, RuntimeError):  # a loop of links: the sweep reports it
        return path.absolute()


def _name(path: Path, project: Path) -> str:
    if path == project:
        return project.name
    return str(path.relative_to(project)) if path.is_relative_to(project) else path.name
