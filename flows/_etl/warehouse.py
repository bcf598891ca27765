"""The warehouse: a DuckDB file or a PostgreSQL database. Dlt alone writes the rows of the sources.

One run at a time may load: dlt's staging tables belong to one load, and two loads would double or drop rows. A run
that was killed may have left a statement on a PostgreSQL server that still runs there. It is ended first.
"""

import fcntl
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from flows._etl.contract import Contract
from flows._etl.errors import WarehouseRefused, WarehouseUnavailable
from flows._etl.settings import EtlSettings
from horae import urls
from horae.files import private_folder

SEPARATOR = "\x1f"
"""Between the parts of a key in `rejected.row_id`."""
WAIT_SECONDS = 30


class Warehouse(ABC):
    """Reads the dataset. Each call opens its own connection."""

    shown: str
    """Its address without a password."""

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset

    @abstractmethod
    def destination(self) -> Any:
        """The destination as dlt takes it."""

    @abstractmethod
    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query; `?` stands for a value. A table that does not exist gives no rows. Raises WarehouseUnavailable
        or WarehouseRefused."""

    @abstractmethod
    def write(self, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """Run statements in one transaction; `?` stands for a value."""

    @abstractmethod
    def write_csv(self, statement: str, target: Path) -> None:
        """Write the result of a query without values to a CSV file with a header."""

    @abstractmethod
    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the dataset for this run. Raises WarehouseUnavailable if another run holds it."""

    def cleaned(self, text: str) -> str:
        """A text of the warehouse without its password."""
        return text

    def table(self, name: str) -> str:
        return f'"{self.dataset}"."{name}"'

    def columns(self, name: str) -> list[str]:
        """Columns of a table, none if it does not exist."""
        found = self.query(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = ? "
            "ORDER BY ordinal_position",
            (self.dataset, name),
        )
        return [row[0] for row in found]

    def key_text(self, contract: Contract) -> str:
        """SQL of a row's key as one text, as `rejected.row_id` has it."""
        parts = [f'CAST("{name}" AS VARCHAR)' for name in contract.key]
        return f" || '{SEPARATOR}' || ".join(parts)

    def where(self, contract: Contract, source: str) -> str:
        """SQL that selects the rows of one source."""
        return f'"repository" = {quoted(source)}' if contract.repository else "TRUE"

    def rejected_where(self, contract: Contract, source: str) -> str:
        """SQL that selects the rejected rows of one source."""
        return f"table_name = {quoted(contract.table)} AND source = {quoted(source)}"


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def configured(settings: EtlSettings, project: Path, state: Path) -> Warehouse:
    """The warehouse of the settings. Raises WarehouseRefused for an address that is neither a file nor PostgreSQL."""
    given = settings.warehouse.get_secret_value() if settings.warehouse else ""
    if given.startswith(("postgresql://", "postgres://")):
        return PostgresWarehouse(given, settings)
    if "://" in given:
        raise WarehouseRefused(
            f"jobs.etl.warehouse is {urls.shown(given)}. Allowed: a postgresql:// URL, or the path of a DuckDB file"
        )
    path = project / Path(given).expanduser() if given else state / "warehouse.duckdb"
    return DuckdbWarehouse(path, settings.dataset)


class DuckdbWarehouse(Warehouse):
    def __init__(self, path: Path, dataset: str) -> None:
        super().__init__(dataset)
        self.path, self.shown = path, str(path)

    def destination(self) -> Any:
        import dlt

        return dlt.destinations.duckdb(credentials=str(self.path))

    @contextmanager
    def _open(self, *, read_only: bool = True) -> Iterator[Any]:
        import duckdb

        try:
            connection = duckdb.connect(str(self.path), read_only=read_only)
        except duckdb.IOException as error:
            if "lock" in str(error):
                raise WarehouseUnavailable(
                    f"another process uses {self.path}. Close it and run the job again"
                ) from error
            raise WarehouseRefused(f"{self.path} cannot be opened: {_first(error)}") from error
        except duckdb.Error as error:
            raise WarehouseRefused(f"{self.path} cannot be opened: {_first(error)}") from error
        try:
            yield connection
        except duckdb.IOException as error:
            raise WarehouseRefused(f"{self.path}: {_first(error)}") from error
        finally:
            connection.close()

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        import duckdb

        if not self.path.exists():
            return []
        with self._open() as connection:
            try:
                return list(connection.execute(statement, list(values)).fetchall())
            except duckdb.CatalogException:
                return []

    def write(self, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        with self._open(read_only=False) as connection:
            connection.begin()
            for statement, values in statements:
                connection.execute(statement, list(values))
            connection.commit()

    def write_csv(self, statement: str, target: Path) -> None:
        with self._open() as connection:
            connection.execute(f"COPY ({statement}) TO {quoted(str(target))} (FORMAT csv, HEADER)")

    @contextmanager
    def held(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WarehouseRefused(f"the folder of {self.path} cannot be made: {error.strerror}") from error
        # Opening it for writing also replays the log that a killed run left behind.
        with self._open(read_only=False):
            pass
        yield


class PostgresWarehouse(Warehouse):
    def __init__(self, url: str, settings: EtlSettings) -> None:
        super().__init__(settings.dataset)
        self._url, self.shown = url, urls.shown(url)
        self._connect_seconds = settings.connect_seconds
        self._application = f"horae-etl-{settings.dataset}"

    def cleaned(self, text: str) -> str:
        return urls.cleaned(text, self._url)

    def destination(self) -> Any:
        import dlt

        # Libpq knows what the URL leaves out, such as a password of ~/.pgpass. Dlt reads only the URL.
        with self._open() as connection:
            about = connection.info
            user, password = quote(about.user, safe=""), quote(about.password or "", safe="")
            place = f"{about.host}:{about.port}/{quote(about.dbname, safe='')}"
        login = f"{user}:{password}" if password else user
        more = {"application_name": self._application, "connect_timeout": str(self._connect_seconds)}
        query = urlencode(dict(parse_qsl(urlsplit(self._url).query)) | more)
        return dlt.destinations.postgres(credentials=f"postgresql://{login}@{place}?{query}")

    @contextmanager
    def _open(self) -> Iterator[Any]:
        import psycopg2

        try:
            connection = psycopg2.connect(
                self._url, connect_timeout=self._connect_seconds, application_name=f"{self._application}-reader"
            )
        except psycopg2.OperationalError as error:
            said = self.cleaned(_first(error))
            if any(word in said for word in ("authentication failed", "does not exist", "no password supplied")):
                raise WarehouseRefused(f"{self.shown} refuses the login: {said}") from error
            raise WarehouseUnavailable(f"{self.shown} does not answer: {said}") from error
        except psycopg2.Error as error:
            raise WarehouseRefused(f"the address {self.shown} cannot be used: {self.cleaned(_first(error))}") from error
        try:
            connection.autocommit = True
            yield connection
        except psycopg2.OperationalError as error:
            raise WarehouseUnavailable(f"{self.shown}: {self.cleaned(_first(error))}") from error
        except psycopg2.Error as error:
            raise WarehouseRefused(f"{self.shown}: {self.cleaned(_first(error))}") from error
        finally:
            connection.close()

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        from psycopg2 import errors

        with self._open() as connection, connection.cursor() as cursor:
            try:
                cursor.execute(statement.replace("?", "%s") if values else statement, tuple(values) or None)
            except (errors.UndefinedTable, errors.InvalidSchemaName):
                return []
            return list(cursor.fetchall())

    def write(self, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        with self._open() as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN")
            for statement, values in statements:
                cursor.execute(statement.replace("?", "%s"), values)
            cursor.execute("COMMIT")

    def write_csv(self, statement: str, target: Path) -> None:
        with self._open() as connection, connection.cursor() as cursor, target.open("wb") as file:
            cursor.copy_expert(f"COPY ({statement}) TO STDOUT (FORMAT csv, HEADER)", file)

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._open() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s), hashtext(%s))", ("horae-etl", self.dataset))
            if not cursor.fetchone()[0]:
                raise WarehouseUnavailable(f"another run loads into {self.dataset} of {self.shown}. Wait for its end")
            self._end_leftovers(cursor)
            yield

    def _end_leftovers(self, cursor: Any) -> None:
        """End the sessions of killed runs. Nobody else has this name, because this run holds the lock."""
        left = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s "
            "AND datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
        )
        until = time.monotonic() + WAIT_SECONDS
        while True:
            cursor.execute(left, (self._application,))
            if not cursor.fetchone()[0]:
                return
            if time.monotonic() > until:
                raise WarehouseUnavailable(f"a session of an earlier run does not end on {self.shown}")
            cursor.execute("SELECT pg_sleep(0.05)")


@contextmanager
def work_folder(state: Path) -> Iterator[Path]:
    """A folder for this run, deleted at its end. Folders of killed runs are deleted first.

    Raises WarehouseUnavailable if another run is at work in this state folder.
    """
    folder = private_folder(state / "etl")
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WarehouseUnavailable(f"another run of etl is at work in {folder}. Wait for its end") from error
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            with suppress(OSError):
                shutil.rmtree(work)


def _first(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
