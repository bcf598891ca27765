"""Counts the entries of a run."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from horae import clock
from infra._logs.entry import Entry
from infra._logs.levels import BAD, LEVELS
from infra._logs.patterns import pattern_of
from infra._logs.state import Known

SOURCES_SHOWN = 50


@dataclass(kw_only=True, slots=True)
class Tally:
    entries: int = 0
    bytes: int = 0
    left_bytes: int = 0
    """Bytes that the limits of the run leave for the next run."""
    too_old: int = 0
    cut: int = 0
    levels: dict[str, Counter[str]] = field(default_factory=dict)
    """Entries by source, then by level."""
    patterns: dict[str, Known] = field(default_factory=dict)
    sources_of: dict[str, str] = field(default_factory=dict)
    """Of each pattern, the source where it was met first."""

    def add(self, entry: Entry, source: str, at: datetime) -> None:
        self.entries += 1
        self.levels.setdefault(source, Counter())[entry.level] += 1
        if entry.level in BAD:
            self._met(entry, source, clock.isoformat(at))

    def _met(self, entry: Entry, source: str, at: str) -> None:
        text = pattern_of(entry)
        known = self.patterns.get(text)
        self.sources_of.setdefault(text, source)
        self.patterns[text] = Known(
            level=entry.level,
            pattern=text,
            first_seen=min(known.first_seen, at) if known else at,
            last_seen=max(known.last_seen, at) if known else at,
            count=(known.count if known else 0) + 1,
        )

    def joined(self, before: Mapping[str, Known]) -> dict[str, Known]:
        """The known patterns, updated with those of this run."""
        found = dict(before)
        for text, one in self.patterns.items():
            old = before.get(text)
            found[text] = (
                one
                if old is None
                else Known(
                    level=one.level,
                    pattern=text,
                    first_seen=min(old.first_seen, one.first_seen),
                    last_seen=max(old.last_seen, one.last_seen),
                    count=old.count + one.count,
                )
            )
        return found

    def new(self, before: Mapping[str, Known], limit: int) -> list[dict[str, Any]]:
        """The patterns that were not known, the most frequent first."""
        fresh = sorted((one for text, one in self.patterns.items() if text not in before), key=lambda one: -one.count)
        return [
            {
                "level": one.level,
                "pattern": one.pattern,
                "count": one.count,
                "source": self.sources_of[one.pattern],
                "first_seen": one.first_seen,
            }
            for one in fresh[:limit]
        ]

    @property
    def by_level(self) -> dict[str, int]:
        total = sum(self.levels.values(), Counter())
        return {level: total[level] for level in LEVELS if total[level]}

    @property
    def by_source(self) -> dict[str, dict[str, int]]:
        """Of the sources with the most entries."""
        largest = sorted(self.levels, key=lambda source: -self.levels[source].total())[:SOURCES_SHOWN]
        return {
            source: {level: self.levels[source][level] for level in LEVELS if self.levels[source][level]}
            for source in largest
        }
