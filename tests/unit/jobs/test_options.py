"""The typed keywords of `@job` are the fields of `Job`, and the words that they allow are those of the policies."""

from enum import StrEnum
from pathlib import Path
from typing import get_args

import pytest

from horae.jobs import options
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Isolation, Need, Overlap, Scope, Tier, Trait


def test_each_keyword_is_a_field_of_a_job_and_each_field_that_an_author_chooses_is_a_keyword() -> None:
    assert Job.__dataclass_fields__.keys() - {"name", "tier", "function", "source", "deployment"} == options.OPTIONS


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Trait, options.TraitName),
        (Need, options.NeedName),
        (Overlap, options.OverlapName),
        (CatchUp, options.CatchUpName),
        (Scope, options.ScopeName),
        (Isolation, options.IsolationName),
    ],
)
def test_each_literal_is_a_value(kind: type[StrEnum], names: object) -> None:
    assert get_args(names.__value__) == tuple(member.value for member in kind)  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/add-a-job.md"])
def test_pages_written_by_hand_name_each_tier_and_its_folder(page: str) -> None:
    text = (Path(__file__).parents[3] / page).read_text()
    for tier in Tier:
        assert tier.label in text, tier
        assert f"`{tier.folder}/`" in text, tier
