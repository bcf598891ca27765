"""One run of the job: the order of the steps, the second reading of what does not reconcile, and the report."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from flows._etl import loading, reading, recording
from flows._etl.reading import Source
from flows._etl.reconciling import Reconciled, reconcile
from flows._etl.report import Report
from flows._etl.settings import EtlSettings
from flows._etl.staged import Extracted
from flows._etl.transforming import Transformed
from flows._etl.warehouse import Warehouse
from horae.errors import HoraeError

Each = Callable[[str, Sequence[tuple[Any, ...]]], list[Any]]
"""Runs the step of this name once for each tuple of arguments; returns the results, or the exceptions."""


def load_and_count(
    name: str, found: Sequence[Transformed], warehouse: Warehouse, given: EtlSettings, work: Path
) -> list[Reconciled]:
    """Load the rows of these sources, and count them in the warehouse. `name` is for display."""
    loading.load(found, warehouse, given, work)
    return [reconcile(one, warehouse) for one in found]


STEPS: dict[str, Callable[..., Any]] = {
    "extract": reading.extract,
    "transform": reading.transform,
    "load": load_and_count,
    "record": recording.record,
}


def in_turn(step: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Run a step in this thread, one call after the other."""
    found: list[Any] = []
    for arguments in calls:
        try:
            found.append(STEPS[step](*arguments))
        except Exception as error:  # one source must not stop the others
            found.append(error)
    return found


class Run:
    """Extracts, transforms, loads and counts the sources, and keeps what became of each."""

    def __init__(
        self,
        warehouse: Warehouse,
        given: EtlSettings,
        now: datetime,
        work: Path,
        *,
        each: Each = in_turn,
        tell: Callable[[float, str], None] = lambda percent, doing: None,
        dry_run: bool = False,
    ) -> None:
        """`tell` gets the progress in percent and what is being done."""
        self._warehouse, self._given, self._now, self._work = warehouse, given, now, work
        self._each, self._tell, self._dry_run = each, tell, dry_run
        self._sources = 0
        self._extracted: dict[str, Extracted] = {}
        self._transformed: dict[tuple[str, str], Transformed] = {}
        self._counts: dict[tuple[str, str], Reconciled] = {}
        self._unread: dict[str, str] = {}
        self._notes: list[str] = []

    def run(self, wanted: Sequence[Source], *, full: bool) -> Report:
        """Load all sources. A source that was read in part and does not reconcile is read in full, once."""
        self._sources = len(wanted)
        self._pass_over(wanted, known=not full)
        partly = {one.source for one in self._transformed.values() if not one.full}
        again = [one for one in wanted if one.name in partly & self._unsound]
        self._notes += [f"{one.name}: it did not reconcile, so all its rows were read again" for one in again]
        self._pass_over(again, known=False)
        self._record()
        return self._report()

    @property
    def _unsound(self) -> set[str]:
        return {one.source for one in self._counts.values() if not one.sound}

    def _pass_over(self, wanted: Sequence[Source], *, known: bool) -> None:
        if not wanted:
            return
        self._tell(10.0, f"Extracting from {len(wanted)} sources")
        calls = [(one, self._warehouse, self._given, self._now, known) for one in wanted]
        read = self._answers("extract", wanted, calls, Extracted)
        self._tell(40.0, f"Transforming {len(read)} sources")
        calls_on = [(one, got, self._warehouse, self._given) for one, got in read]
        self._extracted |= {one.name: got for one, got in read}
        groups: dict[str, list[Transformed]] = {}
        for one, tables in self._answers("transform", [one for one, _ in read], calls_on, list):
            self._transformed |= {(one.name, each.contract.table): each for each in tables}
            groups.setdefault("the repositories" if one.is_repository else one.name, []).extend(tables)
        if not self._dry_run:
            self._load(groups)

    def _load(self, groups: dict[str, list[Transformed]]) -> None:
        """Load each group. A group that fails does not stop the others."""
        for name, tables in groups.items():
            self._tell(60.0, f"Loading {sum(one.good for one in tables):,} rows of {name}")
            [answer] = self._each("load", [(name, tables, self._warehouse, self._given, self._work)])
            if isinstance(answer, list):
                self._counts |= {(one.source, one.table): one for one in answer}
            else:
                self._fail({one.source for one in tables}, answer)

    def _answers(
        self, step: str, sources: Sequence[Source], calls: Sequence[tuple[Any, ...]], kind: type
    ) -> list[tuple[Source, Any]]:
        found = []
        for source, answer in zip(sources, self._each(step, calls), strict=True):
            if isinstance(answer, kind):
                found.append((source, answer))
            else:
                self._fail({source.name}, answer)
        return found

    def _fail(self, names: Iterable[str], error: Any) -> None:
        """Keep the reason, and forget the counts of these sources."""
        reason = error.message if isinstance(error, HoraeError) else f"{type(error).__name__}: {error}"
        for name in names:
            self._unread[name] = self._warehouse.cleaned(reason).rstrip(".")
            for kept in (self._transformed, self._counts):
                for key in [key for key in kept if key[0] == name]:
                    del kept[key]

    def _record(self) -> None:
        """Write the counts, and mark the repositories that reconcile."""
        if self._dry_run or not self._counts:
            return
        self._tell(90.0, "Recording the counts")
        sound = {name for name, _ in self._counts} - self._unsound
        heads = {name: one.head for name, one in self._extracted.items() if one.head and name in sound}
        [answer] = self._each("record", [(list(self._counts.values()), heads, self._now, self._warehouse)])
        if isinstance(answer, BaseException):
            raise answer

    def _report(self) -> Report:
        read = [one for name, one in self._extracted.items() if name not in self._unread]
        return Report(
            at=self._now,
            warehouse=self._warehouse.shown,
            sources=self._sources,
            dry_run=self._dry_run,
            transformed=tuple(self._transformed.values()),
            reconciled=tuple(self._counts.values()),
            unread=dict(sorted(self._unread.items())),
            partly=tuple(f"{one.name}: {sentence}." for one in read for sentence in one.unseen),
            notes=(*self._notes, *(f"{one.name}: {note}" for one in read for note in one.notes)),
        )
