"""Reading a script of mysqldump or mariadb-dump: the rows of each table, and where events begin."""

import re
from collections.abc import Iterable, Iterator

EVENTS = b"-- horae: events\n"
"""Our own line between tables and events. In a script no value begins a line, because newlines are escaped."""
COMPLETED = b"-- Dump completed"
IDENTIFIER = rb"`((?:[^`]|``)+)`"
CREATE = re.compile(rb"CREATE TABLE (?:IF NOT EXISTS )?" + IDENTIFIER)
INSERT = re.compile(rb"INSERT (?:IGNORE )?INTO " + IDENTIFIER + rb"(?: \((?:`(?:[^`]|``)+`(?:, ?)?)+\))? VALUES")
ALTER = re.compile(rb"(ALTER DATABASE )" + IDENTIFIER + rb" (CHARACTER SET \w+ COLLATE \w+ ;{1,2}\n)")
DEFINER = re.compile(rb"DEFINER=" + IDENTIFIER + rb"(?:@`(?:[^`]|``)*`)?")
STRING = re.compile(rb"'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'", re.DOTALL)


class Counter:
    """Counts rows while a script passes, a line at a time."""

    def __init__(self) -> None:
        self.tables: dict[str, int] = {}
        self.complete = False
        """Whether the last line was the one that a whole dump ends with."""
        self._table: str | None = None
        """Of the INSERT statement that this line is part of."""
        self._in_program = False
        """Whether the line is part of a trigger or routine, whose statements look like those of the dump."""

    @property
    def in_data(self) -> bool:
        """Whether the next line holds rows."""
        return self._table is not None

    def read(self, line: bytes) -> None:
        self.complete = line.startswith(COMPLETED)
        if self._table is not None:
            self._rows(line)
        elif line.startswith(b"DELIMITER "):
            self._in_program = line.strip() != b"DELIMITER ;"
        elif self._in_program:
            return
        elif match := INSERT.match(line):
            self._table = _name(match[1])
            self._rows(line[match.end() :])
        elif match := CREATE.match(line):
            self.tables.setdefault(_name(match[1]), 0)

    def _rows(self, values: bytes) -> None:
        """Each row begins with a parenthesis, and outside of text there is no other."""
        assert self._table is not None
        plain = STRING.sub(b"", values)
        self.tables[self._table] = self.tables.get(self._table, 0) + plain.count(b"(")
        if plain.rstrip().endswith(b";"):
            self._table = None


def portable(script: Iterable[bytes], counter: Counter) -> Iterator[bytes]:
    """The lines of a script, which the counter reads, without the name of the database that they came from.

    Around some routines a dump changes the character set of its database by name. A restore into another database of
    the same server would change the live one.
    """
    for line in script:
        change = None if counter.in_data else ALTER.fullmatch(line)
        counter.read(line)
        yield change[1] + change[3] if change else line


def before_events(script: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a script up to where its events begin."""
    for line in script:
        if line == EVENTS:
            return
        yield line


def for_drill(script: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a script without events, which would act, and without definers, which only another right sets."""
    counter = Counter()
    for line in before_events(script):
        data = counter.in_data or INSERT.match(line)
        counter.read(line)
        yield line if data else DEFINER.sub(b"", line)


def _name(identifier: bytes) -> str:
    return identifier.decode(errors="replace").replace("``", "`")
