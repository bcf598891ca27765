"""Credentials and TLS settings for a Redis or Valkey."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr

from horae.errors import InvalidSettings
from horae.redis.address import Kind, parse


def _readable(url: SecretStr) -> SecretStr:
    """Raises ValueError for a bad URL. The message does not contain the URL, because it may hold a password."""
    try:
        parse(url.get_secret_value())
    except InvalidSettings as error:
        raise ValueError(error.message) from None
    return url


type RedisUrl = Annotated[SecretStr, AfterValidator(_readable)]


class RedisAccess(BaseModel):
    """Access to a Redis or Valkey: values that its URL does not contain, or should not contain."""

    # Hide inputs in errors, because an input may be a secret and pydantic prints it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    username: str | None = None
    """ACL user, if the URL names none. Default: the server's user `default`."""
    password: SecretStr | None = None
    """Password, if the URL has none. Default: none."""
    password_file: Path | None = None
    """File with that password, read at each new connection. Relative to the project. Default: none."""
    sentinel_username: str | None = None
    """ACL user of the Sentinels themselves. Default: their user `default`."""
    sentinel_password: SecretStr | None = None
    """Password of the Sentinels themselves. Default: none."""
    sentinel_password_file: Path | None = None
    """File with that password, read at each connection to a Sentinel. Relative to the project. Default: none."""
    tls_ca_file: Path | None = None
    """CA certificates (PEM) that verify the server's certificate. Relative to the project. Default: the system's."""
    tls_cert_file: Path | None = None
    """Client certificate (PEM) for the server. Relative to the project. Default: none."""
    tls_key_file: Path | None = None
    """Key (PEM) of that certificate. Relative to the project. Default: it is in the same file."""
    tls_check_hostname: bool = True
    """Refuse a server certificate that does not name the host. Default: yes."""

    @property
    def given(self) -> dict[str, Any]:
        """The values that differ from the defaults, by name."""
        defaults = RedisAccess.model_fields
        return {name: getattr(self, name) for name in defaults if getattr(self, name) != defaults[name].default}

    @property
    def plain(self) -> dict[str, str | bool]:
        """`given` as JSON values, with its secrets. Do not show or log it."""
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value if value is False else str(value)
            for name, value in self.given.items()
        }

    def below(self, folder: Path) -> Self:
        """A copy whose relative paths start at that folder."""
        paths = {name: folder / value for name, value in self if isinstance(value, Path)}
        return self.model_copy(update=paths)


def fitting[T: BaseModel](table: T, url: SecretStr | None, access: RedisAccess, name: str) -> T:
    """Return the table. Raises ValueError if the access does not fit the address, which is the setting `name`."""
    given = list(access.given)
    if url is None:
        if given:
            raise ValueError(f"{given[0]} is given, but {name} is not; give {name} too, or remove {given[0]}")
        return table
    address = parse(url.get_secret_value())
    twice = {"username": address.username, "password": address.password, "password_file": address.password}
    for key in given:
        if twice.get(key):
            raise ValueError(f"{key} is given, and {name} has one too; give only one of them")
        if key.startswith("tls_") and not address.tls:
            raise ValueError(f"{key} is given, but {name} is {address.scheme}://, which has no TLS; use rediss://")
        if key.startswith("sentinel_") and address.kind is not Kind.SENTINEL:
            raise ValueError(f"{key} is given, but {name} names no Sentinel; use redis+sentinel://")
    if {"password", "password_file"} <= set(given) or {"sentinel_password", "sentinel_password_file"} <= set(given):
        raise ValueError("a password and a password file are both given; give only one of them")
    if access.tls_key_file and not access.tls_cert_file:
        raise ValueError("tls_key_file is given, but tls_cert_file is not; give both")
    return table
