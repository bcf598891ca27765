"""The typed keywords of `@job` are the fields of `Job`, and the words that they allow are those of the policies."""

from enum import StrEnum
from typing import get_args

import pytest

from horae.jobs import options
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Isolation, Overlap, Scope, Trait


def test_each_keyword_is_a_field_of_a_job_and_each_field_that_an_author_chooses_is_a_keyword() -> None:
    assert Job.__dataclass_fields__.keys() - {"name", "tier", "function", "source", "deployment"} == options.OPTIONS


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Trait, options.TraitName),
        (Overlap, options.OverlapName),
        (CatchUp, options.CatchUpName),
        (Scope, options.ScopeName),
        (Isolation, options.IsolationName),
    ],
)
def test_each_literal_is_a_value(kind: type[StrEnum], names: object) -> None:
    assert get_args(names.__value__) == tuple(member.value for member in kind)  # type: ignore[attr-defined]
