"""`[queue.nats]`."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from horae.queues.access import BrokerAccess


class NatsSettings(BrokerAccess):
    """`[queue.nats]`."""

    url: SecretStr | None = None
    """nats://HOST:4222 or tls://HOST:4222; several for a cluster, separated by commas. Default: none."""
    token_file: Path | None = None
    """File with a token, read at each new connection. Relative to the project. Default: none."""
    credentials_file: Path | None = None
    """File with a JWT and its key (.creds). Relative to the project. Default: none."""
    embedded: bool = False
    """`horae up` starts a server on this machine, with its data and its token in the state folder. Then neither url nor
    credentials may be given."""
    embedded_port: int = Field(4222, ge=1, le=65_535)
    """Port of that server."""
    replicas: int = Field(1, ge=1, le=5)
    """Copies of the stream in a cluster, used when the stream is created."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        addresses = self.url.get_secret_value().split(",") if self.url else []
        for address in addresses:
            parts = urlsplit(address.strip())
            if parts.scheme not in ("nats", "tls") or not parts.hostname:
                raise ValueError("url: an address must begin with nats:// or tls:// and name a host")
        others = [name for name in ("url", "username", "token_file", "credentials_file") if getattr(self, name)]
        if self.embedded and (other := next(iter(others), self.tls_given)):
            raise ValueError(f"{other} and embedded are both given; give only one of them")
        return self


def addresses(table: NatsSettings) -> list[str]:
    return [part.strip() for part in table.url.get_secret_value().split(",")] if table.url else []
