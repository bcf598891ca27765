"""The values of a context are held against the annotations of the job's function."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest

from horae.errors import InvalidJob
from horae.jobs.job import Job
from horae.jobs.policies import Tier


class Colour(StrEnum):
    RED = "red"


class Unknown:
    """Nothing that pydantic could check."""


def paint(
    keep: int = 1,
    share: float = 0.5,
    name: str = "x",
    paths: Sequence[Path] = (),
    pair: tuple[int, ...] = (),
    table: dict[str, int] | None = None,
    mode: Literal["fast", "slow"] = "fast",
    colour: Colour = Colour.RED,
    since: datetime | None = None,
    other: Unknown | None = None,
    free: Any = None,
    **more: int,
) -> None:
    pass


JOB = Job(name="paint", tier=Tier.ONEIRIC, function=paint)


@pytest.mark.parametrize(
    "context",
    [
        {"keep": 3, "share": 1, "name": "y"},
        {"paths": ["/a", "b"], "pair": [1, 2], "table": {"a": 1}},
        {"pair": (1, 2), "table": None, "mode": "slow", "colour": "red", "since": "2026-12-01T02:00:00Z"},
        {"other": {"anything": 1}, "free": [1], "elsewhere": "what **more takes is not looked at"},
    ],
)
def test_what_fits_is_accepted(context: dict[str, Any]) -> None:
    JOB.accepts(context)


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"keep": "three"}, r"job 'paint': context keep = \"three\" does not fit keep: int"),
        ({"keep": True}, "does not fit keep: int"),
        ({"keep": 1.5}, "does not fit keep: int"),
        ({"name": 5}, r"context name = 5 does not fit name: str .*--context name='\"5\"'"),
        ({"paths": "/a"}, "context paths = "),
        ({"pair": [1, "2"]}, r"context pair\[1\] = "),
        ({"table": {"a": "b"}}, r"table\['a'\]"),
        ({"mode": "fsat"}, "'fast' or 'slow'"),
        ({"colour": "blue"}, "Input should be 'red'"),
        ({"keep": "x" * 5000}, "x…"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(context: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidJob, match=said) as caught:
        JOB.accepts(context)
    assert len(caught.value.message) < 400
