"""One run over all families: reads what is new, counts it, and hands it to a writer."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from os.path import samestat
from pathlib import Path
from zoneinfo import ZoneInfo

from horae import clock
from infra._logs import collected, following, reading
from infra._logs.collected import Writer
from infra._logs.families import Family
from infra._logs.following import Part
from infra._logs.grouping import Group
from infra._logs.marks import Mark, mark_of, opened
from infra._logs.settings import LogSettings
from infra._logs.state import Followed, State
from infra._logs.tally import Tally

AHEAD = timedelta(days=1)
"""An entry that claims to be from later than this was written by a wrong clock."""


class _Moved(Exception):
    """The log was rotated between two looks at it. Nothing is lost: the next run finds it where it is then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    state: State
    """As it is once this run is committed."""
    tally: Tally
    followed: int
    """Logs that were looked at."""
    unseen: tuple[str, ...]


def collect(
    families: Sequence[Family], before: State, settings: LogSettings, now: datetime, writer: Writer | None
) -> Collection:
    """Read what was written since `before`. Without a writer nothing is kept. One family that fails hurts no other."""
    tally = Tally()
    unseen: list[str] = []
    followed = dict(before.followed)
    looked_at = 0
    zone = ZoneInfo(settings.zone) if settings.zone else _local()
    oldest = collected.first_day(settings.keep_days)
    until = clock.monotonic() + settings.run_limit_seconds
    reader = _Reader(settings, zone, now, oldest, until, tally, writer)
    for family in families:
        old = followed.get(family.source)
        plan = following.plan(family, old.marks if old else (), old.read_at if old else None)
        unseen += plan.unseen
        looked_at += bool(plan.parts)
        marks, whole = list(plan.kept), plan.whole
        for part in plan.parts:
            try:
                marks.append(reader.read(family, part))
            except (_Moved, FileNotFoundError):
                marks += [part.mark] if part.mark else []
                whole = False
            except OSError as error:
                unseen.append(f"{family.source}: {part.path.name} cannot be read: {error.strerror or error}")
                marks += [part.mark] if part.mark else []
                whole = False
        if plan.parts or old:
            read_at = old.read_at if old and not whole else now
            followed[family.source] = Followed(read_at=read_at, marks=tuple(marks))
    state = replace(before, batch=before.batch + 1, followed=followed, patterns=tally.joined(before.patterns))
    state = state.without_old(now, settings.keep_days)
    return Collection(state=state, tally=tally, followed=looked_at, unseen=tuple(unseen))


@dataclass(frozen=True, slots=True)
class _Reader:
    settings: LogSettings
    zone: tzinfo
    now: datetime
    oldest: date
    """The first day that is kept."""
    until: float
    """When the run has read long enough, by the monotonic clock."""
    tally: Tally
    writer: Writer | None

    def read(self, family: Family, part: Part) -> Mark:
        """Read one file as far as it goes, or as the run's limit allows; returns the mark for the next run."""
        limit = (self.settings.run_limit_mib << 20) - self.tally.bytes
        progress = reading.Progress(offset=part.offset)
        last = datetime.fromisoformat(part.mark.last_at) if part.mark and part.mark.last_at else None
        with opened(part.path) as file:
            if not samestat(os.fstat(file.fileno()), part.status):
                raise _Moved
            limits = reading.Limits(bytes=limit, until=self.until)
            for group in reading.entries(file, part, self.settings, self.zone, self.now, limits, progress):
                last = self._take(family, part, group, last)
            self.tally.bytes += progress.offset - part.offset
            self.tally.left_bytes += progress.unread
            return mark_of(file, part.path, part.status, progress.offset, last.isoformat() if last else None)

    def _take(self, family: Family, part: Part, group: Group, last: datetime | None) -> datetime:
        """Count and write one entry; returns its time."""
        entry = group.entry
        at = entry.at or last or datetime.fromtimestamp(part.status.st_mtime, UTC)
        if at > self.now + AHEAD:
            at = self.now
        if at.date() < self.oldest:
            self.tally.too_old += 1
            return at
        self.tally.cut += group.cut
        self.tally.add(entry, family.source, at)
        if self.writer:
            name = part.path.name
            self.writer.add(entry, at=at, source=family.source, file=name, position=group.offset, cut=group.cut)
        return at


def _local() -> tzinfo:
    """The zone of this machine, with its rules for summer time where the machine tells them."""
    try:
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return datetime.now().astimezone().tzinfo or UTC
