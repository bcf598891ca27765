"""`[jobs.etl]` in horae.toml."""

from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from flows._etl import contract
from flows._etl.contract import Contract

Word = Annotated[str, Field(pattern=f"^{contract.NAME.pattern}$", max_length=50)]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class SourceSettings(BaseModel):
    """`[jobs.etl.sources.NAME]`: files or a database table. NAME is the table in the warehouse."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """CSV, TSV or Parquet files, as paths or globs relative to the project."""
    database: SecretStr | None = None
    """postgresql:// URL, or the path of an SQLite file. Give it with `table`."""
    table: str | None = None
    """Table or view of the database, such as `shop.orders`."""
    columns: dict[str, str]
    """The contract: each column with its type."""
    key: Annotated[tuple[str, ...], BeforeValidator(_listed)]
    """Columns that identify a row."""
    cursor: str | None = None
    """Column of type timestamp, date or bigint that grows with each change. Only newer rows are read."""
    lag_hours: float = Field(default=72, ge=0, le=87_600)
    """Hours before the newest loaded cursor from which rows are read again, for rows that come late. A bigint cursor
    counts in `lag_rows`."""
    lag_rows: int = Field(default=10_000, ge=0)
    """How far below the newest loaded bigint cursor rows are read again."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """Between the values of a CSV file. A TSV file has tabs."""
    new_columns: str = Field(default="refuse", pattern="^(refuse|ignore)$")
    """A column that the contract does not have: refuse the source, or ignore the column and name it."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if bool(self.files) == bool(self.database):
            raise ValueError("give either files, or database with table")
        if bool(self.database) != bool(self.table):
            raise ValueError("database and table belong together")
        if self.cursor is not None:
            kind = self.columns.get(self.cursor)
            if kind not in ("timestamp", "date", "bigint"):
                raise ValueError(
                    f"cursor {self.cursor!r} is {kind or 'no column'}. Allowed: a bigint, date or timestamp column"
                )
        contract.of("x", self.columns, self.key)
        return self

    def contract(self, name: str) -> Contract:
        return contract.of(name, self.columns, self.key)


class EtlSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    warehouse: SecretStr | None = None
    """A postgresql:// URL, or the path of a DuckDB file relative to the project. Default: `warehouse.duckdb` in the
    state folder. With a password, give it in HORAE_JOBS__ETL__WAREHOUSE."""
    dataset: Word = "etl"
    """The schema of the warehouse that holds the tables. dlt adds a second one, with `_staging` at its end."""
    repositories: bool = True
    """Whether commits and files of the repositories are loaded."""
    sources: dict[Word, SourceSettings] = Field(default_factory=dict)
    """Further sources: files and database tables."""
    timeout_seconds: float = Field(default=1800, gt=0, le=86_400)
    """Time limit for reading one source."""
    connect_seconds: int = Field(default=10, ge=1, le=600)
    """Time limit for a connection to a database."""
    memory_mb: int = Field(default=1024, ge=64, le=1_048_576)
    """Memory that DuckDB may use for the transformation. Above it, it uses the disk."""
    batch_rows: int = Field(default=5000, ge=1, le=1_000_000)
    """Rows that go to the loader at a time."""
    keep_reports: int = Field(default=104, ge=1, le=100_000)
    """The number of reports to keep on disk. The default is two years of weekly reports."""

    @model_validator(mode="after")
    def _names(self) -> Self:
        taken = sorted(set(self.sources) & set(contract.OWN_TABLES))
        if taken:
            raise ValueError(f"sources.{taken[0]}: the job itself has a table of this name. Choose another name")
        return self
