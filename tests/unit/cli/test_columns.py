"""Tables fit the terminal, and lose nothing where there is none."""

import pytest

from horae.cli.columns import laid_out

HEAD = ("when", "job", "state", "run id", "error")
ROWS = [
    [("2026-12-01T02:00:00Z", ""), ("backup", ""), ("failed: raised", "red"), ("0199" * 9, ""), ("OSError: " * 9, "")],
    [("2026-12-01T03:00:00Z", ""), ("backup", ""), ("ran", "green"), ("0198" * 9, ""), ("", "")],
]
BELOW = ("error", "run id")


def drawn(width: int | None) -> list[str]:
    return ["".join(text for text, _ in line) for line in laid_out(HEAD, ROWS, BELOW, width)]


def test_without_a_terminal_each_row_is_one_whole_line() -> None:
    head, first, second = drawn(None)
    assert head.split() == ["when", "job", "state", "run", "id", "error"]
    assert first.endswith("OSError:")
    assert second.endswith("0198")


@pytest.mark.parametrize("width", [20, 40, 80, 100, 130])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    assert max(map(len, drawn(width))) <= width


def test_what_does_not_fit_goes_below_and_is_cut_at_the_edge() -> None:
    head, head_below, first, first_below, second, second_below = drawn(80)
    assert (head.split(), head_below.split()) == (["when", "job", "state"], ["run", "id", "error"])
    assert first == "2026-12-01T02:00:00Z  backup  failed: raised"
    assert first_below.startswith("  " + "0199" * 9 + "  OSError:")
    assert first_below.endswith("…")
    assert second == "2026-12-01T03:00:00Z  backup  ran"
    assert second_below == "  " + "0198" * 9


def test_an_empty_column_is_left_out() -> None:
    assert drawn(None)[0].split()[-1] == "error"
    lines = laid_out(HEAD, [[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("", "")]], BELOW, None)
    assert ["".join(text for text, _ in line).split() for line in lines] == [
        ["when", "job", "state", "run", "id"],
        ["a", "b", "c", "d"],
    ]
