"""Where each value of the settings was written: a line of a file, a variable, a file of a secret."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

type Place = tuple[str, ...]
"""The names that lead to a value, such as ("store", "url")."""
KEY = r"""(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)"""
KEYS = rf"{KEY}(?:\s*\.\s*{KEY})*"
HEADER = re.compile(rf"\s*\[\[?\s*({KEYS})\s*\]")
ASSIGNMENT = re.compile(rf"\s*({KEYS})\s*=")
SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Origins:
    """The origin of each value by its place, for each source, the one that prevails first."""

    sources: tuple[Mapping[Place, str], ...] = ()

    def of(self, place: Sequence[str]) -> str:
        """Where the value, or the table around it, was written. For a table: where its first values were.

        Empty where it was not written.
        """
        wanted = tuple(place)
        for source in self.sources:
            for length in range(len(wanted), 0, -1):
                if wanted[:length] in source:
                    return source[wanted[:length]]
        inside = [where for source in self.sources for at, where in source.items() if at[: len(wanted)] == wanted]
        return ", ".join(dict.fromkeys(inside[:SHOWN]))


def toml_origins(file: str, text: str, values: Mapping[str, Any]) -> dict[Place, str]:
    """The line of each value of a TOML file; that of the table around it where the value is in an inline table."""
    lines: dict[Place, int] = {}
    for place, line in _lines(text):
        lines.setdefault(place, line)
    found: dict[Place, str] = {}
    for place in _places(values):
        line = next((lines[place[:length]] for length in range(len(place), 0, -1) if place[:length] in lines), 1)
        found[place] = f"{file}:{line}"
    return found


def line_of(text: str, place: Place) -> int:
    """The line of a table or value of a TOML file, counted from 1; 1 where it is not in the file."""
    return next((line for at, line in _lines(text) if at[: len(place)] == place), 1)


def _lines(text: str) -> Iterator[tuple[Place, int]]:
    table: Place = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            table = _split(header[1])
            yield table, number
        elif assignment := ASSIGNMENT.match(line):
            yield (*table, *_split(assignment[1])), number


def _split(keys: str) -> Place:
    return tuple(key.strip("\"'") for key in re.findall(KEY, keys))


def _places(values: Mapping[str, Any], above: Place = ()) -> Iterator[Place]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _places(value, (*above, name))
        else:
            yield (*above, name)
