"""Python's lock files and manifests: uv.lock, pylock.toml, poetry.lock, pyproject.toml, requirements files."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows._audit.package import Ecosystem, Package, normalised, package
from flows._audit.reading import Reading


def uv_lock(path: Path) -> Reading:
    """What `uv lock` wrote. The project itself and other local packages are left out."""
    packages, unread = [], []
    for entry in _tables(path, "package"):
        source = entry.get("source", {})
        if "registry" in source and "version" in entry:
            packages.append(package(Ecosystem.PYPI, entry["name"], entry["version"]))
        elif origin := next((kind for kind in ("git", "url", "path") if kind in source), None):
            unread.append(f"{entry['name']} comes from a {origin} source, which no vulnerability database covers")
    return Reading(packages=tuple(packages), unread=tuple(unread))


def pylock(path: Path) -> Reading:
    """A pylock.toml (PEP 751) of any tool."""
    packages, unread = [], []
    for entry in _tables(path, "packages"):
        if origin := next((kind for kind in ("vcs", "archive") if kind in entry), None):
            unread.append(f"{entry['name']} comes from a {origin} source, which no vulnerability database covers")
        elif "version" in entry:
            packages.append(package(Ecosystem.PYPI, entry["name"], entry["version"]))
        elif "directory" not in entry:
            unread.append(f"{entry['name']} has no version")
    return Reading(packages=tuple(packages), unread=tuple(unread))


def poetry_lock(path: Path) -> Reading:
    """What `poetry lock` wrote."""
    packages, unread = [], []
    for entry in _tables(path, "package"):
        kind = entry.get("source", {}).get("type")
        if kind in ("git", "url", "file"):
            unread.append(f"{entry['name']} comes from a {kind} source, which no vulnerability database covers")
        elif kind != "directory":
            packages.append(package(Ecosystem.PYPI, entry["name"], entry["version"]))
    return Reading(packages=tuple(packages), unread=tuple(unread))


def pyproject(path: Path) -> Reading:
    """The dependencies of a project without a lock file. Only exact pins have a version."""
    project = tomllib.loads(path.read_text()).get("project", {})
    lines = [*project.get("dependencies", [])]
    for extra in project.get("optional-dependencies", {}).values():
        lines += extra
    return _requirements(lines, own=normalised(Ecosystem.PYPI, str(project.get("name", ""))))


def requirements(path: Path) -> Reading:
    """A requirements file, and the files that it includes by `-r`. A file outside its folder is not read."""
    lines, unread = [], []
    waiting, seen = [path], set()
    while waiting:
        file = waiting.pop()
        seen.add(file.resolve())
        for line in _logical_lines(file.read_text()):
            included = re.match(r"(?:-r|--requirement)[ =]?\s*(\S+)", line)
            if included is None:
                lines.append(line)
                continue
            other = file.parent / included[1]
            if not other.resolve().is_relative_to(path.parent.resolve()) or not other.is_file():
                unread.append(f"{file.name} includes {included[1]}, which does not exist or is outside its folder")
            elif other.resolve() not in seen:
                waiting.append(other)
    found = _requirements(lines)
    return Reading(packages=found.packages, unread=(*unread, *found.unread))


def _requirements(lines: list[str], own: str = "") -> Reading:
    """Requirement lines. An extra of the project itself (`own`) is not a dependency."""
    from packaging.requirements import InvalidRequirement, Requirement

    packages: list[Package] = []
    unread = []
    for line in lines:
        if line.startswith("-") and not line.startswith(("-e", "--editable")):
            continue  # an option of pip
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            unread.append(f"{line!r} is not a requirement with a name and a version")
            continue
        pins = [one.version for one in wanted.specifier if one.operator in ("==", "===") and "*" not in one.version]
        if normalised(Ecosystem.PYPI, wanted.name) == own:
            continue
        if pins:
            packages.append(package(Ecosystem.PYPI, wanted.name, pins[0]))
        else:
            unread.append(f"{wanted.name} is not pinned to a version ({line!r})")
    return Reading(packages=tuple(packages), unread=tuple(unread))


def _logical_lines(text: str) -> Iterator[str]:
    """Lines with their continuations, without comments and without the hashes of a pin."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        stripped = re.sub(r"(^|\s)#.*$", "", line).strip()
        stripped = re.sub(r"\s--hash[= ]\S+", "", stripped).strip()
        if stripped:
            yield stripped


def _tables(path: Path, name: str) -> list[dict[str, Any]]:
    found = tomllib.loads(path.read_text()).get(name)
    if found is None:
        raise ValueError(f"it has no [[{name}]]")
    return list(found)
