"""CSV, TSV and Parquet files as a source."""

import csv
import os
from glob import glob, has_magic
from pathlib import Path

from flows._etl.contract import Contract, column_name
from flows._etl.errors import UnreadableSource
from flows._etl.settings import SourceSettings
from flows._etl.staged import Extracted, Known, Staged
from flows._etl.warehouse import quoted
from horae.errors import nearest

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of a line of a CSV file; a longer one is rejected."""
SUFFIXES = (".csv", ".tsv", ".parquet")


def extract(name: str, given: SourceSettings, project: Path, known: Known) -> Extracted:
    """Check that each file is there and has the columns of the contract. Raises UnreadableSource."""
    files = found(given, project)
    contract = given.contract(name)
    suffixes = {file.suffix.lower() for file in files}
    kind = "parquet" if suffixes == {".parquet"} else "csv"
    if not suffixes <= set(SUFFIXES) or (".parquet" in suffixes and kind == "csv"):
        raise UnreadableSource(f"its files are {', '.join(sorted(suffixes))}. Allowed: only .parquet, or .csv and .tsv")
    if len(suffixes) > 1:
        raise UnreadableSource("it mixes .csv and .tsv files. Make two sources of them")
    delimiter = "\t" if suffixes == {".tsv"} else given.delimiter
    staged = Staged(
        contract=contract,
        files=tuple(files),
        kind=kind,
        full=known.floor is None,
        delimiter=delimiter,
        cursor=given.cursor,
        floor=known.floor,
    )
    extra: dict[str, None] = {}
    for file in files:
        extra |= dict.fromkeys(compared(str(file), headers(file, staged), contract, given.new_columns))
    notes = (f"columns that the contract does not have were ignored: {', '.join(extra)}",) if extra else ()
    return Extracted(name=name, tables=(staged,), notes=notes)


def found(given: SourceSettings, project: Path) -> list[Path]:
    """The files of the source in the order of their names. Raises UnreadableSource if a pattern matches none."""
    files: dict[Path, None] = {}
    for pattern in given.files:
        place = Path(os.path.normpath(project / Path(pattern).expanduser()))
        if place.is_dir():
            raise UnreadableSource(f"{place} is a folder. Name the files, such as {pattern.rstrip('/')}/*.csv")
        matches = (
            sorted(glob(str(place), recursive=True)) if has_magic(str(place)) and not place.exists() else [str(place)]
        )
        if not matches or not all(Path(match).is_file() for match in matches):
            raise UnreadableSource(f"there is no file {place}")
        files |= dict.fromkeys(map(Path, matches))
    return list(files)


def reader(staged: Staged, *, rejects: bool = False) -> str:
    """SQL that reads the files. The columns have the names of the contract; those of CSV files are texts.

    The form of a CSV file is given and never guessed: a guess fails, or goes wrong, on a file with broken lines.
    `rejects`: put broken lines into the table `reject_errors`.
    """
    if staged.kind == "parquet":
        return " UNION ALL BY NAME ".join(_parquet(file, staged) for file in staged.files)
    if staged.kind == "ndjson":
        columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in staged.contract.names)
        names = ", ".join(quoted(str(file)) for file in staged.files)
        return (
            f"SELECT * FROM read_json([{names}], format = 'newline_delimited', columns = {{{columns}}}, "
            "maximum_object_size = 268435456)"
        )
    return " UNION ALL BY NAME ".join(_csv(file, staged, rejects) for file in staged.files)


def _csv(file: Path, staged: Staged, rejects: bool) -> str:
    types = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in headers(file, staged))
    null = ", nullstr = '\\N', allow_quoted_nulls = false" if staged.kind == "dump" else ""
    store = ", store_rejects = true, rejects_limit = 0" if rejects else ""
    chosen = ", ".join(f'"{name}"' for name in staged.contract.names)
    return (
        f"SELECT {chosen} FROM read_csv({quoted(str(file))}, header = true, auto_detect = false, "
        f"columns = {{{types}}}, delim = {quoted(staged.delimiter)}, quote = '\"', escape = '\"', "
        f"max_line_size = {LONGEST_LINE}, parallel = false{null}{store})"
    )


def _parquet(file: Path, staged: Staged) -> str:
    spelled = dict(zip(headers(file, staged), _parquet_headers(file), strict=True))
    columns = ", ".join(
        'CAST("' + spelled[name].replace('"', '""') + f'" AS VARCHAR) AS "{name}"' for name in staged.contract.names
    )
    return f"SELECT {columns} FROM read_parquet({quoted(str(file))})"


def headers(file: Path, staged: Staged) -> list[str]:
    """The columns of one file, as names of columns. Raises UnreadableSource."""
    if staged.kind == "parquet":
        return [column_name(header) for header in _parquet_headers(file)]
    try:
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            first = next(csv.reader(lines, delimiter=staged.delimiter), [])
    except (OSError, csv.Error) as error:
        raise UnreadableSource(f"{file} cannot be read: {error}") from error
    if not any(first):
        raise UnreadableSource(f"{file} is empty")
    return [column_name(header) for header in first]


def _parquet_headers(file: Path) -> list[str]:
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        try:
            described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({quoted(str(file))})").fetchall()
        except duckdb.Error as error:
            raise UnreadableSource(f"{file} cannot be read: {str(error).splitlines()[0]}") from error
    return [row[0] for row in described]


def compared(place: str, there: list[str], contract: Contract, new_columns: str) -> list[str]:
    """Columns of a source that the contract does not have. Raises UnreadableSource if the contract is broken."""
    if double := sorted({name for name in there if there.count(name) > 1}):
        raise UnreadableSource(f"{place} has the column {double[0]} twice")
    for name in contract.names:
        if name not in there:
            best = nearest(name, there)
            hint = f", did you mean {best!r}?" if best else "."
            raise UnreadableSource(f"{place} has no column {name!r}{hint} It has: {', '.join(there)}")
    more = [name for name in there if name not in contract.names]
    if more and new_columns == "refuse":
        raise UnreadableSource(
            f"{place} has columns that the contract does not have: {', '.join(more)}. Add them to `columns` with their "
            'types, or set new_columns = "ignore"'
        )
    return more
