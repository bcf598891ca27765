"""User and password for new connections."""

from pathlib import Path

from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError


class Credentials(CredentialProvider):
    """Reads a password file at each new connection, so that a password can be changed while Horae runs."""

    def __init__(self, username: str | None, password: str, file: Path | None) -> None:
        self._username, self._password, self._file = username, password, file

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._password
        if self._file:
            try:
                password = self._file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConnectionError(f"the password cannot be read: {error}") from error
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()  # blocks briefly: a small file, once for each connection
