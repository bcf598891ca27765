"""The answer of a source of vulnerabilities, with the packages that it could not check."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flows._audit.osv import Advisory
from flows._audit.package import Ecosystem, Package


@dataclass(frozen=True, kw_only=True, slots=True)
class Database:
    """The records of one ecosystem that were used."""

    ecosystem: Ecosystem
    source: str
    records: int | None = None
    """The number of records. None: a service does not report it."""
    newest: datetime | None = None
    """When the newest record was changed. None: a service does not report it."""

    def age(self, now: datetime) -> timedelta | None:
        return None if self.newest is None else max(timedelta(), now - self.newest)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Every package that was asked about is either in `checked` or, with the reason, in `unchecked`."""

    checked: dict[Package, tuple[Advisory, ...]]
    """Each package that the source can check, with its known vulnerabilities."""
    unchecked: dict[Package, str]
    databases: tuple[Database, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    """Sentences about records that could not be read, or about their age."""


def nothing(packages: Iterable[Package], reason: str) -> Answer:
    return Answer(checked={}, unchecked=dict.fromkeys(packages, reason))
