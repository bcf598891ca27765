"""What every broker's table says alike: who asks, and how TLS is spoken. Files are read at each new connection."""

import ssl
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr, model_validator

from horae.errors import QueueUnavailable
from horae.settings.tables import Table


class BrokerAccess(Table):
    """User, password and TLS of a broker."""

    username: str | None = None
    """User, if the address names none. Default: none."""
    password: SecretStr | None = None
    """Password of that user. Default: none."""
    password_file: Path | None = None
    """File with that password, read at each new connection. Relative to the project. Default: none."""
    tls_ca_file: Path | None = None
    """Certificates (PEM) that the server's is checked against. Relative to the project. Default: the system's."""
    tls_cert_file: Path | None = None
    """Certificate (PEM) that is shown to the server. Relative to the project. Default: none."""
    tls_key_file: Path | None = None
    """Key (PEM) of that certificate. Relative to the project. Default: it is in the same file."""
    tls_check_hostname: bool = True
    """Refuse a certificate that is not made out to the host it came from. Default: yes."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.password and self.password_file:
            raise ValueError("password and password_file are both given; give only one of them")
        if self.username and not (self.password or self.password_file):
            raise ValueError("username is given, but neither password nor password_file; give one of them")
        if self.tls_key_file and not self.tls_cert_file:
            raise ValueError("tls_key_file is given, but tls_cert_file is not; give both")
        return self

    def login(self, username: str | None = None, password: str | None = None) -> tuple[str, str] | None:
        """User and password as they are now; those of the address are given. None without a user.

        Raises QueueUnavailable for a file that cannot be read.
        """
        username = self.username or username
        if username is None:
            return None
        if self.password_file:
            try:
                return username, self.password_file.read_text().strip()
            except (OSError, UnicodeError) as error:
                raise QueueUnavailable(f"password_file {self.password_file} cannot be read: {error}") from error
        return username, self.password.get_secret_value() if self.password else password or ""

    @property
    def tls_given(self) -> str:
        """A setting of TLS that was given; empty when there is none."""
        names = ("tls_ca_file", "tls_cert_file", "tls_key_file")
        return next((name for name in names if getattr(self, name)), "" if self.tls_check_hostname else names[0])

    def tls_context(self) -> ssl.SSLContext:
        """Raises QueueUnavailable for a file that is no certificate or key."""
        try:
            context = ssl.create_default_context(cafile=str(self.tls_ca_file) if self.tls_ca_file else None)
            context.check_hostname = self.tls_check_hostname
            if self.tls_cert_file:
                context.load_cert_chain(self.tls_cert_file, self.tls_key_file)
        except OSError as error:
            raise QueueUnavailable(f"the TLS files of the queue cannot be used: {error}") from error
        return context

    def below(self, folder: Path) -> Self:
        """With its paths relative to that folder."""
        paths: dict[str, Any] = {name: folder / value for name, value in self if isinstance(value, Path)}
        return self.model_copy(update=paths)
