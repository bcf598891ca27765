"""The JSON of backups, restores and drills."""

from typing import Any

from horae import clock
from horae.jobs.restoring import Restored, Stored


def stored_shape(stored: Stored) -> dict[str, Any]:
    return {
        "backup": stored.name,
        "database": stored.database,
        "recovery_point": clock.isoformat(stored.at),
        "bytes": stored.bytes,
        "encrypted": stored.encrypted,
        "places": list(stored.places),
    }


def restored_shape(result: Restored) -> dict[str, Any]:
    return {
        "backup": result.backup,
        "error": None,
        "database": result.database,
        "place": result.place,
        "target": result.target,
        "recovery_point": clock.isoformat(result.recovery_point),
        "age_seconds": result.age_seconds,
        "recovery_seconds": result.recovery_seconds,
        "steps": dict(result.steps),
        "tables": result.tables,
        "rows": result.rows,
        "compared": result.compared,
        "differences": list(result.differences),
    }


def failure_shape(backup: str, why: str) -> dict[str, Any]:
    return {"backup": backup, "error": why}
