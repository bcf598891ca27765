"""`[jobs.secret-rotation]` in horae.toml."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from horae.redis.access import RedisUrl
from horae.redis.address import Kind, parse

NAME = re.compile(r"[a-z][a-z0-9-]{0,60}")


class Secret(BaseModel):
    # An input may be a secret, and an error is printed with those that led to it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    file: Path | None = None
    """Where its consumers read it, relative to the project: replaced as a whole, readable by its owner alone."""
    length: int = Field(default=40, ge=20, le=200)
    """Characters of a new value: letters and digits, about 6 bits each."""


class RandomSecret(Secret):
    kind: Literal["random"]
    """A value that nothing else knows, such as a signing key."""


class RedisUser(Secret):
    kind: Literal["redis-user"]
    """The password of an ACL user of Redis or Valkey. It has two passwords until the grace period is over."""
    urls: tuple[RedisUrl, ...] = Field(min_length=1)
    """Every server that knows the user, with a login that may change ACLs: replicas do not take ACLs from a primary."""
    user: str
    """The ACL user. It must be there."""
    admin_password_file: Path | None = None
    """File with the password of that login, relative to the project."""
    tls_ca_file: Path | None = None
    """Certificates (PEM) that the servers' are checked against, relative to the project. Default: the system's."""
    allow_unsaved: bool = False
    """Rotate although the server has neither an ACL file nor a configuration file: a restart of it brings the old
    password back, and locks its users out. Default: no."""

    @field_validator("urls")
    @classmethod
    def _servers(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for url in urls:
            if parse(url.get_secret_value()).kind not in (Kind.SERVER, Kind.SOCKET):
                raise ValueError(
                    "give the address of each server, as redis:// or rediss://: each server has its own ACLs"
                )
        return urls


class PostgresRole(Secret):
    kind: Literal["postgres-role"]
    """The password of a PostgreSQL role. A role has one password, so two roles take turns."""
    url: SecretStr
    """postgresql:// of a login that may alter the roles."""
    roles: tuple[str, str]
    """Two roles with the same rights, the one in use first. The file holds `{"user": …, "password": …}`."""
    admin_password_file: Path | None = None
    """File with the password of that login, relative to the project. Default: the URL, PGPASSWORD or ~/.pgpass."""

    @field_validator("roles")
    @classmethod
    def _two(cls, roles: tuple[str, str]) -> tuple[str, str]:
        if roles[0] == roles[1]:
            raise ValueError("give two different roles: one keeps working while the other gets a new password")
        return roles


type AnySecret = Annotated[RandomSecret | RedisUser | PostgresRole, Field(discriminator="kind")]


class RotationSettings(BaseModel):
    """Which secrets are rotated, and where their values are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    secrets: dict[str, AnySecret] = {}
    """`[jobs.secret-rotation.secrets.NAME]`, one table a secret. Default: none, and nothing is rotated."""
    store: Literal["file", "prefect"] = "file"
    """Where values are kept: encrypted files, or Secret blocks of Prefect."""
    folder: str | None = None
    """Of the encrypted files, relative to the project. Default: `secrets` in the state folder."""
    key: SecretStr | None = None
    """Key of these files, as `HORAE_JOBS__SECRET_ROTATION__KEY`. Default: `key_file`."""
    key_file: str | None = None
    """File with that key, relative to the project. Default: `secrets.key` in the state folder, made
    when it is first needed."""
    grace_hours: float = Field(default=24, ge=0, le=2_000)
    """Hours that the old version keeps working after the new one is in use."""
    store_processes_read_file: bool = False
    """Your word that every process of Horae, on every machine, reads the store's password from a `password_file`.
    Horae's own store user is not rotated without it."""

    @model_validator(mode="after")
    def _names(self) -> Self:
        for name in self.secrets:
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"the name {name!r} must consist of small letters, digits and `-`, such as 'shop-cache'"
                )
        return self
