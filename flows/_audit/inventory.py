"""Reads the packages that a repository depends on from all its lock files and manifests."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from glob import glob, has_magic
from pathlib import Path

from flows._audit import licences, other_locks, python_locks
from flows._audit.package import Package
from flows._audit.reading import Reading
from horae.errors import HoraeError

READERS: dict[str, Callable[[Path], Reading]] = {
    "uv.lock": python_locks.uv_lock,
    "pylock.toml": python_locks.pylock,
    "pylock.*.toml": python_locks.pylock,
    "poetry.lock": python_locks.poetry_lock,
    "requirements*.txt": python_locks.requirements,
    "package-lock.json": other_locks.package_lock,
    "npm-shrinkwrap.json": other_locks.package_lock,
    "go.mod": other_locks.go_mod,
    "Cargo.lock": other_locks.cargo_lock,
}
PYTHON_LOCKS = ("uv.lock", "pylock.toml", "poetry.lock")
NOT_READ = {
    "Pipfile.lock", "pdm.lock", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb", "Gemfile.lock", "composer.lock",
    "pom.xml", "gradle.lockfile", "packages.lock.json", "mix.lock", "Package.resolved", "pubspec.lock",
}  # fmt: skip
"""Lock files that the audit cannot read and reports as such."""
WITHOUT_LOCK = {"package.json": ("package-lock.json", "npm-shrinkwrap.json"), "Cargo.toml": ("Cargo.lock",)}
"""Manifests without versions, with their lock files. They can be audited only with a lock file beside or above them."""
PRUNED = {"node_modules", "vendor", "target", "venv", "site-packages", "__pycache__", "dist", "build", "testdata"}
"""Folders with manifests of third parties, which are left out. Folders whose name begins with a dot are too."""


class NotAudited(HoraeError):
    """This repository cannot be audited."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inventory:
    """The packages and problems of one repository."""

    name: str
    path: Path
    packages: dict[Package, tuple[str, ...]]
    """Each package with the files that name it."""
    files: dict[str, int]
    """Each file that was read, with the number of its packages."""
    unread: tuple[str, ...]
    """A sentence for each file or dependency that could not be read."""
    damaged: tuple[str, ...] = ()
    """Files that could not be read; `unread` says why."""
    licences: dict[Package, str] = field(default_factory=dict)
    """Licences that the repository's own files declare."""


def discover(project: Path, patterns: list[str]) -> list[tuple[str, Path]]:
    """Name and path of each repository, in the given order, each once. A glob matches folders that contain a `.git`."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        place = Path(os.path.normpath(project / Path(pattern).expanduser()))
        matches = [place]
        if has_magic(pattern) and not place.exists():
            matches = [Path(match) for match in sorted(glob(str(place))) if (Path(match) / ".git").exists()] or [place]
        for match in matches:
            found.setdefault(match.absolute())
    names = [path.name for path in found]
    return [(name if names.count(name) == 1 else str(path), path) for name, path in zip(names, found, strict=True)]


def take(name: str, path: Path) -> Inventory:
    """Read all lock files and manifests of a repository; raises NotAudited if it has none or does not exist."""
    if not path.is_dir():
        raise NotAudited("it is not a folder" if path.exists() else "the folder does not exist")
    files = sorted(_walk(path))
    packages: dict[Package, list[str]] = {}
    counts: dict[str, int] = {}
    known: dict[Package, str] = {}
    unread = list(_without_lock(path, files))
    damaged = []
    for file in files:
        reader = _reader(file)
        if reader is None:
            continue
        shown = file.relative_to(path).as_posix()
        try:
            reading = reader(file)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            unread.append(
                f"{shown} cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
            )
            damaged.append(shown)
            continue
        unread += [f"{shown}: {sentence}" for sentence in reading.unread]
        counts[shown] = len(set(reading.packages))
        known |= reading.licences
        for package in dict.fromkeys(reading.packages):
            packages.setdefault(package, []).append(shown)
    if not counts and not unread:
        raise NotAudited("it has no lock file or manifest of a supported kind")
    return Inventory(
        name=name,
        path=path,
        packages={package: tuple(places) for package, places in sorted(packages.items())},
        files=counts,
        unread=tuple(unread),
        damaged=tuple(damaged),
        licences=known | licences.of_environment(path, packages),
    )


def _walk(path: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(path):
        names[:] = sorted(name for name in names if name not in PRUNED and not name.startswith("."))
        yield from (Path(folder, file) for file in files)


def _reader(file: Path) -> Callable[[Path], Reading] | None:
    if file.name == "pyproject.toml":
        return None if _locked(file, PYTHON_LOCKS) else python_locks.pyproject
    return next((reader for pattern, reader in READERS.items() if fnmatch(file.name, pattern)), None)


def _locked(manifest: Path, locks: tuple[str, ...]) -> bool:
    """Whether one of the lock files is beside the manifest or above it, up to the top of the repository."""
    for folder in manifest.parents:
        if any((folder / lock).is_file() for lock in locks):
            return True
        if (folder / ".git").exists():
            return False
    return False


def _without_lock(path: Path, files: list[Path]) -> Iterator[str]:
    for file in files:
        shown = file.relative_to(path).as_posix()
        if file.name in NOT_READ:
            yield f"{shown} is a file of an unsupported kind"
        elif (locks := WITHOUT_LOCK.get(file.name)) and not _locked(file, locks):
            yield f"{shown} has no {locks[0]}, so its versions are unknown"
