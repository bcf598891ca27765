"""PostgreSQL, by its own client programs. They must not be older than the server."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra._backup.artefact import sync
from infra._backup.databases import Postgres
from infra._backup.engine import BackupFailed, Counted, Made, RestoreRefused
from infra._backup.scratch import dropped_on_failure, recorded
from infra._backup.tools import Call, environment, program

SUFFIX = ".dump"
INSTALL = "Debian: apt install postgresql-client; macOS: brew install libpq"
IDENTIFIER = rb'(?:"(?:[^"]|"")+"|[^ ."(]+)'
COPY = re.compile(rb"COPY (" + IDENTIFIER + rb")\.(" + IDENTIFIER + rb") .*FROM stdin;\n")
OWN_SCHEMAS = "n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'"
OF_EXTENSION = (
    "EXISTS (SELECT FROM pg_depend d WHERE d.objid = {0}.oid AND d.classid = '{1}'::regclass AND d.deptype = 'e')"
)
# What makes a database not empty: relations and functions that no extension brought.
CONTENT = f"""
SELECT count(*) FROM (
  SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE {OWN_SCHEMAS} AND NOT {OF_EXTENSION.format("c", "pg_class")}
  UNION ALL
  SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
   WHERE {OWN_SCHEMAS} AND NOT {OF_EXTENSION.format("p", "pg_proc")}) AS content
"""
SESSIONS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
# One line for each table: whether an extension owns it, its rows, its name.
TABLES = f"""
SELECT format('SELECT %L, count(*), %L FROM ONLY %I.%I', {OF_EXTENSION.format("c", "pg_class")},
              n.nspname || '.' || c.relname, n.nspname, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND {OWN_SCHEMAS} \\gexec
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresEngine:
    work: Path
    timeout_seconds: float
    tools: str | None = None
    """The folder of pg_dump, pg_restore and psql. None: PATH."""
    scratch_server: Postgres | None = None
    """Where scratch databases are made. None: the server of the database."""

    def probe(self, database: Postgres) -> str:
        self._program("pg_dump")
        size = self._ask(database, "SELECT pg_database_size(current_database())")
        return f"{int(size) / 1e6:.1f} MB at the server"

    def back_up(self, database: Postgres) -> Made:
        """Dump in pg_dump's own compressed format, then read the whole archive again.

        pg_dump sees one snapshot, however much is written meanwhile.
        """
        packed, call = self.work / f"artefact{SUFFIX}", self._call(database)
        dump = [self._program("pg_dump"), "--format=custom", "--no-password", f"--file={packed}"]
        call.run([*dump, f"--dbname={database.url}"])
        sync(packed)
        restore = self._program("pg_restore")
        listed = call.run([restore, "--list", str(packed)]).decode(errors="replace")
        tables = sum(" TABLE DATA " in line for line in listed.splitlines() if not line.startswith(";"))
        with call.reading([restore, "--file=-", str(packed)], self.work) as script:
            counts, whole = count(script)
        if not whole:
            raise BackupFailed(f"the dump of {database} ends in the middle of a table")
        if len(counts) != tables:
            raise BackupFailed(
                f"the dump of {database} lists the data of {tables} tables, but contains the data of {len(counts)}"
            )
        return Made(file=packed, suffix=SUFFIX, tables=counts)

    @contextmanager
    def scratch(self, database: Postgres, folder: Path) -> Iterator[Postgres]:
        server = self.scratch_server or database

        with recorded(folder, self.work, str(server), lambda schema: self._drop(server, schema)) as schema:
            self._ask(server, f"CREATE DATABASE {quoted(schema)} TEMPLATE template0")
            yield server.named(schema)

    @contextmanager
    def claimed(self, target: Postgres, dry_run: bool) -> Iterator[None]:
        server = target.named("postgres")
        there = self._ask(server, f"SELECT 1 FROM pg_database WHERE datname = {literal(target.schema)}")
        if there:
            if content := int(self._ask(target, CONTENT)):
                raise RestoreRefused(
                    f"{target} is not empty: it has {content} tables, indexes, sequences, views or functions, and a "
                    "restore overwrites nothing; give the name of a new database"
                )
            if sessions := int(self._ask(target, SESSIONS)):
                raise RestoreRefused(
                    f"{target} is in use by {sessions} other sessions; stop the programs that use it, or give the "
                    "name of a new database"
                )
            yield
            return
        if dry_run:
            yield
            return
        self._ask(server, f"CREATE DATABASE {quoted(target.schema)} TEMPLATE template0")
        with dropped_on_failure(str(target), lambda: self._drop(server, target.schema)):
            yield

    def restore(self, file: Path, target: Postgres, *, drill: bool, owners: bool) -> None:
        command = [self._program("pg_restore"), "--exit-on-error", "--no-password"]
        if drill:  # a subscription would pull from the live server
            command += ["--no-subscriptions", "--no-publications"]
        else:  # all or nothing, in a database that was there before
            command += ["--single-transaction"]
        if not owners:
            command += ["--no-owner", "--no-privileges"]
        self._call(target).run([*command, f"--dbname={target.url}", str(file)])

    def count(self, database: Postgres) -> Counted:
        tables, skipped = {}, set()
        for line in self._ask(database, TABLES).splitlines():
            owned, rows, table = line.split("|", 2)
            tables[table] = int(rows)
            if owned in ("t", "true"):
                skipped.add(table)
        return Counted(tables=tables, skipped=frozenset(skipped))

    def _drop(self, server: Postgres, schema: str) -> None:
        self._ask(server, f"DROP DATABASE IF EXISTS {quoted(schema)} WITH (FORCE)")

    def _ask(self, database: Postgres, statement: str) -> str:
        """What psql prints for a statement that comes on stdin, where meta-commands work; raises BackupFailed."""
        command = [self._program("psql"), "-XAtqw", "-v", "ON_ERROR_STOP=1", f"--dbname={database.url}", "--file=-"]
        return self._call(database).run(command, stdin=statement.encode()).decode(errors="replace").strip()

    def _call(self, database: Postgres) -> Call:
        given = environment()
        given.setdefault("PGCONNECT_TIMEOUT", "15")
        if database.password is not None:
            given["PGPASSWORD"] = database.password  # a command line can be read by every user of the machine
        return Call(
            shown=str(database), timeout_seconds=self.timeout_seconds, environment=given, secret=database.password
        )

    def _program(self, name: str) -> str:
        return program([name], self.tools, install=INSTALL, setting="postgres_bin")


def count(script: Iterable[bytes]) -> tuple[dict[str, int], bool]:
    """Rows of each table in a script of pg_restore, the blocks between `COPY ... FROM stdin;` and `\\.`, and whether
    the last of them is whole."""
    tables: dict[str, int] = {}
    rows, table = 0, None
    for line in script:
        if table is not None:
            if line == b"\\.\n":
                tables[table], table = rows, None
            else:
                rows += 1
        elif line.startswith(b"COPY ") and line.endswith(b" FROM stdin;\n"):
            rows, table = 0, _table(line)
    return tables, table is None


def _table(line: bytes) -> str:
    match = COPY.fullmatch(line)
    if match is None:
        return line.decode(errors="replace")
    return ".".join(_plain(part) for part in match.groups())


def _plain(identifier: bytes) -> str:
    text = identifier.decode(errors="replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
