"""The order in which priorities are polled: weighted 8:3:1 and not strict, so that no priority starves."""

from collections.abc import Iterator
from itertools import cycle

from horae.messages import PRIORITY_WEIGHTS, Priority


def wheel() -> Iterator[tuple[Priority, ...]]:
    """An endless series of polling orders. In each 12 of them, high is first 8 times, normal 3 times, low once."""
    turns: list[tuple[float, Priority]] = []
    for priority, weight in PRIORITY_WEIGHTS.items():
        turns += [((turn + 0.5) / weight, priority) for turn in range(weight)]
    leads = [priority for _, priority in sorted(turns, key=lambda turn: turn[0])]
    return cycle([(lead, *(priority for priority in Priority if priority is not lead)) for lead in leads])
