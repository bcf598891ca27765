"""A test that needs what is not there is skipped with the way to get it; in CI it fails."""

import pytest

from tests.conftest import require
from tests.requirements import REQUIREMENTS, Requirement

ABSENT = Requirement(there=lambda: False, how="Debian: apt install unobtainium")


@pytest.fixture(autouse=True)
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REQUIREMENTS, "unobtainium", ABSENT)


def test_on_a_laptop_it_is_skipped_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"needs unobtainium\. Debian: apt install unobtainium"):
        require("unobtainium")


def test_in_ci_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs unobtainium"):
        require("unobtainium")


def test_every_requirement_says_how_to_get_it() -> None:
    assert all(requirement.how for requirement in REQUIREMENTS.values())
