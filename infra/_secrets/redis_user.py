"""The password of an ACL user of Redis or Valkey.

Such a user may have several passwords: the new one is added, and the old one stays until the grace period is over. Only
checksums go to the server when a password is added or removed, so no log and no MONITOR of it shows one.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from horae.redis.access import RedisAccess
from horae.redis.address import parse
from infra._secrets.settings import RedisUser
from infra._secrets.versions import Record, Retired, RotationFailed, Unreachable, Version

TIMEOUT_SECONDS = 10.0


class RedisUserRotator:
    def __init__(self, settings: RedisUser, project: Path) -> None:
        self._settings = settings
        self._urls = [url.get_secret_value() for url in settings.urls]
        self._password_file = project / settings.admin_password_file if settings.admin_password_file else None
        self._ca_file = project / settings.tls_ca_file if settings.tls_ca_file else None

    def next_user(self, record: Record) -> str:
        for url in self._urls:
            with self._admin(url) as server:
                self._passwords(server, url)
        return ""

    def before_first(self, record: Record) -> list[Retired]:
        if record.current:
            return []
        known = {checksum(record.pending.value)} if record.pending else set()
        known |= {one.checksum for one in record.retired}
        found: dict[str, None] = {}
        for url in self._urls:
            with self._admin(url) as server:
                found |= dict.fromkeys(one for one in self._passwords(server, url) if one not in known)
        return [Retired(id=f"before-{one[:8]}", revoke_after=datetime.now(UTC), checksum=one) for one in found]

    def set(self, version: Version) -> None:
        for url in self._urls:
            with self._admin(url) as server:
                if checksum(version.value) not in self._passwords(server, url):
                    server.execute_command("ACL", "SETUSER", self._settings.user, f"#{checksum(version.value)}")
                self._save(server, url)

    def test(self, version: Version) -> None:
        from redis.exceptions import AuthenticationError, NoPermissionError

        for url in self._urls:
            access = RedisAccess(
                username=self._settings.user, password=SecretStr(version.value), tls_ca_file=self._ca_file
            )
            with self._open(str(parse(url)), access) as server:
                try:
                    server.execute_command("ACL", "WHOAMI")
                except NoPermissionError:
                    continue  # it is in, and may not ask who it is
                except AuthenticationError:
                    raise RotationFailed(f"{parse(url)} refuses the new password of {self._settings.user!r}") from None

    def revoke(self, retired: Retired, current: Version | None) -> None:
        for url in self._urls:
            with self._admin(url) as server:
                there = self._passwords(server, url)
                if current and checksum(current.value) not in there:
                    raise RotationFailed(
                        f"{parse(url)} does not know the current password of {self._settings.user}. The old "
                        "password stays valid, so that someone can log in. Rotate again to set a new password"
                    )
                if retired.checksum in there:
                    server.execute_command("ACL", "SETUSER", self._settings.user, f"!{retired.checksum}")
                self._save(server, url)

    def _passwords(self, server: Any, url: str) -> list[str]:
        """Checksums of the user's passwords. Raises RotationFailed if the user is missing, switched off, or needs no
        password."""
        answer = server.execute_command("ACL", "GETUSER", self._settings.user)
        if answer is None:
            raise RotationFailed(
                f"{parse(url)} has no ACL user {self._settings.user!r}; create it with its rights first"
            )
        found = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
        if "nopass" in found["flags"]:
            raise RotationFailed(
                f"{parse(url)} lets {self._settings.user!r} log in with any password (nopass); give the user a "
                f"password: ACL SETUSER {self._settings.user!r} resetpass"
            )
        if "off" in found["flags"]:
            raise RotationFailed(
                f"{parse(url)} has disabled the user {self._settings.user!r}, so nobody can log in as this user"
            )
        return list(found["passwords"])

    def _save(self, server: Any, url: str) -> None:
        """Make the ACL outlive a restart."""
        from redis.exceptions import ResponseError

        try:
            server.execute_command("ACL", "SAVE")
        except ResponseError:
            try:
                server.execute_command("CONFIG", "REWRITE")
            except ResponseError as error:
                if not self._settings.allow_unsaved:
                    raise RotationFailed(
                        f"{parse(url)} cannot save its ACL ({error}), so a restart would restore the old password. "
                        "Give the server an aclfile or a configuration file, or set allow_unsaved"
                    ) from None

    @contextmanager
    def _admin(self, url: str) -> Iterator[Any]:
        access = RedisAccess(password_file=self._password_file, tls_ca_file=self._ca_file)
        with self._open(url, access) as server:
            yield server

    @contextmanager
    def _open(self, url: str, access: RedisAccess) -> Iterator[Any]:
        from redis.exceptions import AuthenticationError, ConnectionError, NoPermissionError, TimeoutError

        from horae.redis.clients import open_blocking_client

        client = open_blocking_client(url, access, "", timeout_seconds=TIMEOUT_SECONDS, decode=True, retries=0)
        try:
            yield client
        except AuthenticationError:
            raise RotationFailed(f"{parse(url)} refuses the login that would change the ACL") from None
        except NoPermissionError:
            raise RotationFailed(
                f"the login at {parse(url)} may not change ACLs; it needs +acl and +config|rewrite"
            ) from None
        except (ConnectionError, TimeoutError) as error:
            raise Unreachable(f"{parse(url)} does not answer: {error}") from None
        finally:
            client.close()


def checksum(value: str) -> str:
    """Checksum of a password, as the server stores it."""
    return hashlib.sha256(value.encode()).hexdigest()
