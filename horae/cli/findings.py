"""Findings as text: code, level and sentence, with the remedy below."""

from collections.abc import Iterable

from horae.cli.output import paint, wrapped
from horae.findings import Finding
from horae.words import colour_of


def print_findings(findings: Iterable[Finding], *, lines: bool = False) -> None:
    """`lines`: begin each with its line in the file."""
    for finding in findings:
        where = f"{f'line {finding.line}' if finding.line else '':<10}" if lines else ""
        begin = f"  {where}{finding.code}  {finding.level.value:<7}  "
        level = paint(f"{finding.level.value:<7}", colour_of(finding.level.value))
        said, *more = wrapped(finding.message, len(begin))
        print(f"  {paint(where, 'dim')}{paint(finding.code, 'bold')}  {level}  {said}")
        for line in more:
            print(" " * len(begin) + line)
        for line in wrapped(f"→ {finding.remedy}", len(begin)):
            print(" " * len(begin) + paint(line, "dim"))
