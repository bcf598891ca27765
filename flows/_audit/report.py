"""The report of an audit: findings, unchecked items, and changes since the previous audit."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from flows._audit import licences
from flows._audit.answers import Answer
from flows._audit.inventory import Inventory
from flows._audit.osv import SEVERITIES, Advisory
from flows._audit.package import Package
from flows._audit.registries import Release, Releases
from flows._audit.settings import AuditSettings
from horae.clock import isoformat

LATEST = "latest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A vulnerability of a used package."""

    package: Package
    advisory: Advisory
    repositories: tuple[str, ...]

    @property
    def key(self) -> str:
        """Identifies the finding across audits."""
        return f"{self.package.ecosystem} {self.package.name} {self.advisory.id}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    at: datetime
    inventories: tuple[Inventory, ...]
    broken: Mapping[str, str]
    """Each repository that could not be audited, with the reason."""
    answer: Answer
    releases: Releases | None
    """None: the registries were not asked."""
    flagged_patterns: tuple[str, ...] = ()
    previous_at: str | None = None
    """The time of the previous audit; None: there is none."""
    appeared: tuple[str, ...] = ()
    """Keys of findings that the previous audit did not have."""
    gone: tuple[str, ...] = ()
    """Keys of findings of the previous audit that are gone: their packages were checked again or are no longer used."""
    carried: tuple[dict[str, Any], ...] = ()
    """Findings of the previous audit, as JSON, whose packages this audit could not check."""

    @property
    def packages(self) -> dict[Package, tuple[str, ...]]:
        """Each package with the repositories that use it."""
        found: dict[Package, list[str]] = {}
        for inventory in self.inventories:
            for package in inventory.packages:
                found.setdefault(package, []).append(inventory.name)
        return {package: tuple(names) for package, names in sorted(found.items())}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, the most severe first."""
        found = [
            Finding(package=package, advisory=advisory, repositories=names)
            for package, names in self.packages.items()
            for advisory in self.answer.checked.get(package, ())
        ]
        return tuple(sorted(found, key=lambda one: (SEVERITIES.index(one.advisory.severity), one.package)))

    @property
    def severities(self) -> dict[str, int]:
        counts = dict.fromkeys(SEVERITIES, 0)
        for finding in self.findings:
            counts[finding.advisory.severity] += 1
        return counts

    @property
    def unseen(self) -> tuple[str, ...]:
        """A sentence for each unchecked item. Empty: everything was checked."""
        return tuple(_unseen(self))

    @property
    def complete(self) -> bool:
        """Whether every package of every repository was checked for vulnerabilities, by sources without warnings."""
        checked = bool(self.packages) and all(package in self.answer.checked for package in self.packages)
        read = not self.broken and not any(inventory.unread for inventory in self.inventories)
        return checked and read and not self.answer.warnings

    @property
    def withdrawn(self) -> dict[Package, str]:
        """Packages whose version was yanked, deprecated, retracted or deleted, with the reason."""
        found = self.releases.found if self.releases else {}
        return {package: release.withdrawn for package, release in found.items() if release.withdrawn}

    @property
    def outdated(self) -> dict[Package, Release]:
        found = self.releases.found if self.releases else {}
        return {package: release for package, release in found.items() if release.is_outdated(package)}

    @property
    def licences(self) -> dict[Package, str | None]:
        """Each package's licence from the repository's own files, else from the registry; None: unknown."""
        known: dict[Package, str] = {}
        for inventory in self.inventories:
            known |= inventory.licences
        found = self.releases.found if self.releases else {}
        told = {package: release.licence for package, release in found.items()}
        return {package: known.get(package) or told.get(package) for package in self.packages}

    @property
    def flagged(self) -> dict[Package, str]:
        """Packages whose licence offers no choice without a flagged licence."""
        return {
            package: licence
            for package, licence in self.licences.items()
            if licence and licences.is_flagged(licence, self.flagged_patterns)
        }

    def as_dict(self) -> dict[str, Any]:
        """The documented shape of the JSON on disk: docs/how-to/audit-dependencies.md."""
        return {
            "at": isoformat(self.at),
            "previous_at": self.previous_at,
            "complete": self.complete,
            "unseen": list(self.unseen),
            "packages": len(self.packages),
            "checked": len(self.answer.checked),
            "severities": self.severities,
            "vulnerabilities": [_finding(one) for one in self.findings],
            "appeared": list(self.appeared),
            "gone": list(self.gone),
            "carried": list(self.carried),
            "withdrawn": [_named(package) | {"reason": why} for package, why in self.withdrawn.items()],
            "outdated": [_named(package) | {"newest": release.newest} for package, release in self.outdated.items()],
            "licences": [_named(package) | {"licence": name} for package, name in self.licences.items()],
            "flagged_licences": [_named(package) | {"licence": name} for package, name in self.flagged.items()],
            "databases": [
                {
                    "ecosystem": one.ecosystem.value,
                    "source": one.source,
                    "records": one.records,
                    "newest": isoformat(one.newest) if one.newest else None,
                }
                for one in self.answer.databases
            ],
            "repositories": [
                {"name": one.name, "path": str(one.path), "files": one.files, "unread": list(one.unread)}
                for one in self.inventories
            ]
            + [{"name": name, "broken": reason} for name, reason in self.broken.items()],
        }


def _unseen(report: Report) -> Iterator[str]:
    total = len(report.packages)
    if not total:
        yield "No package was found, so nothing was checked."
    missing = [package for package in report.packages if package not in report.answer.checked]
    for reason, count in _grouped({package: report.answer.unchecked.get(package, "") for package in missing}):
        yield f"{count} of {total} packages were not checked for vulnerabilities: {reason}."
    yield from (f"{_upper(warning)}." for warning in report.answer.warnings)
    yield from (f"{name} was not audited: {reason}." for name, reason in report.broken.items())
    for inventory in report.inventories:
        yield from (f"{inventory.name}: {sentence}." for sentence in inventory.unread)
    if report.releases is None:
        yield "Outdated and withdrawn releases were not checked, because `registries` is off."
    else:
        for reason, count in _grouped(report.releases.unknown):
            yield f"{count} of {total} packages were not checked for newer or withdrawn releases: {reason}."
    unknown = sum(licence is None for licence in report.licences.values())
    if unknown:
        yield f"The licence of {unknown} of {total} packages is not known."


def _grouped(reasons: Mapping[Package, str]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for reason in reasons.values():
        counts[reason] = counts.get(reason, 0) + 1
    return sorted(counts.items(), key=lambda item: -item[1])


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _named(package: Package) -> dict[str, str]:
    return {"ecosystem": package.ecosystem.value, "name": package.name, "version": package.version}


def _finding(one: Finding) -> dict[str, Any]:
    advisory = one.advisory
    return {
        "key": one.key,
        **_named(one.package),
        "id": advisory.id,
        "aliases": list(advisory.aliases),
        "severity": advisory.severity,
        "score": advisory.score,
        "summary": advisory.summary,
        "fixed": list(advisory.fixed),
        "url": advisory.url,
        "repositories": list(one.repositories),
    }


def compared(report: Report, previous: dict[str, Any] | None) -> Report:
    """The report with the changes since `previous`.

    A vulnerability that is not found again is gone only if its package was checked this time or is no longer used.
    Otherwise it is kept, so that it does not count as new after a week in which a service did not answer.
    """
    if previous is None:
        return report
    before = [*previous["vulnerabilities"], *previous.get("carried", [])]
    # Another source may report the same vulnerability under another of its names.
    known = {name for entry in before for name in _names(entry)}
    found = {finding.key: _names(_finding(finding)) for finding in report.findings}
    told = {name for names in found.values() for name in names}
    missing = [entry for entry in before if not told & _names(entry)]
    return replace(
        report,
        previous_at=previous["at"],
        appeared=tuple(sorted(key for key, names in found.items() if not known & names)),
        gone=tuple(entry["key"] for entry in missing if _is_judged(report, entry)),
        carried=tuple(entry for entry in missing if not _is_judged(report, entry)),
    )


def _names(entry: dict[str, Any]) -> set[str]:
    return {f"{entry['ecosystem']} {entry['name']} {name}" for name in (entry["id"], *entry["aliases"])}


def _is_judged(report: Report, entry: dict[str, Any]) -> bool:
    """Whether this audit can decide that a vulnerability is gone."""
    named = (entry["ecosystem"], entry["name"])
    if named in {(package.ecosystem.value, package.name) for package in report.packages}:
        return named in {(package.ecosystem.value, package.name) for package in report.answer.checked}
    return not report.broken and not any(inventory.damaged for inventory in report.inventories)


def previous(folder: Path) -> dict[str, Any] | None:
    """The latest report in the folder; None if there is none that can be read."""
    try:
        found = json.loads((folder / LATEST).read_text())
        _ = (
            found["at"],
            [(one["key"], _names(one)) for one in found["vulnerabilities"]],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(found)


def write(report: Report, folder: Path, settings: AuditSettings) -> Path:
    """Write the report atomically as `<instant>.json` and as `latest.json`, and delete the oldest reports."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.as_dict(), indent=2) + "\n"
    path = folder / f"{report.at:%Y%m%dT%H%M%S.%f}Z.json"
    for place in (path, folder / LATEST):
        write_whole(place, text)
    for old in sorted(folder.glob("[0-9]*Z.json"))[: -settings.keep_reports]:
        old.unlink(missing_ok=True)
    return path


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically: a reader sees the whole old text or the whole new text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
