"""The databases to back up, and their names."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from horae.errors import InvalidSettings, unknown

# Prefect 3 reads both: the first is the current name, the second the former one.
PREFECT_URLS = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")


@dataclass(frozen=True, kw_only=True, slots=True)
class SQLite:
    name: str
    """Prefix of the names of its backups; the same for the same path."""
    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, kw_only=True, slots=True)
class Postgres:
    name: str
    url: str
    """The connection text for libpq, without the password."""
    password: str | None = field(repr=False)
    """None: libpq uses PGPASSWORD and ~/.pgpass."""

    @property
    def schema(self) -> str:
        return unquote(urlsplit(self.url).path.strip("/")) or "postgres"

    def named(self, schema: str) -> "Postgres":
        """Another database on the same server."""
        start, mark, options = self.url.partition("?")  # urllib drops the `//` of a URL without a host
        host = start.removeprefix("postgresql://").partition("/")[0]
        return replace(self, url=f"postgresql://{host}/{quote(schema, safe='')}{mark}{options}")

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, kw_only=True, slots=True)
class MySQL:
    """A database of a MySQL or MariaDB server."""

    name: str
    host: str
    """Empty: what the option files say, else the local socket."""
    port: int | None
    socket: str | None
    user: str
    """Empty: what the option files say, else the name of this process's user."""
    schema: str
    password: str | None = field(repr=False)
    """None: the programs use their option files, such as ~/.my.cnf, and MYSQL_PWD."""
    option_file: Path | None
    """An option file of the programs, read instead of theirs."""

    def named(self, schema: str) -> "MySQL":
        """Another database on the same server."""
        return replace(self, schema=schema)

    def __str__(self) -> str:
        user = f"{quote(self.user)}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"mysql://{user}{self.host}{port}/{quote(self.schema)}"


Database = SQLite | Postgres | MySQL
MYSQL_OPTIONS = ("option_file", "password_file", "socket")


def parse(text: str, project: Path) -> Database:
    """A path, or a URL of SQLite, PostgreSQL, MySQL or MariaDB, with or without a `+driver`; raises InvalidSettings.

    No message holds the text of a URL, because it may hold a password. `password_file` in the query of a URL names a
    file with the password, relative to the project.
    """
    if "://" not in text:
        return _sqlite(Path(text).expanduser(), project)
    scheme, _, rest = text.partition("://")
    kind = scheme.partition("+")[0].lower()
    if kind == "sqlite":
        path = unquote(rest.removeprefix("/").partition("?")[0])
        if not path or path == ":memory:":
            raise InvalidSettings("an SQLite database in memory cannot be backed up; give it a file")
        return _sqlite(Path(path), project)
    if kind in ("postgresql", "postgres"):
        return _postgres(f"postgresql://{rest}", project)
    if kind in ("mysql", "mariadb"):
        return _mysql(f"mysql://{rest}", project)
    raise InvalidSettings(
        f"a database of kind {kind!r} cannot be backed up; give an SQLite file, or a postgresql://, mysql:// or "
        "mariadb:// URL"
    )


def _sqlite(path: Path, project: Path) -> SQLite:
    full = Path(os.path.normpath(project / path))
    # Use the relative path, so that a moved project still owns its backups.
    identity = str(full.relative_to(project)) if full.is_relative_to(project) else str(full)
    return SQLite(name=_name(full.stem, identity), path=full)


def _postgres(url: str, project: Path) -> Postgres:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    password = options.pop("password", None) or (unquote(parts.password) if parts.password else None)
    password = _from_file(options.pop("password_file", None), project) or password
    if "ssl" in options:  # asyncpg's name for sslmode
        options["sslmode"] = options.pop("ssl")
    user, at, place = parts.netloc.rpartition("@")
    options_text = f"?{urlencode(options)}" if options else ""
    plain = f"postgresql://{user.partition(':')[0]}{at}{place}{parts.path}{options_text}"
    return Postgres(name=_name(parts.path.strip("/") or "postgres", plain), url=plain, password=password)


def _mysql(url: str, project: Path) -> MySQL:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    for key in options:
        if key not in MYSQL_OPTIONS:
            raise InvalidSettings(
                f"a mysql:// URL: {unknown('option', key, MYSQL_OPTIONS)} Other options of the programs, such as those "
                "of TLS, go into an option file: ?option_file=PATH"
            )
    schema = unquote(parts.path.strip("/"))
    if not schema:
        raise InvalidSettings("a mysql:// URL names no database; write mysql://USER@HOST/DATABASE")
    option_file = options.get("option_file")
    found = MySQL(
        name="",
        host=parts.hostname or "",
        port=parts.port,
        socket=options.get("socket"),
        user=unquote(parts.username or ""),
        schema=schema,
        password=_from_file(options.get("password_file"), project)
        or (unquote(parts.password) if parts.password else None),
        option_file=project / Path(option_file).expanduser() if option_file else None,
    )
    return replace(found, name=_name(schema, f"{found}?{found.socket or ''}"))


def _from_file(file: str | None, project: Path) -> str | None:
    """The password in a file; raises InvalidSettings."""
    if file is None:
        return None
    path = project / Path(file).expanduser()
    try:
        password = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is not text"
        raise InvalidSettings(f"its password_file {path} cannot be read: {reason}") from None
    if not password:
        raise InvalidSettings(f"its password_file {path} is empty")
    return password


def _name(stem: str, identity: str) -> str:
    """A readable name that differs between two databases with equal file names."""
    readable = re.sub(r"[^a-zA-Z0-9_]+", "-", stem).strip("-") or "database"
    return f"{readable[:60]}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def chosen(
    given: Sequence[str], project: Path, state: Path, environment: Mapping[str, str]
) -> tuple[list[Database], dict[str, str]]:
    """The databases of a list, each once, and the faults of the other items. For an empty list: the database of
    Prefect's server; raises InvalidSettings if there is none."""
    if not given:
        return [prefect_database(project, state, environment)], {}
    found: dict[str, Database] = {}
    wrong: dict[str, str] = {}
    for number, text in enumerate(given, start=1):
        try:
            database = parse(text, project)
        except ValueError:  # urllib's messages quote the URL, and so its password
            wrong[f"database {number} of the list"] = "its URL is malformed"
        except InvalidSettings as error:
            wrong[f"database {number} of the list"] = error.message
        else:
            found.setdefault(database.name, database)
    return list(found.values()), wrong


def prefect_database(project: Path, state: Path, environment: Mapping[str, str]) -> Database:
    """The database of Prefect's server: from its variables, else `prefect/prefect.db` in the state folder."""
    for name in PREFECT_URLS:
        if environment.get(name):
            return parse(environment[name], project)
    places = [state / "prefect" / "prefect.db"]
    if home := environment.get("PREFECT_HOME"):
        places.insert(0, Path(home).expanduser() / "prefect.db")
    for place in places:
        if place.is_file():
            return _sqlite(place, project)
    raise InvalidSettings(
        "there is no database to back up: none is configured, and Prefect has none at "
        f"{' or '.join(map(str, places))}; give some in horae.toml: [jobs.database-backup] databases = "
        '["path/to/file.db"]'
    )
