"""The engine of each kind of database."""

from pathlib import Path

from horae.errors import InvalidSettings
from infra._backup.databases import Database, MySQL, Postgres, SQLite, parse
from infra._backup.engine import AnyEngine
from infra._backup.mysql import MySQLEngine
from infra._backup.postgres import PostgresEngine
from infra._backup.settings import BackupSettings
from infra._backup.sqlite import SQLiteEngine


def engine_of(database: Database, settings: BackupSettings, project: Path, work: Path) -> AnyEngine:
    """`work`: the workspace. Raises InvalidSettings."""
    limit = settings.timeout_seconds
    if isinstance(database, SQLite):
        return SQLiteEngine(work=work, timeout_seconds=limit)
    server = server_of(type(database), settings, project)
    if isinstance(database, Postgres):
        assert server is None or isinstance(server, Postgres)
        return PostgresEngine(work=work, timeout_seconds=limit, tools=settings.postgres_bin, scratch_server=server)
    assert server is None or isinstance(server, MySQL)
    return MySQLEngine(work=work, timeout_seconds=limit, tools=settings.mysql_bin, scratch_server=server)


def server_of(kind: type[Database], settings: BackupSettings, project: Path) -> Postgres | MySQL | None:
    """The configured server for scratch databases of this kind, None without one; raises InvalidSettings."""
    setting = "drill_postgres" if kind is Postgres else "drill_mysql"
    url = getattr(settings, setting)
    if url is None:
        return None
    try:
        database = parse(url, project)
    except ValueError:  # urllib's messages quote the URL, and so its password
        raise InvalidSettings(f"[jobs.database-backup] {setting} is a malformed URL") from None
    except InvalidSettings as error:
        raise InvalidSettings(f"[jobs.database-backup] {setting}: {error.message}") from None
    if isinstance(database, SQLite) or not isinstance(database, kind):
        raise InvalidSettings(f"[jobs.database-backup] {setting} is the URL of another kind of database")
    return database
