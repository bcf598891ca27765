"""A figure: what was measured of whom, and how far it scattered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

RATIO = ", ratio"
"""How the name of a figure ends that compares Horae on a provider with the slower of its raw client and redis."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    measurement: str
    """The name that `--only` knows."""
    what: str
    who: str
    value: float
    unit: str
    low: float | None = None
    """The smallest and the largest of several rounds; None after a single one."""
    high: float | None = None
    samples: int | None = None
    """How many jobs, fires or enqueues stand behind it."""

    @property
    def scatter(self) -> float | None:
        """Half of the distance between the rounds furthest apart, as a share of the value."""
        if self.low is None or self.high is None or not self.value:
            return None
        return (self.high - self.low) / 2 / self.value


def of_rounds(
    measurement: str, what: str, who: str, values: Sequence[float], unit: str, samples: int | None = None
) -> Figure:
    """The median of several rounds."""
    low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
    return Figure(
        measurement=measurement,
        what=what,
        who=who,
        value=median(values),
        unit=unit,
        low=low,
        high=high,
        samples=samples,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: a value that occurred, never an interpolated one. `share` in (0, 1]."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def distribution(measurement: str, what: str, who: str, millis: Sequence[float], *, top: bool = True) -> list[Figure]:
    """p50, p99 and, if `top`, the largest, in milliseconds."""
    points = {"p50": percentile(millis, 0.5), "p99": percentile(millis, 0.99)}
    if top:
        points["max"] = max(millis)
    return [
        Figure(measurement=measurement, what=f"{what}, {name}", who=who, value=value, unit="ms", samples=len(millis))
        for name, value in points.items()
    ]
