"""`from horae import ...`: what a job author or an embedding program needs, and no more."""

import subprocess
import sys

import pytest

import horae

NAMES = {
    *(
        "Accepted",
        "CatchUp",
        "Cause",
        "Decision",
        "HoraeError",
        "Isolation",
        "Job",
        "Overlap",
        "Priority",
        "Reason",
        "Retry",
        "Run",
    ),
    *("RunContext", "Schedule", "Scheduler", "Scope", "Settings", "State", "Tier", "Trait", "Verdict"),
    *("any_of", "at", "cron", "current_run", "decide", "every", "job", "load_settings"),
}


def test_the_front_page_is_this_list() -> None:
    assert set(horae.__all__) == NAMES
    assert set(dir(horae)) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_is_what_it_says(name: str) -> None:
    found = getattr(horae, name)
    assert found.__name__ == horae.NAMES_THERE.get(name, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'jbo'"):
        horae.jbo  # noqa: B018


def test_importing_it_imports_none_of_its_rooms() -> None:
    code = "import sys, horae; print([name for name in sys.modules if name.startswith('horae.')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
