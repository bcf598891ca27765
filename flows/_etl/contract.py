"""The schema contract of a table: its columns, their types and its key.

A column has one of these types: bigint, bool, date, decimal(P,S), double, text, timestamp.
"""

import re
from dataclasses import dataclass
from typing import Any

SIMPLE = {
    "bigint": "BIGINT", "bool": "BOOLEAN", "date": "DATE", "double": "DOUBLE", "text": "VARCHAR",
    "timestamp": "TIMESTAMPTZ",
}  # fmt: skip
"""Types with DuckDB's name for each."""
KEY_TYPES = ("bigint", "date", "text")
"""Types whose text is the same in DuckDB and PostgreSQL."""
DECIMAL = re.compile(r"decimal\((\d{1,2}),(\d{1,2})\)")
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
"""A name that dlt leaves as it is."""
LONGEST_NAME = 60
"""PostgreSQL cuts names of more than 63 bytes."""
RESERVED = ("deleted", "repository")
"""Columns that the job itself adds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    name: str
    kind: str
    """One of the types of this module."""

    @property
    def duckdb(self) -> str:
        return SIMPLE.get(self.kind) or self.kind.upper()

    @property
    def scale(self) -> int | None:
        """Digits after the point of a decimal; None for other types."""
        found = DECIMAL.fullmatch(self.kind)
        return int(found[2]) if found else None

    @property
    def hint(self) -> dict[str, Any]:
        """The column as dlt describes it."""
        found = DECIMAL.fullmatch(self.kind)
        if found:
            return {"data_type": "decimal", "precision": int(found[1]), "scale": int(found[2]), "nullable": True}
        return {"data_type": self.kind, "nullable": True}


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """What each row of a table must be."""

    table: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """Columns that name a row within its source. None of them may be empty."""
    repository: bool = False
    """Whether the table holds rows of several repositories, with the column `repository` in its key."""
    required: tuple[str, ...] = ()
    """Further columns that may not be empty."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns of the key, in its order."""
        named = {column.name: column for column in self.columns}
        return tuple(named[name] for name in self.key)

    @property
    def whole_key(self) -> tuple[str, ...]:
        return ("repository", *self.key) if self.repository else self.key


def of(table: str, columns: dict[str, str], key: tuple[str, ...], **more: Any) -> Contract:
    """The contract of these columns. Raises ValueError for a name, type or key that is not allowed."""
    for name, kind in columns.items():
        if not NAME.fullmatch(name) or len(name) > LONGEST_NAME or name in RESERVED:
            raise ValueError(
                f"column {name!r}: a name has small letters, digits and single underscores, begins with a letter, "
                f"has at most {LONGEST_NAME} characters, and is none of {', '.join(RESERVED)}"
            )
        decimal = DECIMAL.fullmatch(kind)
        if decimal and not 0 <= int(decimal[2]) <= int(decimal[1]) <= 38:
            raise ValueError(f"column {name!r}: {kind!r} is not allowed; give decimal(P,S) with S <= P <= 38")
        if not decimal and kind not in SIMPLE:
            raise ValueError(
                f"column {name!r}: unknown type {kind!r}. Allowed: {', '.join(sorted(SIMPLE))}, decimal(P,S)"
            )
    for name in key:
        if name not in columns:
            raise ValueError(f"key column {name!r} is not among the columns: {', '.join(columns)}")
        if columns[name] not in KEY_TYPES:
            raise ValueError(f"key column {name!r} is {columns[name]}. Allowed for a key: {', '.join(KEY_TYPES)}")
    if not key:
        raise ValueError("key: name the columns that identify a row")
    return Contract(
        table=table,
        columns=tuple(Column(name=name, kind=kind) for name, kind in columns.items()),
        key=key,
        **more,
    )


def column_name(given: str) -> str:
    """A header of a file as a column name: `Order ID` is `order_id`."""
    return re.sub(r"[^a-z0-9]+", "_", given.lower()).strip("_")


COMMITS = of(
    "commits",
    {
        "sha": "text", "parents": "bigint", "author_name": "text", "author_email": "text", "authored_at": "timestamp",
        "committer_name": "text", "committer_email": "text", "committed_at": "timestamp", "subject": "text",
        "message": "text",
    },
    ("sha",),
    repository=True,
    required=("authored_at", "committed_at"),
)  # fmt: skip
FILES = of(
    "files",
    {"path": "text", "suffix": "text", "kind": "text", "mode": "text", "blob": "text", "bytes": "bigint"},
    ("path",),
    repository=True,
)
OWN_TABLES = ("commits", "files", "rejected", "repositories", "loads")
