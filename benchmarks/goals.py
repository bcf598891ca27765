"""The goals, held against the figures of one run. Told in the report, never asserted: a shared machine is no judge."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figures import RATIO, Figure

PEERS = ("arq", "saq", "taskiq", "dramatiq", "celery", "docket")
ONE_PROCESS = "no-op jobs, one process"


@dataclass(frozen=True, kw_only=True)
class Goal:
    what: str
    """What of Horae, as its figure calls it."""
    wanted: str
    reached: bool | None
    """None: this run did not measure it."""
    seen: str
    """The figure of Horae, with its unit if it has one."""
    note: str = ""


def goals(figures: Sequence[Figure]) -> list[Goal]:
    return [
        _at_least(figures, ONE_PROCESS, 10_000, "/s"),
        _five_times(figures),
        _at_most(figures, "idle pick-up, p50", 3.0, "ms"),
        *(_at_least(figures, one.what, 0.9, one.unit) for one in figures if one.what.endswith(RATIO)),
        *(
            _at_most(figures, one.what, 100.0, "ms")
            for one in figures
            if one.measurement == "dispatch" and one.what.endswith(", p99")
        ),
        _at_most(figures, "idle sidecar: memory", 100.0, "MB"),
        _at_most(figures, "idle sidecar: CPU", 1.0, "% of a core"),
    ]


def _own(figures: Sequence[Figure], what: str) -> float | None:
    return next((one.value for one in figures if one.who == "horae" and one.what == what), None)


def _at_least(figures: Sequence[Figure], what: str, wanted: float, unit: str) -> Goal:
    value = _own(figures, what)
    reached = None if value is None else value >= wanted
    return Goal(what=what, wanted=f"≥ {wanted:,g} {unit}", reached=reached, seen=_shown(value, unit))


def _at_most(figures: Sequence[Figure], what: str, wanted: float, unit: str) -> Goal:
    value = _own(figures, what)
    reached = None if value is None else value <= wanted
    return Goal(what=what, wanted=f"≤ {wanted:g} {unit}", reached=reached, seen=_shown(value, unit))


def _five_times(figures: Sequence[Figure]) -> Goal:
    """Of the best peer of this run; no verdict unless all of them were measured."""
    peers = {one.who: one.value for one in figures if one.what == ONE_PROCESS and one.who in PEERS}
    value = _own(figures, ONE_PROCESS)
    what, wanted = "times the best peer, one process", "≥ 5"
    if value is None or not peers:
        return Goal(what=what, wanted=wanted, reached=None, seen="")
    best = max(peers, key=lambda who: peers[who])
    times = value / peers[best]
    missing = [who for who in PEERS if who not in peers]
    reached = None if missing else times >= 5
    note = f"best: {best}" + (f"; without {', '.join(missing)}" if missing else "")
    return Goal(what=what, wanted=wanted, reached=reached, seen=f"{times:.2f}", note=note)


def _shown(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.2f} {unit}" if value < 100 else f"{value:,.0f} {unit}"
