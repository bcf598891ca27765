"""Deletes expired results, temporary files, old reports and caches of tools every hour.

Inside the sidecar because it is small, internal and needs nothing but this machine's disk: each sidecar cleans up where
it runs, with or without the store. The next fire makes up for a lost one.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from horae import clock, cron, current_run, job
from horae.settings import load
from internal._cleanup.cleaning import Cleaned, clean
from internal._cleanup.settings import CleanupSettings

MIB = 1 << 20


@job(schedule=cron("0 * * * *"), scope="each", time_limit=timedelta(seconds=5), settings=CleanupSettings)
def cache_cleanup(*, dry_run: bool = False) -> dict[str, Any]:
    """Delete expired and old files in the configured places, and say what that freed.

    Returns {"dry_run", "deleted", "freed_bytes", "unseen", "places": [...]}. The run fails when something could not be
    deleted. `dry_run` says what would go, and deletes nothing.
    """
    run = current_run()
    settings, own = load(run.project), run.settings or CleanupSettings()
    now, deadline = clock.now().timestamp(), clock.monotonic() + own.seconds
    cleaned = [
        clean(place, settings, now, deadline, own.youngest_minutes * 60, dry_run=dry_run) for place in own.places
    ]
    run.report(summary(cleaned, dry_run=dry_run))
    failed = [text for place in cleaned for text in place.failed]
    if failed:
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise OSError(f"{len(failed)} files could not be deleted: {'; '.join(failed[:3])}{more}")
    return {
        "dry_run": dry_run,
        "deleted": sum(place.deleted for place in cleaned),
        "freed_bytes": sum(place.freed_bytes for place in cleaned),
        "unseen": [place.unseen for place in cleaned if place.unseen],
        "places": [place.as_dict() for place in cleaned],
    }


def summary(cleaned: Sequence[Cleaned], *, dry_run: bool) -> str:
    """What could not be looked at comes first."""
    said = [place.unseen for place in cleaned if place.unseen]
    looked = [place for place in cleaned if place.there and not (place.unseen and not place.files)]
    if not looked:
        return "; ".join([*said, f"nothing was checked: none of {len(cleaned)} places exists"])
    deleted, freed = sum(place.deleted for place in looked), sum(place.freed_bytes for place in looked)
    of = f"{sum(place.files for place in looked)} files in {len(looked)} places"
    verb = "would delete" if dry_run else "deleted"
    return "; ".join([*said, f"{verb} {deleted} of {of}, {freed / MIB:.1f} MiB"])
