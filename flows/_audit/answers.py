"""What a source of vulnerabilities answers, and of what it says nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flows._audit.osv import Advisory
from flows._audit.package import Ecosystem, Package


@dataclass(frozen=True, kw_only=True, slots=True)
class Database:
    """What was asked about one ecosystem."""

    ecosystem: Ecosystem
    source: str
    records: int | None = None
    """None: a service does not tell."""
    newest: datetime | None = None
    """When its newest record was changed. None: a service does not tell."""

    def age(self, now: datetime) -> timedelta | None:
        return None if self.newest is None else max(timedelta(), now - self.newest)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Every package that was asked about is either in `checked` or, with the reason, in `unchecked`."""

    checked: dict[Package, tuple[Advisory, ...]]
    """Each package that a source knows how to judge, with what is known against it."""
    unchecked: dict[Package, str]
    databases: tuple[Database, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    """Sentences on what a source could not read, or on its age."""


def nothing(packages: Iterable[Package], reason: str) -> Answer:
    return Answer(checked={}, unchecked=dict.fromkeys(packages, reason))
