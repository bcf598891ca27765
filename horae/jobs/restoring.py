"""The seam between `horae restore` and a job that makes backups.

A job file says that its job's backups can be restored:

    @restores(database_backup)
    def restorer(project: Path, settings: Any, options: RestoreOptions) -> Restorer: ...

The command finds it at the job's function, so Horae knows no job by name, and a project can bring its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

RESTORER = "__horae_restorer__"


def _silent(text: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreOptions:
    """What the command line gives to every restore and drill."""

    identity: Path | None = None
    """File with the private key of encrypted backups. None: the one of the job's settings."""
    place: str | None = None
    """Where to read backups from; one of `Stored.places`. None: the nearest."""
    owners: bool = False
    """Restore owners and grants too. Their roles must exist."""
    dry_run: bool = False
    """Check everything that can be checked, and change nothing."""
    say: Callable[[str], None] = field(default=_silent)
    """Gets a line for each step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A backup that can be restored."""

    name: str
    """Unique among the backups of the job."""
    database: str
    at: datetime
    """The recovery point: the backup has all changes that were committed before it."""
    bytes: int
    encrypted: bool
    places: tuple[str, ...]
    """Where it is kept, the nearest first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """The result of a restore or of a drill."""

    backup: str
    database: str
    place: str
    target: str
    """The database that it was restored into. That of a drill is gone."""
    recovery_point: datetime
    age_seconds: float
    """From the recovery point to the begin of this restore. Changes of this time would have been lost."""
    recovery_seconds: float
    """How long the restore took, from fetching the backup to the counted rows."""
    steps: Mapping[str, float]
    """Seconds of each step."""
    tables: int
    rows: int
    compared: int | None
    """Tables whose rows were compared with the backup's manifest. None: there is no manifest."""
    differences: Sequence[str]
    """A sentence for each table that differs from the manifest; empty if all are equal."""


class Restorer(Protocol):
    def backups(self) -> Sequence[Stored]:
        """Every backup, the newest first; raises HoraeError."""

    def restore(self, backup: Stored, target: str) -> Restored:
        """Restore into a new or empty database; raises HoraeError, and then nothing was overwritten."""

    def drill(self, backup: Stored) -> Restored:
        """Restore into a scratch database, count its rows, and drop it; raises HoraeError."""


type RestorerFactory = Callable[[Path, Any, RestoreOptions], Restorer]
"""Called with the project's folder and the job's settings."""


def restores(job: Callable[..., Any]) -> Callable[[RestorerFactory], RestorerFactory]:
    """Declare the function that opens the restorer of a job's backups."""

    def declare(factory: RestorerFactory) -> RestorerFactory:
        setattr(job, RESTORER, factory)
        return factory

    return declare


def restorer_of(job: Callable[..., Any] | None) -> RestorerFactory | None:
    """The factory that was declared for this job's function, or None."""
    found: RestorerFactory | None = getattr(job, RESTORER, None)
    return found
