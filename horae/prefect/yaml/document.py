"""YAML with the line of every value, and what plain loading would swallow: a key written twice."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Unreadable(Exception):
    """The text is not YAML; says where."""

    def __init__(self, message: str, line: int) -> None:
        self.line = line
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and the line (from 1) on which it, or its key, stands."""

    value: Any
    """dict[str, Entry], list[Entry], or a scalar as YAML reads it."""
    line: int

    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {key: entry.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [entry.plain() for entry in self.value]
        return self.value

    def get(self, key: str) -> "Entry | None":
        """The entry under that key, if this is a mapping that has it with a value that is not null."""
        found = self.value.get(key) if isinstance(self.value, dict) else None
        return found if found is not None and found.value is not None else None

    def items(self) -> Iterator[tuple[str, "Entry"]]:
        return iter(self.value.items() if isinstance(self.value, dict) else ())

    def list(self) -> "tuple[Entry, ...]":
        return tuple(self.value) if isinstance(self.value, list) else ()


@dataclass(frozen=True, slots=True)
class Document:
    root: Entry
    repeated: tuple[tuple[str, int], ...]
    """Keys written twice in one mapping, with the line of the later one, which wins."""


def parse(text: str) -> Document:
    """The document in that text; raises Unreadable."""
    try:
        node = yaml.compose(text, Loader=Loader)
        repeated: list[tuple[str, int]] = []
        root = Entry(None, 1) if node is None else _entry(node, yaml.constructor.SafeConstructor(), repeated)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(str(error.problem or error.context or error), mark.line + 1 if mark else 1) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Unreadable(str(error).partition("\n")[0], 1) from error
    return Document(root, tuple(repeated))


def _entry(node: yaml.Node, constructor: Any, repeated: list[tuple[str, int]]) -> Entry:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return Entry([_entry(item, constructor, repeated) for item in node.value], line)
    if not isinstance(node, yaml.MappingNode):
        return Entry(constructor.construct_object(node), line)
    seen: set[str] = set()
    for key, _ in node.value:
        if str(key.value) in seen:
            repeated.append((str(key.value), key.start_mark.line + 1))
        seen.add(str(key.value))
    constructor.flatten_mapping(node)
    mapping: dict[str, Entry] = {}
    for key, value in node.value:
        mapping[str(constructor.construct_object(key, deep=True))] = Entry(
            _entry(value, constructor, repeated).value, key.start_mark.line + 1
        )
    return Entry(mapping, line)
