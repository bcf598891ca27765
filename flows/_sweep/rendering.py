"""The report for the Prefect UI: rows of a table, and Markdown."""

from typing import Any

from flows._sweep.lint import COMPLEXITY_LIMIT
from flows._sweep.report import Report, figures
from flows._sweep.sweep import Sweep
from horae.clock import isoformat

LANGUAGES, RULES = 5, 10
TITLES = {
    "files": "files",
    "lines": "lines",
    "lint_findings": "lint findings",
    "too_complex": f"functions over complexity {COMPLEXITY_LIMIT}",
    "highest_complexity": "highest complexity",
    "todos": "TODOs",
    "test_files": "test files",
    "uncommitted": "uncommitted",
}
UNKNOWN = "-"


def rows(report: Report) -> list[dict[str, Any]]:
    """One row for each repository, the broken ones last."""
    found = []
    for sweep in report.sweeps:
        counted = figures(sweep)
        found.append(
            {
                "repository": _safe(sweep.repository.name),
                **{title: counted.get(name, UNKNOWN) for name, title in TITLES.items()},
                "days since commit": UNKNOWN if sweep.days_since_commit is None else sweep.days_since_commit,
                "status": _safe("; ".join(sweep.problems) or "swept"),
            }
        )
    blank = dict.fromkeys((*TITLES.values(), "days since commit"), UNKNOWN)
    found += [
        {"repository": _safe(broken.repository.name), **blank, "status": _safe(f"broken: {broken.reason}")}
        for broken in report.broken
    ]
    return found


def markdown(report: Report) -> str:
    """The whole report: the table, what changed, what is broken, and the details of each repository."""
    table = rows(report)
    parts = [f"# Code sweep, {isoformat(report.at.replace(microsecond=0))}", _count(report)]
    if table:
        parts.append(_table(table))
    parts.append(_changes(report))
    if report.broken:
        parts.append("## Not swept")
        parts.append("\n".join(f"- **{_cell(b.repository.name)}**: {_cell(b.reason)}" for b in report.broken))
    parts += [_details(sweep) for sweep in report.sweeps]
    return _safe("\n\n".join(parts)) + "\n"


def _count(report: Report) -> str:
    total = len(report.sweeps) + len(report.broken)
    return f"{len(report.sweeps)} of {total} {'repository' if total == 1 else 'repositories'} swept."


def _table(table: list[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(table[0]) + " |", "|" + " --- |" * len(table[0])]
    lines += ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in table]
    return "\n".join(lines)


def _changes(report: Report) -> str:
    if report.previous_at is None:
        return "There is no earlier sweep to compare with."
    lines = [f"## Since {report.previous_at}", ""]
    lines += [f"- {_cell(sentence)}" for sentence in report.news]
    lines += [
        f"- {_cell(c.repository)}: {TITLES[c.figure]} {c.before} → {c.after} ({c.after - c.before:+})"
        for c in report.changes
    ]
    return "\n".join(lines) if len(lines) > 2 else f"Nothing changed since {report.previous_at}."


def _details(sweep: Sweep) -> str:
    content, tree = sweep.content, sweep.work_tree
    lines = [f"## {_cell(sweep.repository.name)}", ""]
    lines += [f"- {_cell(text)}" for text in (*sweep.problems, *sweep.notes)]
    languages = [f"{name} {about.lines} lines in {about.files} files" for name, about in content.languages.items()]
    if languages:
        lines.append(f"- languages: {_cell(', '.join(languages[:LANGUAGES]))}")
    if sweep.lint and sweep.lint.by_rule:
        rules = [f"{rule} {count}" for rule, count in list(sweep.lint.by_rule.items())[:RULES]]
        lines.append(f"- lint findings by rule ({sweep.lint.configuration} configuration): {_cell(', '.join(rules))}")
    if sweep.complexity and sweep.complexity.functions:
        worst = [f"`{f.name}` {f.complexity} ({f.file}:{f.line})" for f in sweep.complexity.worst]
        lines.append(f"- most complex of {sweep.complexity.functions} functions: {_cell(', '.join(worst))}")
    if content.todos:
        markers = [f"{marker} {count}" for marker, count in content.todos_by_marker.items()]
        lines.append(
            f"- to do: {', '.join(markers)}; first {_cell(content.first_todos[0].file)}:{content.first_todos[0].line}"
        )
    if figures(sweep)["uncommitted"]:
        lines.append(
            f"- uncommitted: {tree.staged} staged, {tree.changed} changed, {tree.untracked} untracked, "
            f"{tree.conflicted} in conflict"
        )
    if tree.unpushed:
        lines.append(f"- {tree.unpushed} commits not pushed")
    return "\n".join(lines)


def _cell(value: object) -> str:
    """Escape text for a Markdown cell. File and branch names are untrusted input."""
    return str(value).replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")


def _safe(text: str) -> str:
    """Make text valid UTF-8, which Prefect requires. A file name may not be."""
    return text.encode(errors="replace").decode()
