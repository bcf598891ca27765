"""Reads data sets: those that are part of scikit-learn, and CSV or Parquet files."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows._ml.errors import InvalidDataset
from horae.errors import nearest, unknown

SHIPPED = {
    "breast-cancer": "load_breast_cancer",
    "diabetes": "load_diabetes",
    "digits": "load_digits",
    "iris": "load_iris",
    "wine": "load_wine",
}
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".parquet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where the rows of a data set come from."""

    name: str
    """The name of a shipped data set, else the name of the file."""
    path: Path | None
    """The file. None: a data set of scikit-learn."""
    digest: str
    """Changes when the rows change."""


def locate(dataset: str, project: Path) -> Source:
    """Find a data set by its name, or by a path relative to the project; raises InvalidDataset."""
    if dataset in SHIPPED:
        import sklearn

        return Source(name=dataset, path=None, digest=f"scikit-learn {sklearn.__version__}")
    path = (project / Path(dataset).expanduser()).resolve()
    if not dataset.lower().endswith(SUFFIXES):
        raise InvalidDataset(f"{unknown('data set', dataset, SHIPPED)} Or give a file: {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InvalidDataset(f"the file {path} does not exist; a path is relative to the project, {project}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(name=path.name.partition(".")[0], path=path, digest=digest)


def read(source: Source, most_rows: int) -> Any:
    """The rows as a pandas DataFrame; raises InvalidDataset."""
    import pandas

    if source.path is None:
        return _shipped(source.name)
    name = source.path.name.lower()
    try:
        if name.endswith(".parquet"):
            table = pandas.read_parquet(source.path)
        else:
            separator = "\t" if name.endswith(".tsv") else ","
            table = pandas.read_csv(source.path, sep=separator, nrows=most_rows + 1)
    except (OSError, ValueError, pandas.errors.ParserError) as error:
        raise InvalidDataset(f"{source.path} cannot be read: {str(error).splitlines()[0]}") from error
    if len(table) > most_rows:
        raise InvalidDataset(
            f"{source.path} has more than {most_rows} rows; raise `most_rows` or give a sample of the file"
        )
    table.columns = [str(column).strip() for column in table.columns]
    doubled = sorted(set(table.columns[table.columns.duplicated()]))
    if doubled:
        raise InvalidDataset(f"{source.path} has several columns with the name {doubled[0]!r}")
    return table


def _shipped(name: str) -> Any:
    """The data set with its target as the last column, `target`. Classes have their names."""
    import sklearn.datasets

    bunch = getattr(sklearn.datasets, SHIPPED[name])(as_frame=True)
    table = bunch.data.copy()
    target = bunch.target
    names = getattr(bunch, "target_names", None)
    if names is not None and len(names):
        target = target.map(lambda code: str(names[code]))
    table["target"] = target
    return table


def target_of(table: Any, source: Source, target: str | None) -> str:
    """The column to predict; raises InvalidDataset. In shipped data sets it is `target`."""
    columns = list(table.columns)
    if target is None:
        if source.path is None:
            return "target"
        raise InvalidDataset(f"no column to predict is given; write target=COLUMN. Columns: {', '.join(columns[:20])}")
    if target not in columns:
        best = nearest(target, columns)
        hint = f", did you mean {best!r}?" if best else "."
        raise InvalidDataset(f"{source.name} has no column {target!r}{hint} Columns: {', '.join(columns[:20])}")
    return target
