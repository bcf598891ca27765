"""What the measurement of a failover says each part of a hole is due to."""

from dataclasses import asdict

import pytest

from chaos.failover import Blown, Round, judged, rows
from chaos.pulse import Fire

PARTS = ("failover", "dispatch", "publish", "cut", "deliver", "redeliver", "begin")


def fire(due: float, *later: float) -> Fire:
    written, published, claimed, claimed_last, began = (due + seconds for seconds in later)
    return Fire(due=due, written=written, published=published, claimed=claimed, claimed_last=claimed_last, began=began)


USUAL = (0.1, 0.1, 0.2, 0.2, 0.25)
FIRES = (fire(0, *USUAL), fire(2, 1.5, 1.5, 2.5, 8.5, 8.75), fire(4, *USUAL))


def test_the_parts_are_the_delay_of_the_latest_fire() -> None:
    found = judged(list(FIRES), Blown(killed=1, switched=3, cut=(3.75, 9)))
    assert found.named == 2
    assert found.hole == pytest.approx(6.5)
    parts = {name: value for name, value in asdict(found).items() if name in PARTS}
    assert sum(parts.values()) == pytest.approx(found.late)
    assert parts == pytest.approx(
        {"failover": 1, "dispatch": 0.5, "publish": 0, "cut": 0.75, "deliver": 0.25, "redeliver": 6, "begin": 0.25}
    )


def test_a_fire_that_was_written_before_the_primary_died_did_not_wait_for_another() -> None:
    late = fire(2, 0.1, 0.1, 5, 5, 5.1)
    found = judged([FIRES[0], late], Blown(killed=2.5, switched=5))
    assert (found.failover, found.dispatch, found.deliver) == pytest.approx((0, 0.1, 4.9))


def test_the_table_has_the_median_and_the_greatest_of_each() -> None:
    one = Round(**dict.fromkeys(Round.__slots__, 1.0))
    two = Round(**dict.fromkeys(Round.__slots__, 2.0))
    assert list(rows({"none": [one, two]}))[2].startswith("| none | 2 | 1.5 (2.0) | 1.5 (2.0)")
