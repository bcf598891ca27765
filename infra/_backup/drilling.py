"""Prepares a backup for a restore, and drills the restore in a scratch database."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from horae import clock
from horae.errors import InvalidSettings
from horae.jobs.restoring import Restored, Stored
from infra._backup import manifest
from infra._backup.artefact import require_space
from infra._backup.databases import Database
from infra._backup.engine import AnyEngine, BackupFailed, differences
from infra._backup.places import SPOKEN, Places
from infra._backup.sealing import Opener


class DrillFailed(BackupFailed):
    """The restored database differs from the original."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """Measures the steps of a restore, in seconds."""

    began: float = field(default_factory=monotonic)
    steps: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        at = monotonic()
        yield
        self.steps[name] = round(monotonic() - at, 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A backup whose checksum is right, decrypted."""

    file: Path
    tables: Mapping[str, int] | None
    """Rows of each table, from the manifest. None: the backup has no manifest."""


def prepared(places: Places, stored: Stored, place: str, identity: Path | None, work: Path, watch: Watch) -> Prepared:
    """Fetch, check and decrypt; raises BackupFailed, InvalidSettings or OSError."""
    require_space(work, stored.bytes * ((place != places.nearest) + stored.encrypted))
    opener = None
    if stored.encrypted:
        if identity is None:
            raise InvalidSettings(
                f"{stored.name} is encrypted; give the file with the private key: --identity FILE, or identity_file in "
                "[jobs.database-backup]"
            )
        opener = Opener(identity)
    with watch.step("fetch"):
        file = places.fetched(stored.name, place, work)
        text = places.manifest(stored.name, place, work)
    if opener:
        with watch.step("decrypt"):
            plain = work / "decrypted"
            opener.open(file, plain)
            file = plain
    return Prepared(file=file, tables=manifest.parsed(text, opener).tables if text is not None else None)


def loaded(
    engine: AnyEngine,
    ready: Prepared,
    target: Database,
    stored: Stored,
    place: str,
    watch: Watch,
    *,
    owners: bool | None,
) -> Restored:
    """Restore into an empty database and compare its rows. `owners`: None for a drill."""
    with watch.step("restore"):
        engine.restore(ready.file, target, drill=owners is None, owners=bool(owners))
    with watch.step("count"):
        found = engine.count(target)
    wrong = differences(ready.tables, found) if ready.tables is not None else []
    if not found.tables:
        wrong.append("the restored database has no table, so nothing was compared")
    return told(stored, place, str(target), watch, found.tables, ready.tables, wrong)


def told(
    stored: Stored,
    place: str,
    target: str,
    watch: Watch,
    found: Mapping[str, int],
    wanted: Mapping[str, int] | None,
    wrong: Sequence[str],
) -> Restored:
    seconds = monotonic() - watch.began
    return Restored(
        backup=stored.name,
        database=stored.database,
        place=place,
        target=target,
        recovery_point=stored.at,
        age_seconds=round((clock.now() - stored.at).total_seconds() - seconds, 3),
        recovery_seconds=round(seconds, 3),
        steps=watch.steps,
        tables=len(found),
        rows=sum(found.values()),
        compared=None if wanted is None else len(wanted),
        differences=wrong,
    )


def drilled(
    places: Places, stored: Stored, place: str, identity: Path | None, database: Database, engine: AnyEngine, work: Path
) -> Restored:
    """Restore into a scratch database, count, drop it; raises BackupFailed, InvalidSettings or OSError."""
    watch = Watch()
    ready = prepared(places, stored, place, identity, work, watch)
    with engine.scratch(database, places.folder) as scratch:
        return loaded(engine, ready, scratch, stored, place, watch, owners=None)


def required_sound(result: Restored) -> Restored:
    """The result; raises DrillFailed if the restored database differs from the original, or if nothing was compared."""
    where = f"the restore of {result.backup} from {SPOKEN[result.place]}"
    if result.differences:
        shown = "; ".join(result.differences[:5]) + ("; …" if len(result.differences) > 5 else "")
        raise DrillFailed(f"{where} differs from the original: {shown}")
    return result
