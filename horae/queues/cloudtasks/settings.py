"""`[queue.cloudtasks]`."""

from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from horae.settings.tables import Table

GOOGLE = "https://accounts.google.com"
GOOGLES_KEYS = "https://www.googleapis.com/oauth2/v3/certs"
TASK_BYTES = 1_000_000
"""The largest body that a task may have, with room for its other fields below the 1 MB (2^20 bytes) of Cloud Tasks."""


class CloudTasksSettings(Table):
    """`[queue.cloudtasks]`."""

    REQUIRED: ClassVar = ("project", "location", "receiver_url", "service_account")

    project: str = ""
    """Id of the Google Cloud project. Default: none."""
    location: str = ""
    """Region of the queues, such as europe-west1. Default: none."""
    receiver_url: str = ""
    """The URL of the receiver, as Google reaches it. Default: none."""
    service_account: str = ""
    """E-mail address of the service account whose token each call carries. Default: none."""
    audience: str = ""
    """The audience of the token. Default: receiver_url."""
    issuer: str = GOOGLE
    """The issuer of the token."""
    keys_url: str = GOOGLES_KEYS
    """The issuer's public keys (JWKS)."""
    credentials_file: Path | None = None
    """Key of a service account (JSON) that may create tasks, read at each new connection. Relative to the project.
    Default: Google's application default credentials."""
    endpoint: str = ""
    """HOST:PORT of an emulator, which is used without TLS and without credentials. Default: Google's service."""
    listen_host: str = "127.0.0.1"
    """Address that the receiver listens on. In a container: 0.0.0.0."""
    listen_port: int = Field(8703, ge=0, le=65535)
    """Port that the receiver listens on. 0: any free one."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("receiver_url", "issuer", "keys_url"):
            url = getattr(self, name)
            if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
                raise ValueError(f"{name}: {url!r} must begin with http:// or https:// and name a host")
        return self

    @property
    def path(self) -> str:
        """The path of receiver_url."""
        return urlsplit(self.receiver_url).path or "/"

    def below(self, folder: Path) -> Self:
        """A copy whose relative paths start at that folder."""
        if self.credentials_file is None:
            return self
        return self.model_copy(update={"credentials_file": folder / self.credentials_file})
