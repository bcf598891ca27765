"""Priority lanes: which one is polled first. Weighted 8:3:1 and not strict, so that no lane starves."""

from collections.abc import Iterator
from itertools import cycle

from horae.messages import LANE_WEIGHTS, Lane


def wheel() -> Iterator[tuple[Lane, ...]]:
    """For ever, the order in which to poll: in each round of 12, high leads 8 times, normal 3 times, low once."""
    turns: list[tuple[float, Lane]] = []
    for lane, weight in LANE_WEIGHTS.items():
        turns += [((turn + 0.5) / weight, lane) for turn in range(weight)]
    leads = [lane for _, lane in sorted(turns, key=lambda turn: turn[0])]
    return cycle([(lead, *(lane for lane in Lane if lane is not lead)) for lead in leads])
