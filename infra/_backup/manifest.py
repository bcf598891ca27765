"""The manifest of a backup: what it holds and when it was made, as JSON beside it.

The names of tables and their rows say something about the content. So for an encrypted backup they are encrypted too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from horae import clock
from infra._backup.artefact import Artefact
from infra._backup.engine import BackupFailed, Made
from infra._backup.sealing import Opener, Sealer

FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    sha256: str
    bytes: int
    run_id: str
    """The run that made the backup."""
    tables: Mapping[str, int] | None
    """Rows of each table; None if they are encrypted and there is no key."""
    failed_drill: str | None = None
    """Why a restore of the backup gave another content."""


def written(
    backup: Artefact, source: str, digest: str, size: int, made: Made, run_id: str, sealer: Sealer | None
) -> str:
    """The JSON text. `source`: the database, without its password. `sealer`: None if it is not encrypted."""
    details = {"source": source, "tables": dict(made.tables), "notes": list(made.notes)}
    text: dict[str, Any] = {
        "format": FORMAT,
        "file": backup.name,
        "database": backup.database,
        "recovery_point": clock.isoformat(backup.at),
        "bytes": size,
        "sha256": digest,
        "encrypted": sealer is not None,
        "run_id": run_id,
    }
    if sealer:
        text["sealed_details"] = sealer.seal_text(json.dumps(details))
    else:
        text["details"] = details
    return json.dumps(text, indent=2, ensure_ascii=False) + "\n"


def marked(text: str, failed_drill: str) -> str:
    """The same manifest, which says that the backup did not restore to what was backed up."""
    return json.dumps(json.loads(text) | {"failed_drill": failed_drill}, indent=2, ensure_ascii=False) + "\n"


def parsed(text: str, opener: Opener | None) -> Manifest:
    """Raises BackupFailed."""
    try:
        found = json.loads(text)
        details = found.get("details")
        if details is None and opener:
            details = json.loads(opener.open_text(found["sealed_details"]))
        tables = {str(name): int(rows) for name, rows in details["tables"].items()} if details else None
        return Manifest(
            sha256=str(found["sha256"]),
            bytes=int(found["bytes"]),
            run_id=str(found["run_id"]),
            tables=tables,
            failed_drill=found.get("failed_drill"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupFailed(f"the manifest cannot be read: {error}") from None
