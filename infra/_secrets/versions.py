"""The versions of a secret, and the steps of its rotation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from horae.errors import RunError


class RotationFailed(RunError):
    """The secret was not rotated."""


class Unreachable(RotationFailed):
    """The server does not answer. The rotation continues when it does."""


class Step(StrEnum):
    CREATED = "created"
    """The value is stored. No server knows it yet."""
    SET = "set"
    """The server accepts it beside the old one."""
    TESTED = "tested"
    """A login with it succeeded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    id: str
    token: str
    """The run that made it, or took it over."""
    created_at: datetime
    value: str = field(repr=False)
    user: str = ""
    """The role it belongs to, if two roles take turns."""
    step: Step = Step.CREATED


@dataclass(frozen=True, kw_only=True, slots=True)
class Retired:
    """A version to revoke later. Of a password from before the first rotation only the checksum is known."""

    id: str
    revoke_after: datetime
    user: str = ""
    checksum: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    name: str
    current: Version | None = None
    pending: Version | None = None
    retired: tuple[Retired, ...] = ()
    finished_token: str = ""
    """The run that made the current version: a second attempt of it changes nothing."""

    def as_dict(self) -> dict[str, Any]:
        """With the values. Only a store may see it."""
        return {
            "name": self.name,
            "current": _plain(self.current),
            "pending": _plain(self.pending),
            "retired": [
                {
                    "id": one.id,
                    "revoke_after": one.revoke_after.isoformat(),
                    "user": one.user,
                    "checksum": one.checksum,
                }
                for one in self.retired
            ],
            "finished_token": self.finished_token,
        }


def record_of(values: Mapping[str, Any]) -> Record:
    """Raises KeyError, TypeError or ValueError where the values are none of a record."""
    return Record(
        name=values["name"],
        current=_version(values["current"]),
        pending=_version(values["pending"]),
        retired=tuple(
            Retired(**one | {"revoke_after": datetime.fromisoformat(one["revoke_after"])}) for one in values["retired"]
        ),
        finished_token=values["finished_token"],
    )


def _plain(version: Version | None) -> dict[str, Any] | None:
    if version is None:
        return None
    return {
        "id": version.id,
        "token": version.token,
        "created_at": version.created_at.isoformat(),
        "value": version.value,
        "user": version.user,
        "step": version.step.value,
    }


def _version(values: Mapping[str, Any] | None) -> Version | None:
    if values is None:
        return None
    given = dict(values)
    return Version(**given | {"created_at": datetime.fromisoformat(given["created_at"]), "step": Step(given["step"])})


class SecretStore(Protocol):
    """Stores records. A write is atomic, and durable when it returns."""

    def read(self, name: str) -> Record | None: ...

    def write(self, record: Record) -> None: ...

    def publish(self, record: Record) -> None:
        """Give consumers that read the store itself the current version."""


class Rotator(Protocol):
    """A server that checks a secret. Each method may be repeated after a crash. Error messages hold no value.
    Unreachable means that another try may succeed."""

    def next_user(self, record: Record) -> str:
        """The role of the next version, or an empty text. Raises RotationFailed if a rotation is not possible now."""

    def before_first(self, record: Record) -> list[Retired]:
        """Credentials that are valid although no record knows them. Their `revoke_after` is ignored."""

    def set(self, version: Version) -> None: ...

    def test(self, version: Version) -> None:
        """Log in with the version. Raises RotationFailed if it is refused, or if a wrong password is accepted too."""

    def revoke(self, retired: Retired, current: Version | None) -> None: ...
