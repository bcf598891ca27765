"""Lock files of npm, Go and Rust."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows._audit.package import Ecosystem, Package, package
from flows._audit.reading import Reading

REQUIRE = re.compile(r"^\s*(?:require\s+)?(?P<name>[^\s()]+)\s+(?P<version>v[^\s]+)")
REPLACE = re.compile(
    r"^\s*(?:replace\s+)?(?P<name>\S+)(?:\s+(?P<at>v\S+))?\s+=>\s+(?P<other>\S+)(?:\s+(?P<version>v\S+))?"
)


def package_lock(path: Path) -> Reading:
    """npm's package-lock.json or npm-shrinkwrap.json, of version 1, 2 or 3."""
    document = json.loads(path.read_text())
    if "packages" in document:
        entries = list(_installed(document["packages"]))
    elif "dependencies" in document:
        entries = list(_nested(document["dependencies"]))
    elif document.get("lockfileVersion"):
        entries = []
    else:
        raise ValueError("it has neither `packages` nor `dependencies`")
    packages, unread, licences = [], [], {}
    for name, entry in entries:
        version = str(entry.get("version", ""))
        if re.match(r"(git|file|https?|github)[:+]", str(entry.get("resolved") or version)) and not re.match(
            r"https?://[^ ]+\.tgz", str(entry.get("resolved", ""))
        ):
            unread.append(
                f"{name} comes from {entry.get('resolved') or version}, which no vulnerability database covers"
            )
        elif version:
            found = package(Ecosystem.NPM, name, version)
            packages.append(found)
            if isinstance(entry.get("license"), str):
                licences[found] = entry["license"]
    return Reading(packages=tuple(packages), unread=tuple(unread), licences=licences)


def _installed(packages: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for place, entry in packages.items():
        if "node_modules/" in place and not entry.get("link"):
            yield entry.get("name") or place.rpartition("node_modules/")[2], entry


def _nested(dependencies: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, entry in dependencies.items():
        yield name, entry
        yield from _nested(entry.get("dependencies", {}))


def go_mod(path: Path) -> Reading:
    """The modules that a go.mod requires, after its replacements."""
    required: dict[str, str] = {}
    replaced: list[re.Match[str]] = []
    block = ""
    for raw in path.read_text().splitlines():
        line = raw.partition("//")[0].rstrip()
        opened = re.match(r"^\s*(\w+)\s*\($", line)
        if opened:
            block = opened[1]
        elif line.strip() == ")":
            block = ""
        elif block == "require" or line.startswith("require "):
            if found := REQUIRE.match(line):
                required[found["name"]] = found["version"]
        elif (block == "replace" or line.startswith("replace ")) and (found := REPLACE.match(line)):
            replaced.append(found)
    unread = []
    for found in replaced:
        if found["name"] not in required or found["at"] not in (None, required[found["name"]]):
            continue
        del required[found["name"]]
        if found["version"]:
            required[found["other"]] = found["version"]
        else:
            unread.append(
                f"{found['name']} is replaced by the folder {found['other']}, which no vulnerability database covers"
            )
    packages = [package(Ecosystem.GO, name, version) for name, version in required.items()]
    return Reading(packages=tuple(packages), unread=tuple(unread))


def cargo_lock(path: Path) -> Reading:
    """A Cargo.lock. Members of the workspace, which have no source, are left out."""
    packages: list[Package] = []
    unread = []
    document = tomllib.loads(path.read_text())
    if "package" not in document and "version" not in document:
        raise ValueError("it has no [[package]]")
    for entry in document.get("package", []):
        source = entry.get("source", "")
        if source.startswith(("registry+", "sparse+")):
            packages.append(package(Ecosystem.CRATES, entry["name"], entry["version"]))
        elif source:
            unread.append(f"{entry['name']} comes from {source}, which no vulnerability database covers")
    return Reading(packages=tuple(packages), unread=tuple(unread))
