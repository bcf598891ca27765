"""The table of all jobs of `horae up`, as lines that fit the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

HEAD = ("job", "tier", "schedule", "next fire", "last verdict", "took")
BELOW = ("schedule", "tier", "took", "next fire")
"""On a narrow terminal, these columns move to a second line in this order, beside the text of the job."""
GAP = "  "
SAYS_AT_LEAST = 24
"""The least columns for the text of a job. With fewer, the text gets its own line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRow:
    cells: tuple[str | Text, ...]
    """A cell for each of `HEAD`."""
    says: Text
    """The progress or the last result; cut at the edge."""


def job_lines(rows: Sequence[JobRow], width: int) -> list[Text]:
    """A head, and one line for each job, or two if the text of the job does not fit beside the rest. No line is longer
    than `width`: on a terminal that is too narrow for name and verdict, they are cut at the edge.
    """
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
    """Head and rows. Each column is as wide as its content."""
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
    """The line, cut to this many columns; `…` stands for the rest."""
    line.truncate(width, overflow="ellipsis")
    return line


def packed(words: Sequence[Text], width: int) -> list[Text]:
    """Words on as few lines as possible; no word is broken."""
    lines: list[Text] = []
    for word in words:
        if lines and len(lines[-1]) + len(GAP) + len(word) <= width:
            lines[-1] = lines[-1] + GAP + word
        else:
            lines.append(word.copy())
    return lines
