"""Writes the counts of a run, and how far each repository was read, in one transaction of the warehouse.

It is the last step, so a run that is killed before it is repeated, and the rows that it loaded are merged again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flows._etl.reconciling import Reconciled
from flows._etl.warehouse import Warehouse

COUNTS = ("source_rows", "extracted", "loaded", "rejected", "removed", "warehouse_rows")
LOADS = (
    "loaded_at TIMESTAMPTZ, table_name VARCHAR, source VARCHAR, mode VARCHAR, "
    + ", ".join(f"{name} BIGINT" for name in COUNTS)
    + ", reconciled BOOLEAN"
)
REPOSITORIES = "repository VARCHAR, head VARCHAR, loaded_at TIMESTAMPTZ"


def record(found: Sequence[Reconciled], heads: Mapping[str, str], at: datetime, warehouse: Warehouse) -> None:
    """Add a row to `loads` for each count, and set the commit of each repository in `repositories`.

    The next run reads the commits after these.
    """
    loads, marks = warehouse.table("loads"), warehouse.table("repositories")
    statements: list[tuple[str, tuple[Any, ...]]] = [
        (f"CREATE TABLE IF NOT EXISTS {loads} ({LOADS})", ()),
        (f"CREATE TABLE IF NOT EXISTS {marks} ({REPOSITORIES})", ()),
    ]
    for one in found:
        mode = "full" if one.full else "incremental"
        row = (at, one.table, one.source, mode, *(getattr(one, name) for name in COUNTS), one.sound)
        statements.append((f"INSERT INTO {loads} VALUES ({', '.join('?' * len(row))})", row))
    for name, head in heads.items():
        statements.append((f"DELETE FROM {marks} WHERE repository = ?", (name,)))
        statements.append((f"INSERT INTO {marks} VALUES (?, ?, ?)", (name, head, at)))
    warehouse.write(statements)
