"""Transforms extracted rows by DuckDB: types, the contract, doubles, and rows that are gone from the source.

Its result is a DuckDB file with the tables `good`, `rejected` and `gone`. Each row of the source is in `good` or in
`rejected`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows._etl import files, rules
from flows._etl.contract import Contract
from flows._etl.errors import UnreadableSource
from flows._etl.staged import Staged
from flows._etl.warehouse import quoted


@dataclass(frozen=True, kw_only=True, slots=True)
class Transformed:
    """The rows of one table of one source, ready to load."""

    source: str
    contract: Contract
    database: Path
    full: bool
    source_rows: int
    """Rows that the source has."""
    extracted: int
    """Rows that were read."""
    good: int
    rejected: int
    gone: int
    """Rows of the warehouse that the source no longer has."""
    absent: int = 0
    """Rows of the source that were neither read now nor earlier, for example because they came too late."""
    reasons: tuple[tuple[str, int], ...] = ()
    """The most frequent reasons, with their counts."""


def transform(
    source: str, staged: Staged, known_keys: Path | None, known_rejected: Path | None, work: Path, memory_mb: int
) -> Transformed:
    """Transform one table. `known_keys` and `known_rejected` are CSV files of what the warehouse has of this source;
    None: it has nothing. Raises UnreadableSource."""
    import duckdb

    database = work / f"{staged.contract.table}.duckdb"
    database.unlink(missing_ok=True)
    with opened(database, work, memory_mb) as connection:
        try:
            extracted = _read(connection, staged)
        except duckdb.Error as error:
            if isinstance(error, duckdb.IOException):
                raise
            raise UnreadableSource(str(error).splitlines()[0]) from error
        _check(connection, staged)
        absent = _compare(connection, staged, known_keys, known_rejected)
        good, rejected, gone = (_count(connection, f"SELECT count(*) FROM {name}") for name in ("good", "bad", "gone"))
        reasons = connection.execute(
            "SELECT regexp_replace(reasons, '\".*\"', '…'), count(*) AS n FROM bad GROUP BY 1 "
            "ORDER BY n DESC, 1 LIMIT 5"
        ).fetchall()
    return Transformed(
        source=source,
        contract=staged.contract,
        database=database,
        full=staged.full,
        source_rows=extracted if staged.total is None else staged.total,
        extracted=extracted,
        good=good,
        rejected=rejected,
        gone=gone,
        absent=absent,
        reasons=tuple(reasons),
    )


@contextmanager
def opened(database: Path, work: Path, memory_mb: int, *, read_only: bool = False) -> Iterator[Any]:
    """A DuckDB file of the work folder. It never fetches an extension, and its time zone is UTC."""
    import duckdb

    config: dict[str, Any] = {
        "autoinstall_known_extensions": "false",
        "memory_limit": f"{memory_mb}MB",
        "temp_directory": str(work),
    }
    with duckdb.connect(str(database), read_only=read_only, config=config) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def rows(found: Transformed, work: Path, memory_mb: int, batch: int) -> Iterator[list[dict[str, Any]]]:
    """The rows to load, in batches: good ones, and keys of rows that are gone, marked by `deleted`."""
    own = {"repository": found.source} if found.contract.repository else {}
    with opened(found.database, work, memory_mb, read_only=True) as connection:
        for table, more in (("good", {}), ("gone", {"deleted": True})):
            cursor = connection.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description]
            while chunk := cursor.fetchmany(batch):
                yield [own | dict(zip(names, row, strict=True)) | more for row in chunk]


def rejected_rows(found: Transformed, work: Path, memory_mb: int, batch: int) -> Iterator[list[dict[str, Any]]]:
    """The rejected rows to load, and those that are no longer rejected, marked by `deleted`."""
    own = {"table_name": found.contract.table, "source": found.source}
    with opened(found.database, work, memory_mb, read_only=True) as connection:
        for table in ("bad", "healed"):
            cursor = connection.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description]
            more = {"deleted": True} if table == "healed" else {}
            while chunk := cursor.fetchmany(batch):
                yield [own | dict(zip(names, row, strict=True)) | more for row in chunk]


def _read(connection: Any, staged: Staged) -> int:
    """Read the files into `raw` as text, and their broken lines into `lines`; returns the number of both."""
    columns = ", ".join(f'"{name}"' for name in staged.contract.names)
    source = files.reader(staged, rejects=staged.kind in ("csv", "dump"))
    connection.execute(f"CREATE TABLE raw AS SELECT row_number() OVER () AS _row, {columns} FROM ({source})")
    connection.execute("CREATE TABLE lines (line VARCHAR, reasons VARCHAR)")
    if staged.kind in ("csv", "dump"):
        connection.execute(
            "INSERT INTO lines SELECT any_value(csv_line), any_value(lower(error_type) || ': ' || error_message) || "
            "' (line ' || line || ' of ' || any_value(parse_filename(file_path)) || ')' "
            "FROM reject_errors JOIN reject_scans USING (scan_id, file_id) GROUP BY file_id, line"
        )
    return _count(connection, "SELECT (SELECT count(*) FROM raw) + (SELECT count(*) FROM lines)")


def _check(connection: Any, staged: Staged) -> None:
    """Divide `raw` into `good` and `bad`."""
    contract = staged.contract
    key = rules.key_text(contract)
    connection.execute(f"CREATE TABLE checked AS {rules.checked(contract)}")
    connection.execute(f"CREATE TABLE doubled AS {rules.doubles(contract, staged.cursor)}")
    columns = ", ".join(f'"{name}"' for name in contract.names)
    floor = ""
    if staged.cursor and staged.floor is not None:
        kind = next(column.duckdb for column in contract.columns if column.name == staged.cursor)
        floor = f' AND ("{staged.cursor}" >= CAST({quoted(staged.floor)} AS {kind}) OR "{staged.cursor}" IS NULL)'
    connection.execute(
        f"CREATE TABLE good AS SELECT {columns} FROM checked "
        f"WHERE _reasons IS NULL AND _row NOT IN (SELECT _row FROM doubled){floor}"
    )
    connection.execute(
        f"CREATE TABLE faulty AS SELECT CASE WHEN _reasons IS NOT NULL AND {key} NOT IN "
        f"(SELECT {key} FROM checked WHERE _reasons IS NULL) THEN {key} END AS row_id, "
        "coalesce(_reasons, 'another row has the same key') AS reasons, _original AS original "
        "FROM checked WHERE _reasons IS NOT NULL OR _row IN (SELECT _row FROM doubled) "
        "UNION ALL SELECT NULL, reasons, line FROM lines"
    )
    # A row without a key of its own is named by its content, and equal rows are numbered.
    connection.execute(
        "CREATE TABLE bad AS SELECT coalesce(CASE WHEN n = 1 THEN row_id END, "
        "'row ' || md5(coalesce(original, '')) || ' ' || row_number() OVER (PARTITION BY original)) AS row_id, "
        "reasons, replace(original, chr(0), '\\u0000') AS original "
        "FROM (SELECT *, row_number() OVER (PARTITION BY row_id ORDER BY original, reasons) AS n FROM faulty)"
    )


def _compare(connection: Any, staged: Staged, known_keys: Path | None, known_rejected: Path | None) -> int:
    """Find the rows of the warehouse that are gone from the source (`gone`), and rejected ones that are now good or
    gone (`healed`); returns the number of rows of the source that are nowhere."""
    contract, absent = staged.contract, 0
    key, columns = rules.key_text(contract), ", ".join(f'"{name}"' for name in contract.key)
    types = ", ".join(f"{quoted(column.name)}: {quoted(column.duckdb)}" for column in contract.key_columns)
    connection.execute(f"CREATE TABLE gone AS SELECT {columns} FROM good LIMIT 0")
    connection.execute("CREATE TABLE had_bad (row_id VARCHAR)")
    if known_rejected:
        connection.execute(f"INSERT INTO had_bad FROM {_csv(known_rejected, "'row_id': 'VARCHAR'")}")
    if known_keys:
        connection.execute(f"CREATE TABLE had AS SELECT {columns}, {key} AS _key FROM {_csv(known_keys, types)}")
        connection.execute(f"CREATE TABLE source AS {_source_keys(staged, key)}")
        connection.execute(
            f"INSERT INTO gone SELECT {columns} FROM had "
            "WHERE _key NOT IN (SELECT _key FROM source) AND _key NOT IN (SELECT row_id FROM bad)"
        )
        absent = _count(
            connection,
            "SELECT count(*) FROM source WHERE _key NOT IN (SELECT _key FROM had) AND "
            f"_key NOT IN (SELECT {key} FROM good) AND _key NOT IN (SELECT row_id FROM bad) "
            "AND _key NOT IN (SELECT row_id FROM had_bad)",
        )
    past = "" if staged.full else f" AND row_id IN (SELECT {key} FROM good)"
    connection.execute(
        f"CREATE TABLE healed AS SELECT row_id FROM had_bad WHERE row_id NOT IN (SELECT row_id FROM bad){past}"
    )
    return absent


def _source_keys(staged: Staged, key: str) -> str:
    """SQL of the keys of all rows of the source."""
    if staged.keys is None:
        return f"SELECT {key} AS _key FROM checked WHERE _reasons IS NULL"
    keys = staged.contract.key_columns
    values = ", ".join(f'{rules.value(column)} AS "{column.name}"' for column in keys)
    dump = _csv(staged.keys, ", ".join(f"{quoted(column.name)}: 'VARCHAR'" for column in keys), null="\\N")
    return f"SELECT DISTINCT {key} AS _key FROM (SELECT {values} FROM {dump}) WHERE {key} IS NOT NULL"


def _csv(path: Path, types: str, null: str = "") -> str:
    """SQL that reads a CSV file of a database."""
    return (
        f"read_csv({quoted(str(path))}, header = true, delim = ',', quote = '\"', escape = '\"', auto_detect = false, "
        f"columns = {{{types}}}, allow_quoted_nulls = false, nullstr = {quoted(null)}, "
        f"max_line_size = {files.LONGEST_LINE}, parallel = false)"
    )


def _count(connection: Any, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])
