"""What every kind of database can do: be dumped, be restored, and have its rows counted."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from horae.errors import RunError


class BackupFailed(RunError):
    """The backup could not be made, or did not pass its check."""


class RestoreRefused(RunError):
    """The target of a restore is not new and empty; nothing was changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A dump in the workspace that was read again from its first to its last byte."""

    file: Path
    suffix: str
    tables: Mapping[str, int]
    """Rows of each table, as counted in the dump."""
    notes: tuple[str, ...] = ()
    """What the backup does not promise, one sentence each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What a restored database holds."""

    tables: Mapping[str, int]
    skipped: frozenset[str] = frozenset()
    """Tables whose rows an extension fills, so they say nothing about the backup."""


class Engine[D](Protocol):
    """One kind of database. Every method raises BackupFailed or OSError."""

    def probe(self, database: D) -> str:
        """Log in and say in a few words what a backup would hold; changes nothing."""

    def back_up(self, database: D) -> Made:
        """Dump the database into the workspace, one instant of it, while others write to it."""

    def scratch(self, database: D, folder: Path) -> AbstractContextManager[D]:
        """A new, empty database, dropped afterwards. `folder` keeps the records by which one that a dead run left
        behind is dropped first."""

    def claimed(self, target: D, dry_run: bool) -> AbstractContextManager[None]:
        """Make sure that `target` is new or empty, and create it if need be; raises RestoreRefused.

        A database that was created here is dropped again if the block raises. `dry_run` creates nothing.
        """

    def restore(self, file: Path, target: D, *, drill: bool, owners: bool) -> None:
        """Load a dump into a claimed database. `drill`: leave out what acts by itself, such as events. `owners`: also
        restore owners and grants, whose roles must exist."""

    def count(self, database: D) -> Counted:
        """Rows of each table."""


type AnyEngine = Engine[Any]


def differences(wanted: Mapping[str, int], found: Counted) -> list[str]:
    """One sentence for each table that does not hold the rows that were backed up."""
    told = []
    for table in sorted(wanted.keys() - found.skipped):
        if table not in found.tables:
            told.append(f"table {table} is missing")
        elif found.tables[table] != wanted[table]:
            told.append(f"table {table} has {found.tables[table]} rows and {wanted[table]} were backed up")
    return told
