"""The limits of the store are the numbers that the docs name."""

from pathlib import Path

import pytest

from horae.store.limits import DEATHS, LAPSES

DOCS = Path(__file__).parents[2] / "docs"
SPELLED = {3: "three", 10: "ten"}


@pytest.mark.parametrize("page", ["reference/job.md", "explanation/guarantees.md", "how-to/troubleshoot.md"])
def test_a_page_that_names_worker_died_counts_as_the_store_does(page: str) -> None:
    text = " ".join((DOCS / page).read_text().split())
    assert f"{SPELLED[LAPSES]} workers died" in text
    assert f"{SPELLED[DEATHS]} times" in text or f"{SPELLED[DEATHS]} such deaths" in text
