"""`[queue.nats]`."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from horae.settings.tables import Table


class NatsSettings(Table):
    """`[queue.nats]`."""

    url: SecretStr | None = None
    """nats://HOST:4222 or tls://HOST:4222; several, separated by commas, for a cluster. Default: none."""
    username: str | None = None
    """User of that server. Default: none."""
    password: SecretStr | None = None
    """The user's password. Default: none."""
    password_file: Path | None = None
    """File with that password, read at each new connection. Relative to the project. Default: none."""
    token_file: Path | None = None
    """File with a token, read at each new connection. Relative to the project. Default: none."""
    credentials_file: Path | None = None
    """File with a JWT and its key (.creds). Relative to the project. Default: none."""
    tls_ca_file: Path | None = None
    """Certificates (PEM) that the server's is checked against. Relative to the project. Default: the system's."""
    tls_cert_file: Path | None = None
    """Certificate (PEM) that is shown to the server. Relative to the project. Default: none."""
    tls_key_file: Path | None = None
    """Key (PEM) of that certificate. Relative to the project. Default: it is in the same file."""
    replicas: int = Field(1, ge=1, le=5)
    """Copies of the stream that a cluster keeps. It is used when the stream is made."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        addresses = self.url.get_secret_value().split(",") if self.url else []
        for address in addresses:
            parts = urlsplit(address.strip())
            if parts.scheme not in ("nats", "tls") or not parts.hostname:
                raise ValueError("url: an address begins with nats:// or tls:// and names a host")
        if self.username and not (self.password or self.password_file):
            raise ValueError("username needs password or password_file")
        return self


FILES = ("password_file", "token_file", "credentials_file", "tls_ca_file", "tls_cert_file", "tls_key_file")


def below(table: NatsSettings, project: Path) -> NatsSettings:
    """The same with its files as full paths."""
    given = {name: getattr(table, name) for name in FILES}
    return table.model_copy(update={name: project / path for name, path in given.items() if path})


def addresses(table: NatsSettings) -> list[str]:
    return [part.strip() for part in table.url.get_secret_value().split(",")] if table.url else []
