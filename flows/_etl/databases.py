"""A table of a PostgreSQL or SQLite database as a source.

Rows and their total number come from one transaction, so they belong together.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
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
    target = work / "rows.csv"
    if url.startswith(("postgresql://", "postgres://")):
        total, more = _from_postgres(url, name, given, settings, target, known)
    elif "://" in url:
        raise UnreadableSource(
            f"database is {urls.shown(url)}. Allowed: a postgresql:// URL, or the path of an SQLite file"
        )
    else:
        place = Path(os.path.normpath(project / Path(url).expanduser()))
        total, more = _from_sqlite(place, name, given, target, known)
    return Extracted(
        name=name,
        tables=(
            Staged(
                contract=given.contract(name),
                files=(target,),
                kind="dump",
                full=known.floor is None,
                total=total,
            ),
        ),
        notes=(f"columns that the contract does not have were ignored: {', '.join(more)}",) if more else (),
    )


def selection(given: SourceSettings, contract: Contract, there: list[str], known: Known) -> tuple[str, str]:
    """SQL that counts all rows, and SQL that selects the columns of the contract from the floor on.

    A row without a cursor is always read.
    """
    named = {column_name(header): header for header in there}
    table = ".".join(_name(part) for part in (given.table or "").split("."))
    columns = ", ".join(f"{_name(named[name])} AS {_name(name)}" for name in contract.names)
    where = ""
    if given.cursor and known.floor is not None:
        cursor = _name(named[given.cursor])
        where = f" WHERE {cursor} >= {quoted(known.floor)} OR {cursor} IS NULL"
    return f"SELECT count(*) FROM {table}", f"SELECT {columns} FROM {table}{where}"


def _name(given: str) -> str:
    return '"' + given.replace('"', '""') + '"'


def _from_postgres(
    url: str, name: str, given: SourceSettings, settings: EtlSettings, target: Path, known: Known
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
            table = ".".join(_name(part) for part in (given.table or "").split("."))
            cursor.execute(f"SELECT * FROM {table} LIMIT 0")
            there = [column.name for column in cursor.description]
            more = compared(given.table or "", [column_name(one) for one in there], contract, given.new_columns)
            count, rows = selection(given, contract, there, known)
            cursor.execute(count)
            total = int(cursor.fetchone()[0])
            with target.open("wb") as file:
                cursor.copy_expert(f"COPY ({rows}) TO STDOUT (FORMAT csv, HEADER, NULL '\\N')", file)
    except psycopg2.Error as error:
        said = urls.cleaned(next(iter(str(error).splitlines()), type(error).__name__).strip(), url)
        kind = SourceUnavailable if isinstance(error, psycopg2.OperationalError) else UnreadableSource
        if "authentication failed" in said:
            kind = UnreadableSource
        raise kind(f"{given.table} of {urls.shown(url)}: {said}") from error
    return total, more


def _from_sqlite(path: Path, name: str, given: SourceSettings, target: Path, known: Known) -> tuple[int, list[str]]:
    contract = given.contract(name)
    if not path.is_file():
        raise UnreadableSource(f"there is no file {path}")
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            connection.execute("BEGIN")
            table = ".".join(_name(part) for part in (given.table or "").split("."))
            there = [column[0] for column in connection.execute(f"SELECT * FROM {table} LIMIT 0").description]
            more = compared(given.table or "", [column_name(one) for one in there], contract, given.new_columns)
            count, rows = selection(given, contract, there, known)
            total = int(connection.execute(count).fetchone()[0])
            with target.open("w", encoding="utf-8", newline="") as file:
                file.writelines(_lines(contract.names, connection.execute(rows)))
    except (sqlite3.Error, UnicodeError) as error:
        kind = SourceUnavailable if "locked" in str(error) else UnreadableSource
        raise kind(f"{given.table} of {path}: {error}") from error
    return total, more


def _lines(names: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    """CSV in which only NULL is without quotes."""
    yield ",".join(names) + "\n"
    for row in rows:
        yield ",".join("\\N" if value is None else _quoted(value) for value in row) + "\n"


def _quoted(value: Any) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return '"' + text.replace('"', '""') + '"'
