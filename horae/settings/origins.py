"""The origin of each setting: a line of a file, a variable, or a secret's file."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

type Place = tuple[str, ...]
"""The path of names to a value, such as ("store", "url")."""
KEY = r"""(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)"""
KEYS = rf"{KEY}(?:\s*\.\s*{KEY})*"
HEADER = re.compile(rf"\s*\[\[?\s*({KEYS})\s*\]")
ASSIGNMENT = re.compile(rf"\s*({KEYS})\s*=")
SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Origins:
    """The origin of each value by its place, one mapping for each source. The highest precedence comes first."""

    sources: tuple[Mapping[Place, str], ...] = ()

    def of(self, place: Sequence[str]) -> str:
        """The origin of the value, or of the table that contains it. For a table: the origins of its first values.

        Empty if no source has it.
        """
        wanted = tuple(place)
        for source in self.sources:
            for length in range(len(wanted), 0, -1):
                if wanted[:length] in source:
                    return source[wanted[:length]]
        inside = [where for source in self.sources for at, where in source.items() if at[: len(wanted)] == wanted]
        return ", ".join(dict.fromkeys(inside[:SHOWN]))


def toml_origins(file: str, text: str, values: Mapping[str, Any]) -> dict[Place, str]:
    """The line of each value of a TOML file. For a value in an inline table: the line of that table."""
    lines: dict[Place, int] = {}
    for place, line in _lines(text):
        lines.setdefault(place, line)
    found: dict[Place, str] = {}
    for place in _places(values):
        line = next((lines[place[:length]] for length in range(len(place), 0, -1) if place[:length] in lines), 1)
        found[place] = f"{file}:{line}"
    return found


def line_of(text: str, place: Place) -> int:
    """The line, counted from 1, of a table or value of a TOML file; 1 if the file does not have it."""
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
