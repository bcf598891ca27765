"""Prints rows under a head. Each column is as wide as its content, and on a terminal the table fits the terminal."""

import shutil
import sys
from collections.abc import Iterable, Sequence

from horae.cli.output import Cell, paint
from horae.terminal import one_line

GAP = "  "


def print_columns(head: Sequence[str], rows: Iterable[Sequence[Cell]], below: Sequence[str] = ()) -> None:
    """Draw a table. An empty column is left out. On a narrow terminal, the columns in `below` move to a second line of
    each row, the first of them first. What still does not fit is cut at the edge.
    """
    for line in laid_out(head, [[_cell(cell) for cell in row] for row in rows], below, _width()):
        print("".join(paint(text, style) for text, style in line))


def _cell(cell: Cell) -> tuple[str, str]:
    text, style = cell if isinstance(cell, tuple) else (cell, "")
    return one_line(text), style


def _width() -> int | None:
    """The width of the terminal; None if stdout is not a terminal, because programs need whole lines."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else None


type Painted = tuple[str, str]
"""A text and its style."""


def laid_out(
    head: Sequence[str], rows: Sequence[Sequence[Painted]], below: Sequence[str], width: int | None
) -> list[list[Painted]]:
    """The lines, each as texts with styles. `width`: None for no limit."""
    table = [[(text, "bold") for text in head], *rows]
    shown = [place for place in range(len(head)) if any(row[place][0] for row in rows)]
    wide = {place: max(len(row[place][0]) for row in table) for place in shown}
    moved: list[int] = []
    for name in below:
        if width is None or _total(wide, shown) <= width:
            break
        place = head.index(name)
        if place in shown:
            shown.remove(place)
            moved.append(place)
    moved.sort()
    lines = []
    for row in table:
        first = [(text.ljust(wide[place]), style) for place in shown for text, style in [row[place]]]
        lines.append(_cut(_joined(first), width))
        second = [row[place] for place in moved if row[place][0]]
        if second:
            lines.append(_cut([(GAP, ""), *_joined(second)], width))
    return lines


def _total(wide: dict[int, int], shown: Sequence[int]) -> int:
    return sum(wide[place] for place in shown) + len(GAP) * (len(shown) - 1)


def _joined(cells: Sequence[Painted]) -> list[Painted]:
    return [part for cell in cells for part in (cell, (GAP, ""))][:-1]


def _cut(line: list[Painted], width: int | None) -> list[Painted]:
    """The line without blanks at the end, cut to `width`."""
    found: list[Painted] = []
    room = len("".join(text for text, _ in line).rstrip())
    too_long = width is not None and room > width
    room = width - 1 if too_long and width is not None else room
    for text, style in line:
        if room <= 0:
            break
        found.append((text[:room], style))
        room -= len(text)
    return [*found, ("…", "dim")] if too_long else found
