"""The password of a PostgreSQL role, by two roles that take turns.

A role has one password, and a new one makes the old one invalid at once. So the role that is not in use gets the new
password, its consumers move over, and the other one loses its password when the grace period is over. The server gets
only a SCRAM verifier, so its log shows no password.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra._secrets.settings import PostgresRole
from infra._secrets.versions import Record, Retired, RotationFailed, Unreachable, Version

TIMEOUT_SECONDS = 10
WRONG = "a-password-that-nobody-has"


class PostgresRoleRotator:
    def __init__(self, settings: PostgresRole, project: Path) -> None:
        self._settings, self._project = settings, project
        parts = urlsplit(settings.url.get_secret_value())
        # Left out, the database would be that of the role's name.
        self._database = parts.path.strip("/") or "postgres"
        self._shown = f"postgresql://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def next_user(self, record: Record) -> str:
        with self._admin() as connection:
            for role in self._settings.roles:
                found = connection.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [role]).fetchone()
                if found is None:
                    raise RotationFailed(
                        f"{self._shown} has no role {role!r}; create it with the same rights as the other role"
                    )
                if not found[0]:
                    raise RotationFailed(f"the role {role!r} of {self._shown} may not log in; run: ALTER ROLE … LOGIN")
        first, second = self._settings.roles
        chosen = first if record.current and record.current.user == second else second
        for retired in record.retired:
            if retired.user == chosen:
                raise RotationFailed(
                    f"the role {chosen!r} is still in its grace period, until {retired.revoke_after:%Y-%m-%d %H:%M} UTC"
                )
        return chosen

    def before_first(self, record: Record) -> list[Retired]:
        """The first role: it was in use before the first rotation."""
        if record.current or any(one.user == self._settings.roles[0] for one in record.retired):
            return []
        return [Retired(id="before-first", revoke_after=datetime.now(UTC), user=self._settings.roles[0])]

    def set(self, version: Version) -> None:
        from psycopg import sql

        with self._admin() as connection:
            verifier = connection.pgconn.encrypt_password(
                version.value.encode(), version.user.encode(), b"scram-sha-256"
            ).decode()
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(version.user), sql.Literal(verifier))
            )

    def test(self, version: Version) -> None:
        if self._lets_in(version.user, WRONG):
            raise RotationFailed(
                f"{self._shown} lets {version.user!r} in with a wrong password; set scram-sha-256 for this user in "
                "pg_hba.conf"
            )
        if not self._lets_in(version.user, version.value):
            raise RotationFailed(f"{self._shown} refuses the new password of {version.user!r}")

    def revoke(self, retired: Retired, current: Version | None) -> None:
        from psycopg import sql

        if current and current.user == retired.user:
            return  # it has a new password since, so the old one is gone already
        with self._admin() as connection:
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD NULL").format(sql.Identifier(retired.user)))

    def _lets_in(self, role: str, password: str) -> bool:
        import psycopg

        try:
            with psycopg.connect(
                self._settings.url.get_secret_value(),
                dbname=self._database,
                user=role,
                password=password,
                connect_timeout=TIMEOUT_SECONDS,
            ) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error) or "no password" in str(error):
                return False
            raise self._unreachable(error) from None
        return True

    @contextmanager
    def _admin(self) -> Iterator[Any]:
        import psycopg

        given: dict[str, Any] = {"dbname": self._database, "connect_timeout": TIMEOUT_SECONDS}
        if self._settings.admin_password_file:
            path = self._project / self._settings.admin_password_file
            try:
                given["password"] = path.read_text().strip()
            except OSError as error:
                raise RotationFailed(f"{path} cannot be read: {error.strerror}") from None
        url = self._settings.url.get_secret_value()
        try:
            with psycopg.connect(url, autocommit=True, **given) as connection:
                yield connection
        except psycopg.errors.InsufficientPrivilege:
            raise RotationFailed(f"the login at {self._shown} may not alter the roles; it needs CREATEROLE") from None
        except psycopg.OperationalError as error:
            raise self._unreachable(error) from None
        except psycopg.Error as error:
            raise RotationFailed(f"{self._shown}: {error.sqlstate or type(error).__name__}") from None

    def _unreachable(self, error: Exception) -> RotationFailed:
        said = str(error).strip().splitlines()
        last = said[-1] if said else type(error).__name__
        if "authentication failed" in last:
            return RotationFailed(f"{self._shown} refuses the login: {last}")
        return Unreachable(f"{self._shown} does not answer: {last}")
