"""What the warehouse already has, so that a run reads and compares only what it must."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from flows._etl.settings import SourceSettings
from flows._etl.staged import Known, Staged
from flows._etl.warehouse import Warehouse


def of_repository(name: str, warehouse: Warehouse) -> Known:
    """The commit up to which the repository was loaded and reconciled."""
    found = warehouse.query(f"SELECT head FROM {warehouse.table('repositories')} WHERE repository = ?", (name,))
    return Known(head=found[0][0] if found else None)


def of_source(name: str, given: SourceSettings, warehouse: Warehouse, now: datetime) -> Known:
    """The cursor from which the source is read.

    It is read from the loaded rows, so it cannot be ahead of them. Values in the future are left out: one wrong row
    would hide all that follow. If the contract has a new column, all rows are read.
    """
    if given.cursor is None or not set(given.columns) <= set(warehouse.columns(name)):
        return Known()
    kind = given.columns[given.cursor]
    past = "" if kind == "bigint" else f' WHERE "{given.cursor}" <= ?'
    values = () if kind == "bigint" else (now.date() if kind == "date" else now,)
    found = warehouse.query(f'SELECT max("{given.cursor}") FROM {warehouse.table(name)}{past}', values)
    newest = found[0][0] if found else None
    return Known(floor=None if newest is None else floor(newest, given))


def floor(newest: int | date | datetime, given: SourceSettings) -> str:
    """The newest cursor minus the lag, in the text that PostgreSQL, SQLite and DuckDB read."""
    if isinstance(newest, int):
        return str(newest - given.lag_rows)
    lag = timedelta(hours=given.lag_hours)
    if isinstance(newest, datetime):
        # With a space: in SQLite, where instants are texts, it sorts before a `T`.
        return f"{newest.astimezone(UTC) - lag:%Y-%m-%d %H:%M:%S}"
    return f"{datetime(newest.year, newest.month, newest.day, tzinfo=UTC) - lag:%Y-%m-%d}"


def keys(source: str, staged: Staged, warehouse: Warehouse, work: Path) -> tuple[Path | None, Path | None]:
    """CSV files of the keys and of the rejected rows that the warehouse has of this source; None: it has none."""
    contract = staged.contract
    known, rejected = work / f"{contract.table}.known.csv", work / f"{contract.table}.rejected.csv"
    there = set(contract.whole_key) <= set(warehouse.columns(contract.table))
    compared = staged.full or staged.cursor or staged.keys
    if there and compared:
        columns = ", ".join(f'"{name}"' for name in contract.key)
        where = warehouse.where(contract, source)
        warehouse.write_csv(f"SELECT {columns} FROM {warehouse.table(contract.table)} WHERE {where}", known)
    if had := warehouse.columns("rejected"):
        mine = warehouse.rejected_where(contract, source)
        warehouse.write_csv(f"SELECT row_id FROM {warehouse.table('rejected')} WHERE {mine}", rejected)
    return known if there and compared else None, rejected if had else None
