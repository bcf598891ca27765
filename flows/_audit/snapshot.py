"""Reads vulnerabilities from a folder of OSV records, for machines without access to a service.

The folder contains, at any depth, JSON or YAML files or the `all.zip` of each ecosystem as OSV publishes it. A clone of
https://github.com/pypa/advisory-database is an example.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows._audit import osv
from flows._audit.answers import Answer, Database, nothing
from flows._audit.package import Package, normalised

SHOWN = 3
"""The most unreadable files that a warning names."""


@dataclass(kw_only=True, slots=True)
class _Read:
    """The records and problems found in the folder."""

    wanted: frozenset[tuple[str, str]]
    counts: dict[str, int] = field(default_factory=dict)
    newest: dict[str, datetime] = field(default_factory=dict)
    records: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    def add(self, record: dict[str, Any]) -> None:
        named = {
            (str(about.get("ecosystem", "")).partition(":")[0], str(about.get("name", "")))
            for entry in record["affected"]
            if (about := entry.get("package"))
        }
        modified = _instant(record["modified"])
        for ecosystem in {ecosystem for ecosystem, _ in named}:
            self.counts[ecosystem] = self.counts.get(ecosystem, 0) + 1
            self.newest[ecosystem] = max(modified, self.newest.get(ecosystem, modified))
        if not record.get("withdrawn"):
            for key in {(ecosystem, normalised(ecosystem, name)) for ecosystem, name in named} & self.wanted:
                self.records.setdefault(key, []).append(record)


def ask(folder: Path, packages: Iterable[Package], now: datetime, max_age_days: float) -> Answer:
    """Look the packages up. An ecosystem without records counts as not checked; old records give a warning."""
    packages = list(packages)
    if not folder.is_dir():
        return nothing(packages, f"the snapshot {folder} is not a folder")
    read = _read(folder, packages)
    checked: dict[Package, tuple[osv.Advisory, ...]] = {}
    unchecked: dict[Package, str] = {}
    for package in packages:
        if not read.counts.get(package.ecosystem):
            unchecked[package] = f"the snapshot {folder} has no record of {package.ecosystem}"
            continue
        try:
            records = [
                one for one in read.records.get((package.ecosystem, package.name), []) if osv.affects(one, package)
            ]
            checked[package] = osv.merged(osv.advisory(one, package) for one in records)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            unchecked[package] = f"its version cannot be compared with a record: {error}"
    asked = sorted({package.ecosystem for package in packages})
    databases = tuple(
        Database(
            ecosystem=one, source=f"snapshot {folder}", records=read.counts.get(one, 0), newest=read.newest.get(one)
        )
        for one in asked
    )
    return Answer(
        checked=checked,
        unchecked=unchecked,
        databases=databases,
        warnings=tuple(_warnings(folder, read, databases, now, max_age_days)),
    )


def _warnings(
    folder: Path, read: _Read, databases: tuple[Database, ...], now: datetime, max_age_days: float
) -> Iterator[str]:
    for database in databases:
        age = database.age(now)
        if age is not None and age.total_seconds() > max_age_days * 86_400:
            yield (
                f"the newest {database.ecosystem} record of the snapshot is {age.days} days old (limit "
                f"{max_age_days:g}); the snapshot does not have vulnerabilities that were published since"
            )
    if read.unreadable:
        shown = ", ".join(read.unreadable[:SHOWN]) + (", …" if len(read.unreadable) > SHOWN else "")
        yield f"{len(read.unreadable)} files of the snapshot {folder} cannot be read: {shown}"


def _read(folder: Path, packages: list[Package]) -> _Read:
    read = _Read(wanted=frozenset((str(one.ecosystem), one.name) for one in packages))
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".json", ".yaml", ".yml", ".zip") or not path.is_file():
            continue
        if ".git" in path.parts or path.name.startswith("."):
            continue
        try:
            for name, text in _texts(path):
                _take(read, name, text)
        except (OSError, zipfile.BadZipFile) as error:
            read.unreadable.append(f"{path.relative_to(folder)} ({error})")
    return read


def _texts(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix != ".zip":
        yield path.name, path.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith((".json", ".yaml", ".yml")):
                yield name, archive.read(name)


def _take(read: _Read, name: str, text: bytes) -> None:
    """Add one record. Files that are not records, such as a tool's settings, are left out."""
    try:
        record = json.loads(text) if name.endswith(".json") else _yaml(text)
    except ValueError:
        read.unreadable.append(name)
        return
    if not isinstance(record, dict) or "id" not in record or "modified" not in record:
        return
    try:
        if record.get("affected"):
            read.add(record)
    except (ValueError, KeyError, TypeError, AttributeError):
        read.unreadable.append(name)


def _yaml(text: bytes) -> Any:
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _instant(value: object) -> datetime:
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)
