"""The report of a run: counts of each source, what could not be read, and its JSON on disk."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from flows._etl.reconciling import Reconciled
from flows._etl.transforming import Transformed
from horae.clock import isoformat
from horae.files import written_whole

LATEST = "latest.json"
SHOWN = 50
"""The most rows of a Markdown table; the JSON has all."""


@dataclass(frozen=True, kw_only=True)
class Report:
    at: datetime
    warehouse: str
    """The address of the warehouse without a password."""
    sources: int
    """How many sources there are to read."""
    dry_run: bool
    transformed: tuple[Transformed, ...]
    """The last transformation of each table of each source that was read."""
    reconciled: tuple[Reconciled, ...]
    unread: dict[str, str]
    """The reason for each source that was not read or not loaded."""
    partly: tuple[str, ...] = ()
    """A sentence for each part of a source that was not read."""
    notes: tuple[str, ...] = ()

    @property
    def unseen(self) -> tuple[str, ...]:
        """A sentence for each source, and part of a source, that was not loaded or does not reconcile."""
        return tuple(self._unseen())

    def _unseen(self) -> Iterator[str]:
        yield from (f"{name} was not loaded: {reason}." for name, reason in self.unread.items())
        yield from self.partly
        for one in self.reconciled:
            if not one.sound:
                yield f"{one.source}: the table {one.table} does not reconcile: {one.problem}."

    @property
    def sound(self) -> bool:
        return all(one.sound for one in self.reconciled)

    @property
    def read(self) -> int:
        """How many sources were read and loaded."""
        return self.sources - len(self.unread)

    def total(self, name: str) -> int:
        return sum(getattr(one, name) for one in self.transformed)

    @property
    def headline(self) -> str:
        """One sentence. If something was not loaded or does not reconcile, the sentence says so."""
        if not self.read:
            return f"NOTHING WAS LOADED: none of {self.sources} sources could be read."
        loads = "would be loaded" if self.dry_run else "loaded"
        counts = f"{self.total('extracted'):,} rows read, {self.total('good'):,} {loads}"
        counts += f", {self.total('rejected'):,} rejected, {self.total('gone'):,} removed"
        if self.unread or self.partly:
            start = f"INCOMPLETE: {self.read} of {self.sources} sources"
        else:
            start = f"All {self.sources} sources"
        if self.dry_run:
            return f"DRY RUN, nothing was written. {start} were read: {counts}."
        if not self.sound:
            return f"NOT RECONCILED: the warehouse and the sources differ. {start} were loaded: {counts}."
        return f"{start} were loaded and reconciled: {counts}."

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each table of each source. Sources that were not loaded come first."""
        empty = dict.fromkeys(("mode", "source rows", "read", "loaded", "rejected", "removed", "in warehouse"), "")
        found: list[dict[str, Any]] = [
            {"source": name, "table": "", **empty, "reconciled": f"NOT LOADED: {reason}"}
            for name, reason in self.unread.items()
        ]
        counted = {(one.source, one.table): one for one in self.reconciled}
        for one in self.transformed:
            after = counted.get((one.source, one.contract.table))
            found.append(
                {
                    "source": one.source,
                    "table": one.contract.table,
                    "mode": "full" if one.full else "incremental",
                    "source rows": one.source_rows,
                    "read": one.extracted,
                    "loaded": 0 if self.dry_run else one.good,
                    "rejected": one.rejected,
                    "removed": one.gone,
                    "in warehouse": after.warehouse_rows if after else "",
                    "reconciled": ("yes" if after.sound else f"NO: {after.problem}") if after else "not written",
                }
            )
        return found

    @property
    def markdown(self) -> str:
        parts = [f"**{self.headline}**", f"# ETL, {isoformat(self.at.replace(microsecond=0))}"]
        if unseen := self.unseen:
            parts += ["## Not seen", "\n".join(f"- {_cell(sentence)}" for sentence in unseen[:SHOWN])]
        parts += ["## Rows", _table(self.rows)]
        reasons = [
            f"- {_cell(one.source)}, {one.contract.table}: {_cell(reason)} ({count:,} times)"
            for one in self.transformed
            for reason, count in one.reasons
        ]
        if reasons:
            parts += ["## Why rows were rejected", "\n".join(reasons[:SHOWN])]
            parts.append("The table `rejected` of the warehouse has each of them with its reasons.")
        if self.notes:
            parts += ["## Notes", "\n".join(f"- {_cell(note)}" for note in self.notes[:SHOWN])]
        parts.append(f"Warehouse: `{_cell(self.warehouse)}`")
        return "\n\n".join(parts) + "\n"

    def as_dict(self) -> dict[str, Any]:
        """The documented shape of the JSON on disk: docs/how-to/load-a-warehouse.md."""
        return {
            "at": isoformat(self.at),
            "dry_run": self.dry_run,
            "headline": self.headline,
            "complete": not self.unread and not self.partly,
            "reconciled": self.sound and not self.dry_run,
            "unseen": list(self.unseen),
            "warehouse": self.warehouse,
            "tables": self.rows,
            "reasons": [
                {"source": one.source, "table": one.contract.table, "reason": reason, "rows": count}
                for one in self.transformed
                for reason, count in one.reasons
            ],
            "notes": list(self.notes),
        }


def write(report: Report, folder: Path, keep: int) -> Path:
    """Write the report as `<instant>.json` and as `latest.json`, and delete the oldest reports."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.at:%Y%m%dT%H%M%S.%f}Z.json"
    text = json.dumps(report.as_dict(), indent=2) + "\n"
    for place in (path, folder / LATEST):
        with written_whole(place) as file:
            file.write(text)
    for old in sorted(folder.glob("[0-9]*Z.json"))[:-keep]:
        old.unlink(missing_ok=True)
    return path


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "There are none."
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    lines += ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        lines.append(f"\n{len(rows) - SHOWN} more are in the JSON report.")
    return "\n".join(lines)


def _cell(value: object) -> str:
    """Escape text for a Markdown cell. Names and values are untrusted input."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
