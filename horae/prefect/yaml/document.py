"""Loads YAML with the line of every value, and reports keys that are written twice."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

VALUES = 1_000_000
"""The most values in a file, with aliases expanded. Without a limit 357 bytes can expand to a billion values."""
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Unreadable(Exception):
    """The text is not YAML. The error has the line."""

    def __init__(self, message: str, line: int) -> None:
        self.line = line
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, with the line (from 1) of the value or its key."""

    value: Any
    """dict[str, Entry], list[Entry], or a scalar as YAML loads it."""
    line: int

    def get(self, key: str) -> "Entry | None":
        """The entry under this key; None if this is not a mapping, or the key is missing or null."""
        found = self.value.get(key) if isinstance(self.value, dict) else None
        return found if found is not None and found.value is not None else None

    def items(self) -> Iterator[tuple[str, "Entry"]]:
        return iter(self.value.items() if isinstance(self.value, dict) else ())

    def list(self) -> "tuple[Entry, ...]":
        return tuple(self.value) if isinstance(self.value, list) else ()


@dataclass(frozen=True, slots=True)
class Document:
    root: Entry
    raw: Any
    """The document as plain Python values, as Prefect loads it. An alias is the same object, not a copy."""
    repeated: tuple[tuple[str, int], ...]
    """Keys that are written twice in one mapping, with the line of the later one, whose value is used."""


def parse(text: str) -> Document:
    """Parse a YAML text; raises Unreadable."""
    try:
        node = yaml.compose(text, Loader=Loader)
        if node is not None:
            _refuse_bombs(node)
        repeated: list[tuple[str, int]] = []
        root = Entry(None, 1) if node is None else _Entries(repeated).of(node)
        raw = yaml.load(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(str(error.problem or error.context or error), mark.line + 1 if mark else 1) from error
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise Unreadable(str(error).partition("\n")[0], 1) from error
    return Document(root, raw, tuple(repeated))


def _refuse_bombs(root: yaml.Node) -> None:
    """Raise Unreadable if the expanded aliases have too many values, or an alias contains itself."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        """The number of values of a node, with aliases expanded."""
        known = sizes.get(id(node))
        if known is None:
            sizes[id(node)] = VALUES + 1  # the size of a node that contains itself
            inside = (
                [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
            )
            known = sizes[id(node)] = 1 + (sum(map(size, inside)) if isinstance(inside, list) else 0)
        if known > VALUES:
            raise Unreadable(
                f"its aliases repeat more than {VALUES} values, or an alias is inside the value that it repeats",
                node.start_mark.line + 1,
            )
        return known

    size(root)


class _Entries:
    """Converts nodes to entries. An alias shares the entry of its anchor, so nested aliases stay small."""

    def __init__(self, repeated: list[tuple[str, int]]) -> None:
        self._repeated = repeated
        self._constructor: Any = yaml.constructor.SafeConstructor()
        self._made: dict[int, Entry] = {}

    def of(self, node: yaml.Node) -> Entry:
        made = self._made.get(id(node))
        if made is None:
            made = self._made[id(node)] = Entry(self._value(node), node.start_mark.line + 1)
        return made

    def _value(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item) for item in node.value]
        if not isinstance(node, yaml.MappingNode):
            return self._constructor.construct_object(node)
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                self._repeated.append((str(key.value), key.start_mark.line + 1))
            seen.add(str(key.value))
        self._constructor.flatten_mapping(node)
        mapping: dict[str, Entry] = {}
        for key, value in node.value:
            name = str(self._constructor.construct_object(key, deep=True))
            mapping[name] = Entry(self.of(value).value, key.start_mark.line + 1)
        return mapping
