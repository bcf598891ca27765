"""Reads OSV records (https://ossf.github.io/osv-schema/): the packages that a record affects, and its details."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flows._audit import versions
from flows._audit.package import Package, normalised

SEVERITIES = ("critical", "high", "medium", "low", "unknown")
WORDS = {"moderate": "medium"}
FROM_SCORE = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"))
"""The ratings of CVSS, each with its lowest base score."""
SUMMARY = 160
"""The most characters of a summary."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advisory:
    """One vulnerability of one package, as a database describes it."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    severity: str
    """One of SEVERITIES."""
    score: float | None
    """CVSS base score, 0 to 10."""
    fixed: tuple[str, ...]
    """Later versions without the vulnerability; empty if none is known."""
    url: str

    @property
    def names(self) -> frozenset[str]:
        return frozenset((self.id, *self.aliases))


def affects(record: Mapping[str, Any], package: Package) -> bool:
    """Whether a record lists this version as affected; raises ValueError if the version cannot be compared."""
    return any(_in_versions(entry, package) or _in_ranges(entry, package) for entry in _entries(record, package))


def _entries(record: Mapping[str, Any], package: Package) -> Iterator[Mapping[str, Any]]:
    for entry in record.get("affected", []):
        about = entry.get("package", {})
        ecosystem = str(about.get("ecosystem", "")).partition(":")[0]
        if ecosystem == package.ecosystem and normalised(ecosystem, about.get("name", "")) == package.name:
            yield entry


def _in_versions(entry: Mapping[str, Any], package: Package) -> bool:
    listed = entry.get("versions", [])
    return package.version in listed or package.version.removeprefix("v") in listed


def _in_ranges(entry: Mapping[str, Any], package: Package) -> bool:
    version = versions.key(package.ecosystem, package.version)
    return any(_in_range(package, version, events) for events in _ranges(entry))


def _ranges(entry: Mapping[str, Any]) -> Iterator[list[dict[str, str]]]:
    for one in entry.get("ranges", []):
        if one.get("type") != "GIT":
            yield one.get("events", [])


def _in_range(package: Package, version: Any, events: list[dict[str, str]]) -> bool:
    """OSV's algorithm: apply the events in the order of their versions."""
    known = {"introduced": 0, "fixed": 1, "last_affected": 2}
    steps = [
        (versions.key(package.ecosystem, at), kind) for event in events for kind, at in event.items() if kind in known
    ]
    affected = False
    for at, kind in sorted(steps, key=lambda step: step[0]):
        if kind == "introduced" and version >= at:
            affected = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            affected = False
    return affected


def advisory(record: Mapping[str, Any], package: Package) -> Advisory:
    """The advisory for a package that the record affects."""
    severity, score = _severity(record, package)
    text = record.get("summary") or record.get("details") or ""
    summary = " ".join(str(text).split())
    return Advisory(
        id=record["id"],
        aliases=tuple(record.get("aliases") or ()),
        summary=summary if len(summary) <= SUMMARY else summary[: SUMMARY - 1] + "…",
        severity=severity,
        score=score,
        fixed=_fixed(record, package),
        url=f"https://osv.dev/vulnerability/{record['id']}",
    )


def _fixed(record: Mapping[str, Any], package: Package) -> tuple[str, ...]:
    at = versions.key(package.ecosystem, package.version)
    found = {
        event["fixed"]
        for entry in _entries(record, package)
        for events in _ranges(entry)
        for event in events
        if "fixed" in event and versions.key(package.ecosystem, event["fixed"]) > at
    }
    return tuple(sorted(found, key=lambda version: versions.key(package.ecosystem, version)))


def _severity(record: Mapping[str, Any], package: Package) -> tuple[str, float | None]:
    """The rating and score of the record's highest CVSS score; without a score, the rating of its database."""
    vectors = [*record.get("severity", [])]
    for entry in _entries(record, package):
        vectors += entry.get("severity", [])
    scores = [score for vector in vectors if (score := _score(str(vector.get("score", "")))) is not None]
    if scores:
        highest = max(scores)
        return next((word for least, word in FROM_SCORE if highest >= least), "low"), highest
    word = str(record.get("database_specific", {}).get("severity", "unknown")).lower()
    word = WORDS.get(word, word)
    return word if word in SEVERITIES else "unknown", None


def _score(vector: str) -> float | None:
    import cvss

    kinds = {"CVSS:3": cvss.CVSS3, "CVSS:4": cvss.CVSS4}
    try:
        kind = kinds.get(vector[:6], cvss.CVSS2)
        return float(kind(vector).base_score)
    except cvss.CVSSError:
        return None


def merged(advisories: Iterable[Advisory]) -> tuple[Advisory, ...]:
    """Merge advisories that are aliases of each other. The most severe and most detailed one stays."""
    kept: list[Advisory] = []
    ranked = sorted(
        advisories, key=lambda one: (SEVERITIES.index(one.severity), not one.fixed, not one.summary, one.id)
    )
    for one in ranked:
        if not any(one.names & other.names for other in kept):
            kept.append(one)
    return tuple(kept)
