"""The report for the Prefect UI: rows of a table, and Markdown. Items that were not checked come first."""

from collections import Counter
from typing import Any

from flows._audit.osv import SEVERITIES
from flows._audit.report import Report
from horae.clock import isoformat

SHOWN = 50
"""The most rows of a Markdown table; the JSON has all."""
UNSEEN_SHOWN = 20
UNKNOWN = "not known"


def headline(report: Report) -> str:
    """One sentence. If something was not checked, the sentence says so."""
    total, checked = len(report.packages), len(report.answer.checked)
    counts = ", ".join(f"{count} {word}" for word, count in report.severities.items() if count)
    found = f"{len(report.findings)} known vulnerabilities ({counts})" if counts else "no vulnerabilities"
    if not checked:
        return "NOTHING WAS CHECKED for vulnerabilities."
    if not report.complete:
        return f"INCOMPLETE: {checked} of {total} packages were checked for vulnerabilities. Found: {found}."
    if counts:
        return f"All {total} packages were checked. Found: {found}."
    return f"All {total} packages were checked, and they have no known vulnerabilities."


def rows(report: Report) -> list[dict[str, Any]]:
    """One row for each vulnerability, the most severe first. Rows for unchecked items come before them."""
    found = [_row(severity="not checked", summary=sentence) for sentence in report.unseen]
    found += [
        _row(
            severity=one.advisory.severity,
            package=str(one.package),
            vulnerability=one.advisory.id,
            fixed=", ".join(one.advisory.fixed) or "no known fix",
            repositories=", ".join(one.repositories),
            new="yes" if one.key in report.appeared else "",
            summary=one.advisory.summary,
        )
        for one in report.findings
    ]
    return found or [_row(severity="none", summary=headline(report))]


def _row(**cells: str) -> dict[str, str]:
    names = ("severity", "package", "vulnerability", "fixed", "repositories", "new", "summary")
    return {name: _safe(cells.get(name, "")) for name in names}


def markdown(report: Report, bills: list[str]) -> str:
    """The whole report. `bills` are the paths of the bills of materials."""
    parts = [f"**{headline(report)}**", f"# Dependency audit, {isoformat(report.at.replace(microsecond=0))}"]
    if unseen := report.unseen:
        lines = [f"- {_cell(sentence)}" for sentence in unseen[:UNSEEN_SHOWN]]
        if len(unseen) > UNSEEN_SHOWN:
            lines.append(f"- {len(unseen) - UNSEEN_SHOWN} more sentences are in the JSON report.")
        parts += ["## Not checked", "\n".join(lines)]
    parts += [_changes(report), _vulnerabilities(report), _withdrawn(report), _licences(report), _outdated(report)]
    parts += [_sources(report)]
    if bills:
        parts += ["## Bills of materials (CycloneDX)", "\n".join(f"- `{_cell(place)}`" for place in bills)]
    return _safe("\n\n".join(part for part in parts if part)) + "\n"


def _changes(report: Report) -> str:
    if report.previous_at is None:
        return "There is no earlier audit to compare with."
    lines = [f"## Since {report.previous_at}", ""]
    lines += [f"- new: {_cell(key)}" for key in report.appeared]
    lines += [f"- gone: {_cell(key)}" for key in report.gone]
    lines += [f"- not checked again: {_cell(entry['key'])}" for entry in report.carried]
    return "\n".join(lines) if len(lines) > 2 else f"No vulnerability came or went since {report.previous_at}."


def _vulnerabilities(report: Report) -> str:
    if not report.findings:
        return ""
    counts = "| " + " | ".join(SEVERITIES) + " |\n|" + " ---: |" * len(SEVERITIES) + "\n| "
    counts += " | ".join(str(report.severities[word]) for word in SEVERITIES) + " |"
    table = [
        {
            "severity": one.advisory.severity + (f" {one.advisory.score:g}" if one.advisory.score is not None else ""),
            "package": str(one.package),
            "vulnerability": f"[{one.advisory.id}]({one.advisory.url})",
            "fixed in": ", ".join(one.advisory.fixed) or "no known fix",
            "repositories": ", ".join(one.repositories),
            "summary": one.advisory.summary,
        }
        for one in report.findings
    ]
    return f"## Vulnerabilities\n\n{counts}\n\n{_table(table)}"


def _withdrawn(report: Report) -> str:
    table = [{"package": str(package), "why": why} for package, why in report.withdrawn.items()]
    return f"## Withdrawn releases\n\n{_table(table)}" if table else ""


def _outdated(report: Report) -> str:
    table = [
        {"package": str(package), "newest": release.newest, "ecosystem": package.ecosystem.value}
        for package, release in report.outdated.items()
    ]
    return f"## Outdated\n\n{_table(table)}" if table else ""


def _licences(report: Report) -> str:
    counts = Counter(name or UNKNOWN for name in report.licences.values())
    if not counts:
        return ""
    flagged = [{"package": str(package), "licence": name} for package, name in report.flagged.items()]
    known = sum(count for name, count in counts.items() if name != UNKNOWN)
    none = f"None of the {known} known licences of {len(report.licences)} packages is a flagged licence."
    parts = ["## Licences", _table(flagged) if flagged else none]
    parts.append(", ".join(f"{_cell(name)} {count}" for name, count in counts.most_common()))
    return "\n\n".join(parts)


def _sources(report: Report) -> str:
    lines = []
    for one in report.answer.databases:
        if one.records == 0:
            continue  # listed under the items that were not checked
        age = one.age(report.at)
        records = f", {one.records} records" if one.records is not None else ""
        told = f", the newest is {age.days} days old" if age is not None else ", the service does not tell its age"
        lines.append(f"- {one.ecosystem}: {_cell(one.source)}{records}{told}")
    files = [f"- {_cell(one.name)}: " + _cell(", ".join(one.files)) for one in report.inventories if one.files]
    parts = []
    if lines:
        parts += ["## Services asked", "\n".join(lines)]
    if files:
        parts += ["## Files read", "\n".join(files)]
    return "\n\n".join(parts)


def _table(table: list[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(table[0]) + " |", "|" + " --- |" * len(table[0])]
    lines += ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in table[:SHOWN]]
    if len(table) > SHOWN:
        lines.append(f"\n{len(table) - SHOWN} more are in the JSON report.")
    return "\n".join(lines)


def _cell(value: object) -> str:
    """Escape text for a Markdown cell. Names and summaries are untrusted input."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _safe(text: str) -> str:
    """Make text valid UTF-8, which Prefect requires. A file name may not be."""
    return text.encode(errors="replace").decode()
