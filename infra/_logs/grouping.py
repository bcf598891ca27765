"""Groups lines into entries: a traceback belongs to the line above it."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from infra._logs.entry import Entry
from infra._logs.levels import UNKNOWN

TRACEBACK = "Traceback (most recent call last):"
CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
JAVA_CHAIN = re.compile(r"(?:Caused by|Suppressed): |\.\.\. \d+ more$")
RAISED = re.compile(r"[A-Za-z_][\w.]*(?::|$)")
"""The line that ends a Python traceback: `shop.errors.OutOfStock: 3 left`, or the name alone."""
JAVA_RAISED = re.compile(r"(?:[a-z_][\w$]*\.)+[A-Z][\w$]*(?::|$)")


@dataclass(kw_only=True, slots=True)
class Group:
    """An entry and the lines that belong to it."""

    offset: int
    """Where it begins in its file, in bytes."""
    first: Entry
    more: list[str] = field(default_factory=list)
    size: int = 0
    """Bytes of its lines."""
    cut: bool = False
    whole: bool = True
    """Whether the last line ended with a newline."""
    tracing: bool = False
    """Within a Python traceback, before the line that names the exception."""

    @property
    def may_grow(self) -> bool:
        """Whether the next line of the file may belong to this entry."""
        return not self.whole or not self.first.one_line

    @property
    def entry(self) -> Entry:
        lines = [*self.more]
        while lines and not lines[-1].strip():
            lines.pop()
        if self.first.message.startswith(TRACEBACK):
            return replace(self.first, message=_conclusion(lines) or self.first.message, traceback=self._joined(lines))
        if not lines:
            return self.first
        if not any(TRACEBACK in line or line.lstrip().startswith(("at ", "Caused by")) for line in lines):
            return replace(self.first, message="\n".join([self.first.message, *lines]))
        level = "error" if self.first.level == UNKNOWN else self.first.level
        return replace(self.first, traceback="\n".join(lines), level=level)

    def _joined(self, lines: list[str]) -> str:
        return "\n".join([self.first.message, *lines])


class Grouper:
    """Takes the lines of a file in order, and gives each entry back when the next one begins.

    `read` turns a line into an entry; a line that an entry already claims is not read.
    """

    def __init__(self, read: Callable[[str], Entry], limit_bytes: int) -> None:
        self._read, self._limit = read, limit_bytes
        self._group: Group | None = None

    @property
    def pending(self) -> Group | None:
        """The entry that the last line belongs to."""
        return self._group

    def feed(self, offset: int, line: str, size: int, *, cut: bool = False, whole: bool = True) -> Group | None:
        """Take one line without its newline. Return the entry that this line ends, if any."""
        group = self._group
        if group is not None and self._continues(group, line):
            group.whole = whole
            group.size += size
            if group.size > self._limit or cut:
                group.cut = True
            else:
                group.more.append(line)
            return None
        if not line.strip():
            return None
        first = self._read(line)
        tracing = line.startswith(TRACEBACK)
        self._group = Group(offset=offset, first=first, size=size, cut=cut, whole=whole, tracing=tracing)
        return group

    def _continues(self, group: Group, line: str) -> bool:
        if group.first.one_line:
            return False
        if not line.strip() or line[0] in " \t":
            return True
        headed = group.first.format != "plain"
        traced = group.tracing or line.startswith(CHAINED) or bool(JAVA_CHAIN.match(line))
        if line.startswith(TRACEBACK):
            group.tracing = headed or _chained(group)
            return group.tracing
        if group.tracing and RAISED.match(line):
            group.tracing = False
            return True
        if headed and not group.more and JAVA_RAISED.match(line):
            return True
        return traced and not group.tracing


def _chained(group: Group) -> bool:
    """Whether the lines end with the sentence that introduces one more traceback."""
    last = next((line for line in reversed(group.more) if line.strip()), "")
    return last.startswith(CHAINED)


def _conclusion(lines: list[str]) -> str:
    """The line that names the exception: the last one that is not indented."""
    return next((line for line in reversed(lines) if line.strip() and line[0] not in " \t"), "")
