"""What was extracted from one source: files that the transformation reads."""

from dataclasses import dataclass
from pathlib import Path

from flows._etl.contract import Contract


@dataclass(frozen=True, kw_only=True, slots=True)
class Staged:
    """The extracted rows of one table."""

    contract: Contract
    files: tuple[Path, ...]
    kind: str
    """`ndjson`, `dump` (CSV with `\\N` for NULL), `csv` (of a user) or `parquet`."""
    full: bool
    """Whether these are all rows of the source."""
    total: int | None = None
    """The number of rows that the source has. None: the files have all of them."""
    delimiter: str = ","
    cursor: str | None = None
    floor: str | None = None
    """Rows of the files whose cursor is below this value are not loaded again."""
    keys: Path | None = None
    """If only new rows were read: a dump of the keys of all rows. Keys show what counts cannot: one row that came too
    late, and another one that was deleted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extracted:
    """One source after its extraction."""

    name: str
    tables: tuple[Staged, ...]
    head: str | None = None
    """The commit that was read, for a repository."""
    notes: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    """A sentence for each part of the source that could not be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the warehouse already has of one source."""

    head: str | None = None
    """The commit up to which a repository was loaded and reconciled."""
    floor: str | None = None
    """The newest loaded cursor that is not in the future, minus the lag."""
