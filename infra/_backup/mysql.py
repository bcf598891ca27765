"""MySQL and MariaDB, by their own client programs."""

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra._backup.artefact import sync
from infra._backup.databases import MySQL
from infra._backup.engine import BackupFailed, Counted, Made, RestoreRefused
from infra._backup.mysql_script import EVENTS, Counter, before_events, for_drill, portable
from infra._backup.scratch import dropped_on_failure, recorded
from infra._backup.tools import Call, environment, program

SUFFIX = ".sql.gz"
INSTALL = "Debian: apt install mariadb-client; macOS: brew install mariadb"
CONNECT_SECONDS = 15
# What a program of the other family does not know is ignored by `loose`.
DUMP = (
    "--single-transaction",
    "--quick",
    "--hex-blob",
    "--skip-dump-date",
    "--default-character-set=utf8mb4",
    "--loose-no-tablespaces",
    "--loose-set-gtid-purged=OFF",
    "--loose-column-statistics=0",
)
ONLY_EVENTS = ("--events", "--no-data", "--no-create-info", "--skip-triggers")
CONTENT = """
SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = {0})
     + (SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = {0})
     + (SELECT COUNT(*) FROM information_schema.events WHERE event_schema = {0})
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class MySQLEngine:
    work: Path
    timeout_seconds: float
    tools: str | None = None
    """The folder of mariadb-dump and mariadb, or of mysqldump and mysql. None: PATH."""
    scratch_server: MySQL | None = None
    """Where scratch databases are made. None: the server of the database."""

    def probe(self, database: MySQL) -> str:
        self._dump_program()
        size = "SELECT COALESCE(SUM(data_length), 0) FROM information_schema.tables WHERE table_schema = DATABASE()"
        return f"{int(self._ask(database, size)) / 1e6:.1f} MB at the server"

    def back_up(self, database: MySQL) -> Made:
        """Dump one instant of all InnoDB tables, compressed. Events come last, so that a drill can leave them out."""
        packed, counter = self.work / f"artefact{SUFFIX}", Counter()
        with self._call(database) as (call, access):
            dump = [self._dump_program(), *access, *DUMP]
            with packed.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped:
                with call.reading([*dump, "--routines", database.schema], self.work) as script:
                    zipped.writelines(portable(script, counter))
                zipped.write(EVENTS)
                with call.reading([*dump, *ONLY_EVENTS, database.schema], self.work) as script:
                    zipped.writelines(portable(script, Counter()))
        sync(packed)
        if not counter.complete:
            raise BackupFailed(f"the dump of {database} has no end: its last line is not `-- Dump completed`")
        _read_again(packed, counter.tables)
        return Made(file=packed, suffix=SUFFIX, tables=counter.tables, notes=self._notes(database))

    @contextmanager
    def scratch(self, database: MySQL, folder: Path) -> Iterator[MySQL]:
        server = self.scratch_server or database

        with recorded(folder, self.work, str(server), lambda schema: self._drop(server, schema)) as schema:
            self._ask(server.named(""), f"CREATE DATABASE {quoted(schema)}")
            yield server.named(schema)

    @contextmanager
    def claimed(self, target: MySQL, dry_run: bool) -> Iterator[None]:
        server, schema = target.named(""), literal(target.schema)
        if self._ask(server, f"SELECT 1 FROM information_schema.schemata WHERE schema_name = {schema}"):
            if content := int(self._ask(server, CONTENT.format(schema))):
                raise RestoreRefused(
                    f"{target} is not empty: it has {content} tables, views, routines or events, and a restore "
                    "overwrites nothing; give the name of a new database"
                )
            sessions = self._ask(server, f"SELECT COUNT(*) FROM information_schema.processlist WHERE db = {schema}")
            if int(sessions):
                raise RestoreRefused(
                    f"{target} is in use by {sessions} sessions; stop the programs that use it, or give the "
                    "name of a new database"
                )
            yield
            return
        if dry_run:
            yield
            return
        self._ask(server, f"CREATE DATABASE {quoted(target.schema)}")
        with dropped_on_failure(str(target), lambda: self._drop(server, target.schema)):
            yield

    def restore(self, file: Path, target: MySQL, *, drill: bool, owners: bool) -> None:
        with self._call(target) as (call, access), gzip.open(file, "rb") as script:
            command = [self._client(), *access, "--batch", "--binary-mode", "--default-character-set=utf8mb4"]
            lines = for_drill(script) if drill else iter(script)
            try:
                call.feed([*command, target.schema], lines, self.work)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise BackupFailed(f"{file.name} is damaged: {error}") from None

    def count(self, database: MySQL) -> Counted:
        listed = self._ask(
            database,
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')",
        )
        names = listed.splitlines()
        counts = [f"SELECT COUNT(*) FROM {quoted(name)};" for name in names]
        found = self._ask(database, "\n".join(counts)).splitlines() if names else []
        return Counted(tables=dict(zip(names, map(int, found), strict=True)))

    def _notes(self, database: MySQL) -> tuple[str, ...]:
        listed = self._ask(
            database,
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
            "AND table_type = 'BASE TABLE' AND engine <> 'InnoDB' ORDER BY table_name",
        ).splitlines()
        if not listed:
            return ()
        named = ", ".join(listed[:10]) + (", …" if len(listed) > 10 else "")
        return (f"tables without transactions may be of another instant than the others: {named}",)

    def _drop(self, server: MySQL, schema: str) -> None:
        self._ask(server.named(""), f"DROP DATABASE IF EXISTS {quoted(schema)}")

    def _ask(self, database: MySQL, statements: str) -> str:
        with self._call(database) as (call, access):
            command = [self._client(), *access, "--batch", "--raw", "--skip-column-names"]
            command += ["--default-character-set=utf8mb4", f"--connect-timeout={CONNECT_SECONDS}"]
            command += [database.schema] if database.schema else []
            return call.run(command, stdin=statements.encode()).decode(errors="replace").strip()

    @contextmanager
    def _call(self, database: MySQL) -> Iterator[tuple[Call, list[str]]]:
        """How to call a program, and the options that log it in. A password is in a file that only we can read."""
        access: list[str] = []
        descriptor, name = tempfile.mkstemp(suffix=".cnf", dir=self.work)  # of mode 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(options(database))
        if database.password is not None or database.option_file:
            access.append(f"--defaults-file={name}")  # must be the first option
        for option, value in (
            ("host", database.host),
            ("port", database.port),
            ("socket", database.socket),
            ("user", database.user),
        ):
            if value:
                access.append(f"--{option}={value}")
        given = environment(MYSQL_PWD=None) if database.password is not None else environment()
        try:
            yield (
                Call(
                    shown=str(database),
                    timeout_seconds=self.timeout_seconds,
                    environment=given,
                    secret=database.password,
                ),
                access,
            )
        finally:
            Path(name).unlink(missing_ok=True)

    def _dump_program(self) -> str:
        return program(["mariadb-dump", "mysqldump"], self.tools, install=INSTALL, setting="mysql_bin")

    def _client(self) -> str:
        return program(["mariadb", "mysql"], self.tools, install=INSTALL, setting="mysql_bin")


def options(database: MySQL) -> str:
    """An option file for the programs, with the password."""
    lines = [f"!include {database.option_file}"] if database.option_file else []
    if database.password is not None:
        escaped = database.password.replace("\\", "\\\\").replace('"', '\\"')
        lines += ["[client]", f'password="{escaped}"']
    return "\n".join(lines) + "\n"


def _read_again(packed: Path, wanted: dict[str, int]) -> None:
    """Read the artefact from its first to its last byte; raises BackupFailed."""
    counter = Counter()
    try:
        with gzip.open(packed, "rb") as script:
            for line in before_events(script):
                counter.read(line)
            for _ in script:
                pass
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BackupFailed(f"the dump cannot be read again: {error}") from None
    if counter.tables != wanted:
        raise BackupFailed("the dump cannot be read again: its rows differ from those that were written")


def quoted(identifier: str) -> str:
    return "`" + identifier.replace("`", "``") + "`"


def literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
