"""One run of the log aggregation: collect, commit, report."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from horae import RunContext, clock
from horae.settings import load
from infra._logs import collected, state
from infra._logs.collecting import Collection, collect
from infra._logs.families import families
from infra._logs.settings import LogSettings
from infra._logs.state import LogsNotCollected


def aggregate(run: RunContext, settings: LogSettings, dry_run: bool) -> dict[str, Any]:
    """Collect what is new, commit it, remove old days. Returns the result of the run; raises LogsNotCollected."""
    _require_duckdb()
    home = load(run.project).state
    folder = run.project / settings.folder if settings.folder else home / "collected-logs"
    found, unmatched = families(settings.files, home / "logs" if settings.own else None, run.project)
    with collected.locked(folder):
        before = state.load(folder / "offsets.json") or _first(folder)
        if not dry_run:
            collected.remove_after(folder, before.batch)
        with collected.workspace(folder) as work:
            writer = None if dry_run else collected.Writer(work)
            collection = collect(found, before, settings, clock.now(), writer)
            if writer:
                lines = writer.close()
                if writer.count:
                    collected.publish(lines, folder, collection.state.batch, settings.entry_limit_bytes)
                state.save(collection.state, folder / "offsets.json")
        removed = [] if dry_run else collected.remove_old(folder, settings.keep_days)
    if not found:
        unmatched.insert(0, f"no log was read: there is no log in {home / 'logs'}, and no file matches `files`")
    result = _conclude(run, collection, unmatched, before, settings)
    return result | {"folder": str(folder), "removed_days": removed}


def _first(folder: Path) -> state.State:
    """The state of a first run, written down before it begins; raises LogsNotCollected where there are entries."""
    if collected.batches(folder):
        raise LogsNotCollected(
            f"{folder} holds collected entries, but offsets.json is missing, so all logs would be collected again. "
            "Restore that file from a backup, or move the folder away to begin again"
        )
    first = state.State()
    state.save(first, folder / "offsets.json")
    return first


def _conclude(
    run: RunContext, collection: Collection, unmatched: list[str], before: state.State, settings: LogSettings
) -> dict[str, Any]:
    tally = collection.tally
    unseen = [*unmatched, *collection.unseen]
    for sentence in unseen:
        run.report(f"not read: {sentence}")
    if tally.left_bytes:
        run.report(f"{tally.left_bytes / 1e6:.0f} MB remain for the next run (run_limit_mib, run_limit_seconds)")
    new = tally.new(before.patterns, settings.top_patterns)
    for one in new:
        run.report(f"new {one['level']}, {one['count']} times, first in {one['source']}: {one['pattern']}")
    levels = ", ".join(f"{number} {level}" for level, number in tally.by_level.items())
    seen = f"{tally.entries} new entries in {collection.followed} followed logs" + (f": {levels}" if levels else "")
    run.report(f"{len(unseen)} not read; {seen}" if unseen else seen)
    if collection.unseen or (unmatched and settings.files and not collection.followed):
        raise LogsNotCollected(f"not read: {'; '.join(unseen)}. The rest was collected: {seen}")
    return {
        "unseen": unseen,
        "followed": collection.followed,
        "entries": tally.entries,
        "bytes": tally.bytes,
        "left_bytes": tally.left_bytes,
        "too_old": tally.too_old,
        "cut": tally.cut,
        "levels": tally.by_level,
        "sources": tally.by_source,
        "new_patterns": new,
    }


def _require_duckdb() -> None:
    if find_spec("duckdb") is None:
        raise LogsNotCollected(
            "log-aggregation needs DuckDB to write Parquet; install it with: pip install 'horae[logs]'"
        )
