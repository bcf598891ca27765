"""A table of a PostgreSQL or SQLite database as a source.

Rows and their total number come from one transaction, so they belong together.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows._etl.contract import Contract, column_name
from flows._etl.errors import SourceUnavailable, UnreadableSource
from flows._etl.files import compared
from flows._etl.settings import EtlSettings, SourceSettings
from flows._etl.staged import Extracted, Known, Staged
from flows._etl.warehouse import quoted
from horae import urls


def extract(
    name: str, given: SourceSettings, settings: EtlSettings, project: Path, work: Path, known: Known
) -> Extracted:
    """Copy the rows to a CSV file in `work`: all of them, or those from the known floor on. Raises UnreadableSource."""
    assert given.database is not None
    url = given.database.get_secret_value()
    target, keys = work / "rows.csv", work / "keys.csv"
    if url.startswith(("postgresql://", "postgres://")):
        total, more = _from_postgres(url, name, given, settings, (target, keys), known)
    elif "://" in url:
        raise UnreadableSource(
            f"database is {urls.shown(url)}. Allowed: a postgresql:// URL, or the path of an SQLite file"
        )
    else:
        place = Path(os.path.normpath(project / Path(url).expanduser()))
        total, more = _from_sqlite(place, name, given, (target, keys), known)
    return Extracted(
        name=name,
        tables=(
            Staged(
                contract=given.contract(name),
                files=(target,),
                kind="dump",
                full=known.floor is None,
                total=total,
                keys=None if known.floor is None else keys,
            ),
        ),
        notes=(f"columns that the contract does not have were ignored: {', '.join(more)}",) if more else (),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The queries on a table, in SQL that PostgreSQL and SQLite share."""

    count: str
    rows: str
    """The columns of the contract, from the floor on. A row without a cursor is always read."""
    keys: str
    """The key of every row."""


def selection(given: SourceSettings, contract: Contract, there: list[str], known: Known) -> Selection:
    """The queries for a table with these columns."""
    named = {column_name(header): header for header in there}
    table = table_name(given)

    def chosen(names: Iterable[str]) -> str:
        return ", ".join(f"{_name(named[name])} AS {_name(name)}" for name in names)

    where = ""
    if given.cursor and known.floor is not None:
        cursor = _name(named[given.cursor])
        floor = known.floor if given.columns[given.cursor] == "bigint" else quoted(known.floor)
        where = f" WHERE {cursor} >= {floor} OR {cursor} IS NULL"
    return Selection(
        count=f"SELECT count(*) FROM {table}",
        rows=f"SELECT {chosen(contract.names)} FROM {table}{where}",
        keys=f"SELECT {chosen(contract.key)} FROM {table}",
    )


def table_name(given: SourceSettings) -> str:
    """The table as an SQL name; a point separates its schema."""
    return ".".join(_name(part) for part in (given.table or "").split("."))


def _name(given: str) -> str:
    return '"' + given.replace('"', '""') + '"'


def _from_postgres(
    url: str, name: str, given: SourceSettings, settings: EtlSettings, targets: tuple[Path, Path], known: Known
) -> tuple[int, list[str]]:
    import psycopg2

    contract = given.contract(name)
    try:
        with (
            closing(
                psycopg2.connect(
                    url,
                    connect_timeout=settings.connect_seconds,
                    application_name="horae-etl-source",
                    options=f"-c statement_timeout={int(settings.timeout_seconds * 1000)} -c timezone=UTC",
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            cursor.execute(f"SELECT * FROM {table_name(given)} LIMIT 0")
            there = [column.name for column in cursor.description]
            more = compared(given.table or "", [column_name(one) for one in there], contract, given.new_columns)
            wanted = selection(given, contract, there, known)
            cursor.execute(wanted.count)
            total = int(cursor.fetchone()[0])
            for target, query in zip(targets, (wanted.rows, wanted.keys), strict=True):
                with target.open("wb") as file:
                    cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER, NULL '\\N')", file)
    except psycopg2.Error as error:
        said = urls.cleaned(next(iter(str(error).splitlines()), type(error).__name__).strip(), url)
        kind = SourceUnavailable if isinstance(error, psycopg2.OperationalError) else UnreadableSource
        if "authentication failed" in said:
            kind = UnreadableSource
        raise kind(f"{given.table} of {urls.shown(url)}: {said}") from error
    return total, more


def _from_sqlite(
    path: Path, name: str, given: SourceSettings, targets: tuple[Path, Path], known: Known
) -> tuple[int, list[str]]:
    contract = given.contract(name)
    if not path.is_file():
        raise UnreadableSource(f"there is no file {path}")
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            connection.execute("BEGIN")
            described = connection.execute(f"SELECT * FROM {table_name(given)} LIMIT 0").description
            there = [column[0] for column in described]
            more = compared(given.table or "", [column_name(one) for one in there], contract, given.new_columns)
            wanted = selection(given, contract, there, known)
            total = int(connection.execute(wanted.count).fetchone()[0])
            for target, query in zip(targets, (wanted.rows, wanted.keys), strict=True):
                with target.open("w", encoding="utf-8", newline="") as file:
                    file.writelines(_lines(connection.execute(query)))
    except (sqlite3.Error, UnicodeError) as error:
        kind = SourceUnavailable if "locked" in str(error) else UnreadableSource
        raise kind(f"{given.table} of {path}: {error}") from error
    return total, more


def _lines(rows: sqlite3.Cursor) -> Iterator[str]:
    """CSV in which only NULL is without quotes."""
    yield ",".join(column[0] for column in rows.description) + "\n"
    for row in rows:
        yield ",".join("\\N" if value is None else _quoted(value) for value in row) + "\n"


def _quoted(value: Any) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return '"' + text.replace('"', '""') + '"'
