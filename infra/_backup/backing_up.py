"""One run of the backup job: back up, publish, copy to the bucket, drill, and remove the oldest."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from horae import RunContext, clock
from horae.errors import HoraeError
from horae.settings import load
from infra._backup import artefact, manifest, retention, sqlite
from infra._backup.artefact import (
    CHECKSUM,
    COMPANIONS,
    ENCRYPTED,
    FULL,
    MANIFEST,
    Artefact,
    artefacts,
    files_in,
    orphans,
    workspace,
)
from infra._backup.databases import Database, chosen
from infra._backup.drilling import DrillFailed, drilled, required_sound
from infra._backup.engine import BackupFailed, Made
from infra._backup.engines import engine_of
from infra._backup.places import SPOKEN, Places, places_of
from infra._backup.sealing import Sealer
from infra._backup.settings import BackupSettings

FULL_WORDS = (
    "No space left on device",
    "disk is full",
    "File size limit exceeded",
    "File too large",
    "Disk quota exceeded",
)
"""What the programs of the servers say when the disk is full."""


@dataclass(kw_only=True)
class Outcome:
    """What the run did so far."""

    made: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """The reason for each database that failed, or of which a part failed."""


class BackupRun:
    """Raises BackupFailed or InvalidSettings before the first database if the settings cannot be used at all."""

    def __init__(self, run: RunContext, settings: BackupSettings, given: Sequence[str] | None) -> None:
        self._run, self._settings = run, settings
        state = load(run.project).state
        self._sealer = Sealer(settings.recipients) if settings.recipients else None
        self._places: Places = places_of(settings, run.project, state)
        identity = settings.identity_file
        self._identity = run.project / Path(identity).expanduser() if identity else None
        listed = settings.databases if given is None else given
        self._databases, wrong = chosen(listed, run.project, state, os.environ)
        self._total = len(self._databases) + len(wrong)
        self._outcome = Outcome(failed=wrong)

    def back_up(self) -> dict[str, Any]:
        for database in self._databases:
            self._run.report(f"{database.name}: backing up {database}")
            try:
                with workspace(self._places.folder) as work:
                    self._one(database, work)
            except Exception as error:  # any failure: the other databases must still be backed up
                self._fail(database, error)
        return self._conclude()

    def plan(self) -> dict[str, Any]:
        """What `back_up` would do. Logs in everywhere and changes nothing."""
        planned: list[dict[str, Any]] = []
        for database in self._databases:
            self._run.report(f"{database.name}: looking at {database}")
            try:
                planned.append(self._planned(database))
            except Exception as error:  # any failure: the others are looked at too
                self._fail(database, error)
        self._require_all("cannot be backed up")
        self._run.report(f"dry run: {len(planned)} can be backed up; nothing was changed")
        return {"dry_run": True, "databases": planned}

    def _planned(self, database: Database) -> dict[str, Any]:
        with TemporaryDirectory(prefix="horae-backup-") as work:
            holds = engine_of(database, self._settings, self._run.project, Path(work)).probe(database)
        if self._places.bucket:
            self._places.bucket.sizes()
        now = clock.now()
        coming = Artefact(name="", database=database.name, at=now, suffix="")
        gone = retention.superseded([*self._mine(database), coming], coming, self._settings, now)
        return {"name": database.name, "source": str(database), "holds": holds, "would_remove": gone}

    def _one(self, database: Database, work: Path) -> None:
        began, at = monotonic(), clock.now()
        engine = engine_of(database, self._settings, self._run.project, work)
        done = self._of_earlier_attempt(database)
        newest, entry = done or self._published(database, engine.back_up(database), at, work)
        self._outcome.made.append(entry)
        not_copied = self._copy(database, newest)
        if self._settings.drill != "off":
            if not_copied and self._settings.drill == "s3":
                raise not_copied
            self._run.report(f"{database.name}: drilling a restore from {SPOKEN[self._settings.drill]}")
            [stored] = [one for one in self._places.stored(self._settings.drill) if one.name == newest.name]
            result = drilled(self._places, stored, self._settings.drill, self._identity, database, engine, work)
            entry["drill"] = asdict(result) | {"recovery_point": clock.isoformat(result.recovery_point)}
            try:
                required_sound(result)
            except DrillFailed as error:
                self._mark(newest, error.message, work)
                raise
        # Only now is the new backup known to be good, so only now may old ones go.
        self._outcome.removed += self._rotate(database, newest, in_bucket=not_copied is None)
        entry["seconds"] = round(monotonic() - began, 3)
        if not_copied:
            raise not_copied

    def _of_earlier_attempt(self, database: Database) -> tuple[Artefact, dict[str, Any]] | None:
        """The backup that an earlier attempt of this run made, before another database or a later step failed."""
        if self._run.attempt == 1:
            return None
        for backup in reversed(self._mine(database)):
            if backup.encrypted != (self._sealer is not None):
                continue
            try:
                text = (self._places.folder / (backup.name + MANIFEST)).read_text()
                found = manifest.parsed(text, None)
            except (BackupFailed, OSError):
                continue
            if found.run_id == self._run.run_id and found.failed_drill is None:
                self._run.report(f"{database.name}: an earlier attempt made {backup.name}")
                return backup, self._entry(backup, found.sha256, found.bytes, found.tables)
        return None

    def _mark(self, backup: Artefact, reason: str, work: Path) -> None:
        """Write into the manifest that the backup is bad, so that a retry makes another one."""
        name = backup.name + MANIFEST
        text = (self._places.folder / name).read_text()
        artefact.rewrite(work, self._places.folder, name, manifest.marked(text, reason))

    def _published(self, database: Database, made: Made, at: datetime, work: Path) -> tuple[Artefact, dict[str, Any]]:
        for note in made.notes:
            self._run.report(f"{database.name}: {note}")
        file = made.file
        if self._sealer:
            file = work / f"sealed{ENCRYPTED}"
            self._sealer.seal(made.file, file)
        name = artefact.file_name(database.name, at, made.suffix + (ENCRYPTED if self._sealer else ""))
        newest = artefact.named(name)
        assert newest
        digest, size = artefact.sha256(file), file.stat().st_size
        text = manifest.written(newest, str(database), digest, size, made, self._run.run_id, self._sealer)
        artefact.publish(file, self._places.folder, name, digest, text)
        return newest, self._entry(newest, digest, size, made.tables) | {"notes": list(made.notes)}

    def _entry(self, backup: Artefact, digest: str, size: int, tables: Mapping[str, int] | None) -> dict[str, Any]:
        """What the result says of a backup. `tables`: None if they are encrypted."""
        return {
            "name": backup.database,
            "file": str(self._places.folder / backup.name),
            "bytes": size,
            "sha256": digest,
            "encrypted": backup.encrypted,
            "tables": None if tables is None else len(tables),
            "rows": None if tables is None else sum(tables.values()),
            "notes": [],
            "drill": None,
        }

    def _copy(self, database: Database, newest: Artefact) -> BackupFailed | None:
        """Copy to the bucket what it lacks, also what earlier runs could not copy; returns the failure."""
        bucket = self._places.bucket
        if bucket is None:
            return None
        try:
            there = {backup.name for backup in artefacts(bucket.sizes())}
            mine = self._mine(database)
            old = retention.superseded(mine, newest, self._settings, clock.now())
            for backup in mine:
                plain = self._sealer and not backup.encrypted  # of a time before `recipients`: not for the bucket
                if backup.name not in there and backup.name not in old and not plain:
                    bucket.put(self._places.folder, backup.name)
            bucket.abort_stale()
        except (BackupFailed, OSError) as error:
            return BackupFailed(f"it was backed up in {self._places.folder}, but {_words(error)}")
        return None

    def _rotate(self, database: Database, newest: Artefact, *, in_bucket: bool) -> list[str]:
        now = clock.now()
        gone = retention.superseded(self._mine(database), newest, self._settings, now)
        for name in gone:
            artefact.remove(self._places.folder, name)
        bucket = self._places.bucket
        if bucket is None or not in_bucket:
            return gone
        names = bucket.sizes()
        mine = [backup for backup in artefacts(names) if backup.database == database.name]
        old = retention.superseded(mine, newest, self._settings, now)
        left = [name for name in orphans(names) if _older(name, newest)]
        bucket.remove([*(name + end for name in old for end in ("", *COMPANIONS) if name + end in names), *left])
        return gone + [f"{bucket}{name}" for name in old]

    def _mine(self, database: Database) -> list[Artefact]:
        found = artefacts(files_in(self._places.folder))
        return [backup for backup in found if backup.database == database.name]

    def _fail(self, database: Database, error: Exception) -> None:
        text = _words(error)
        if getattr(error, "errno", None) in FULL or any(words in text for words in FULL_WORDS):
            text += f"; the disk of {self._places.folder} is full, and older backups stay as they are"
        self._outcome.failed[str(database)] = text
        self._run.report(f"{database.name}: {text}")

    def _require_all(self, what: str) -> None:
        failed = self._outcome.failed
        if failed:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
            raise BackupFailed(f"{len(failed)} of {self._total} databases {what}: {reasons}")

    def _conclude(self) -> dict[str, Any]:
        made = self._outcome.made
        self._require_all("failed")
        total = sum(entry["bytes"] for entry in made)
        drill, done = self._settings.drill, ""
        if drill != "off":
            done = f", restore drilled from {SPOKEN[drill]}"
        elif any(not entry["file"].endswith(sqlite.SUFFIX) for entry in made):  # these were restored for the check
            done = ", restore not drilled"
        copied = f", copied to {self._places.bucket}" if self._places.bucket else ""
        notes = "".join(f"{entry['name']}: {note}; " for entry in made for note in entry["notes"])
        self._run.report(f"{notes}{len(made)} backed up and checked{copied}{done}, {total / 1e6:.1f} MB")
        return {"databases": made, "removed": self._outcome.removed}


def _older(companion: str, newest: Artefact) -> bool:
    """Whether this left-over companion belongs to an older backup of the same database."""
    whole = artefact.named(companion.removesuffix(CHECKSUM).removesuffix(MANIFEST))
    return whole is not None and whole.database == newest.database and whole.at < newest.at


def _words(error: Exception) -> str:
    if isinstance(error, HoraeError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
