"""The table of all jobs that `horae up` shows, as lines that fit the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

HEAD = ("job", "tier", "schedule", "next fire", "last verdict", "took")
BELOW = ("schedule", "tier", "took", "next fire")
"""Where a terminal is too narrow, these columns go below, in this order, beside what a job says."""
GAP = "  "
SAYS_AT_LEAST = 24
"""Columns that what a job says should have; with fewer it gets a line of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRow:
    cells: tuple[str | Text, ...]
    """One for each of `HEAD`."""
    says: Text
    """What it does just now, or said last; cut at the edge."""


def job_lines(rows: Sequence[JobRow], width: int) -> list[Text]:
    """A line for each job under a head; two where what it says would not fit beside the rest. None is longer than
    `width`: on a terminal that is too narrow even for name and verdict, they are cut at the edge."""
    beside = max([len(GAP), *(len(GAP) + min(SAYS_AT_LEAST, len(row.says)) for row in rows)])
    columns = list(range(len(HEAD)))
    if len(_joined(rows, columns)[0]) + beside <= width:
        head, *lines = _joined(rows, columns)
        together = [line + GAP + row.says for row, line in zip(rows, lines, strict=True)]
        return [_cut(line, width) for line in (head + Text(f"{GAP}says", style="bold"), *together)]
    moved: list[int] = []
    for name in BELOW:
        if moved and len(_joined(rows, columns)[0]) <= width:
            break
        place = HEAD.index(name)
        columns.remove(place)
        moved.append(place)
    head, *lines = _joined(rows, columns)
    found = [_cut(head, width)]
    for row, line in zip(rows, lines, strict=True):
        below = [_text(row.cells[place], "dim") for place in moved] + [row.says]
        found.append(_cut(line, width))
        found.append(_cut(Text(GAP) + Text(GAP).join(cell for cell in below if cell), width))
    return found


def _joined(rows: Sequence[JobRow], columns: Sequence[int]) -> list[Text]:
    """Head and rows, each column as wide as it must be."""
    table = [[_text(HEAD[place], "bold") for place in columns]]
    table += [[_text(row.cells[place]) for place in columns] for row in rows]
    widths = [max(len(line[place]) for line in table) for place in range(len(columns))]
    for line in table:
        for cell, wide in zip(line, widths, strict=True):
            cell.pad_right(wide - len(cell))
    return [Text(GAP).join(line) for line in table]


def _text(cell: str | Text, style: str = "") -> Text:
    return cell.copy() if isinstance(cell, Text) else Text(cell, style=style)


def _cut(line: Text, width: int) -> Text:
    line.rstrip()
    return cut(line, width)


def cut(line: Text, width: int) -> Text:
    """The line, on at most that many columns; `…` says that there was more."""
    line.truncate(width, overflow="ellipsis")
    return line


def packed(words: Sequence[Text], width: int) -> list[Text]:
    """Words side by side on as few lines as they need, none of them broken."""
    lines: list[Text] = []
    for word in words:
        if lines and len(lines[-1]) + len(GAP) + len(word) <= width:
            lines[-1] = lines[-1] + GAP + word
        else:
            lines.append(word.copy())
    return lines
