"""Findings as text: code, sentence, and under it what to do."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from horae.cli.output import COLOURS
from horae.findings import Finding

if TYPE_CHECKING:
    from rich.console import Console


def draw_findings(screen: "Console", findings: Iterable[Finding], *, lines: bool = False) -> None:
    """`lines`: begin each with its line in the file."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for finding in findings:
        where = [Text(f"line {finding.line}" if finding.line else "", style="dim")] if lines else []
        said = Text(finding.message).append("\n→ " + finding.remedy, style="dim")
        level = Text(finding.level.value, style=COLOURS[finding.level.value])
        drawn.add_row(*where, Text(finding.code, style="bold"), level, said)
    screen.print(Padding(drawn, (0, 0, 0, 2)))
