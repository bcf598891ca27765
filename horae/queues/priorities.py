"""Which priority is polled first. Weighted 8:3:1 and not strict, so that no priority starves."""

from collections.abc import Iterator
from itertools import cycle

from horae.messages import PRIORITY_WEIGHTS, Priority


def wheel() -> Iterator[tuple[Priority, ...]]:
    """For ever, the order in which to poll: in each round of 12, high leads 8 times, normal 3 times, low once."""
    turns: list[tuple[float, Priority]] = []
    for priority, weight in PRIORITY_WEIGHTS.items():
        turns += [((turn + 0.5) / weight, priority) for turn in range(weight)]
    leads = [priority for _, priority in sorted(turns, key=lambda turn: turn[0])]
    return cycle([(lead, *(priority for priority in Priority if priority is not lead)) for lead in leads])
