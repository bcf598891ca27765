"""Lists backups, restores one into a new database, and drills a restore. `horae restore` calls it."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from horae.errors import InvalidSettings
from horae.jobs.restoring import Restored, RestoreOptions, Stored
from horae.settings import load
from infra._backup import mysql, postgres, sqlite
from infra._backup.artefact import named, workspace
from infra._backup.databases import Database, MySQL, Postgres, SQLite, chosen, parse
from infra._backup.drilling import Watch, drilled, loaded, prepared, told
from infra._backup.engine import BackupFailed
from infra._backup.engines import engine_of, server_of
from infra._backup.places import SPOKEN, places_of
from infra._backup.settings import BackupSettings

KINDS: dict[str, type[SQLite | Postgres | MySQL]] = {
    sqlite.SUFFIX: SQLite,
    postgres.SUFFIX: Postgres,
    mysql.SUFFIX: MySQL,
}
WORDS = {SQLite: "the path of a new file", Postgres: "a postgresql:// URL", MySQL: "a mysql:// or mariadb:// URL"}


class BackupRestorer:
    """The restorer of this project's backups; raises BackupFailed, InvalidSettings or OSError."""

    def __init__(self, project: Path, settings: BackupSettings, options: RestoreOptions) -> None:
        self._project, self._settings, self._options = project, settings, options
        self._state = load(project).state
        self._places = places_of(settings, project, self._state)
        given = options.identity
        if given is None and settings.identity_file:
            given = project / Path(settings.identity_file).expanduser()
        self._identity = given

    def backups(self) -> Sequence[Stored]:
        try:
            return self._places.stored(self._options.place)
        except BackupFailed as error:  # of the bucket; the folder may have what is needed
            if self._options.place is not None:
                raise
            raise BackupFailed(f"{error.message}; `horae restore --from folder` uses the folder alone") from None

    def restore(self, backup: Stored, target: str) -> Restored:
        database, place = self._target(backup, target), backup.places[0]
        say, watch = self._options.say, Watch()
        with workspace(self._places.folder) as work:
            engine = engine_of(database, self._settings, self._project, work)
            # Fetch first, so that no empty database is left waiting for a download.
            say(f"fetching {backup.name} from {SPOKEN[place]}")
            ready = prepared(self._places, backup, place, self._identity, work, watch)
            with engine.claimed(database, self._options.dry_run):
                if self._options.dry_run:
                    return told(backup, place, str(database), watch, {}, ready.tables, [])
                say(f"restoring into {database}")
                return loaded(engine, ready, database, backup, place, watch, owners=self._options.owners)

    def drill(self, backup: Stored) -> Restored:
        database, place = self._drilled(backup), backup.places[0]
        self._options.say(f"restoring {backup.name} from {SPOKEN[place]} into a scratch database")
        with workspace(self._places.folder) as work:
            engine = engine_of(database, self._settings, self._project, work)
            return drilled(self._places, backup, place, self._identity, database, engine, work)

    def _target(self, backup: Stored, text: str) -> Database:
        """The database that --to names; raises InvalidSettings."""
        wanted = _kind(backup)
        try:
            database = parse(text, Path.cwd())
        except ValueError:  # urllib's messages quote the URL
            raise InvalidSettings("--to is a malformed URL") from None
        except InvalidSettings as error:
            raise InvalidSettings(f"--to: {error.message}") from None
        if not isinstance(database, wanted):
            raise InvalidSettings(f"--to names another kind of database than {backup.name}; give {WORDS[wanted]}")
        if not isinstance(database, SQLite) and database.password is not None and "password_file" not in text:
            raise InvalidSettings(
                "--to has a password, which every user of this machine can read while the command runs; put it into a "
                "file, readable by you alone, and write ?password_file=PATH at the end of the URL"
            )
        return database

    def _drilled(self, backup: Stored) -> Database:
        """The database that the backup is of, as far as a scratch database needs it; raises InvalidSettings."""
        kind = _kind(backup)
        if kind is SQLite:
            return SQLite(name=backup.database, path=Path())
        with suppress(InvalidSettings):
            for database in chosen(self._settings.databases, self._project, self._state, os.environ)[0]:
                if database.name == backup.database:
                    return database
        server = server_of(kind, self._settings, self._project)
        if server is None:
            setting = "drill_postgres" if kind is Postgres else "drill_mysql"
            raise InvalidSettings(
                f"{backup.database} is not among `databases`, so there is no server for its scratch database; set "
                f"{setting} in [jobs.database-backup]"
            )
        return replace(server, name=backup.database)


def _kind(backup: Stored) -> type[SQLite | Postgres | MySQL]:
    artefact = named(backup.name)
    if artefact is None:
        raise BackupFailed(f"{backup.name} is not the name of a backup")
    return KINDS[artefact.suffix]
