"""Where backups are kept: the folder, and the bucket if one is configured."""

from dataclasses import dataclass
from pathlib import Path

from horae.jobs.restoring import Stored
from infra._backup import artefact, bucket
from infra._backup.artefact import CHECKSUM, MANIFEST, Artefact
from infra._backup.bucket import Bucket
from infra._backup.engine import BackupFailed
from infra._backup.settings import BackupSettings

FOLDER, S3 = "folder", "s3"
SPOKEN = {FOLDER: "the folder", S3: "the bucket"}


@dataclass(frozen=True)
class Places:
    folder: Path
    bucket: Bucket | None
    nearest = FOLDER
    """Needs no download."""

    def stored(self, only: str | None = None) -> list[Stored]:
        """Every backup, the newest first; `only` in this place. Raises BackupFailed."""
        sizes: dict[str, dict[str, int]] = {}
        if only in (None, FOLDER):
            names = artefact.files_in(self.folder)
            sizes[FOLDER] = {name: (self.folder / name).stat().st_size for name in names}
        if only in (None, S3) and self.bucket:
            sizes[S3] = self.bucket.sizes()
        found: dict[str, tuple[Artefact, list[str]]] = {}
        for place, here in sizes.items():
            for backup in artefact.artefacts(here):
                found.setdefault(backup.name, (backup, []))[1].append(place)
        newest_first = sorted(found.values(), key=lambda entry: (entry[0].at, entry[0].name), reverse=True)
        return [
            Stored(
                name=backup.name,
                database=backup.database,
                at=backup.at,
                bytes=sizes[places[0]][backup.name],
                encrypted=backup.encrypted,
                places=tuple(places),
            )
            for backup, places in newest_first
        ]

    def fetched(self, name: str, place: str, work: Path) -> Path:
        """The backup as a file whose checksum is right; raises BackupFailed."""
        path = self._get(name, place, work)
        said = self._text(name + CHECKSUM, place, work)
        wanted = (said or "").split(" ")[0].strip()
        if not wanted:
            raise BackupFailed(f"the checksum of {name} is not in {self._shown(place)}")
        if (digest := artefact.sha256(path)) != wanted:
            raise BackupFailed(
                f"{name} in {self._shown(place)} is damaged: its SHA-256 is {digest}, and {wanted} was written down; "
                "use another backup"
            )
        return path

    def manifest(self, name: str, place: str, work: Path) -> str | None:
        """The text of the manifest; None for a backup that was made before there were manifests."""
        return self._text(name + MANIFEST, place, work)

    def _text(self, name: str, place: str, work: Path) -> str | None:
        if place == S3 and name not in self._bucket().sizes():
            return None
        if place == FOLDER and not (self.folder / name).exists():
            return None
        return self._get(name, place, work).read_text(errors="replace")

    def _get(self, name: str, place: str, work: Path) -> Path:
        if place == FOLDER:
            return self.folder / name
        path = work / f"from-bucket-{name}"
        self._bucket().get(name, path)
        return path

    def _bucket(self) -> Bucket:
        if self.bucket is None:
            raise BackupFailed("no bucket is configured; add [jobs.database-backup.s3] to horae.toml")
        return self.bucket

    def _shown(self, place: str) -> str:
        return str(self.folder) if place == FOLDER else str(self.bucket)


def places_of(settings: BackupSettings, project: Path, state: Path) -> Places:
    """Raises BackupFailed. `state`: the state folder. Nothing is asked of the bucket yet."""
    folder = project / Path(settings.folder).expanduser() if settings.folder else state / "backups"
    return Places(folder, bucket.opened(settings.s3, project) if settings.s3 else None)
