"""From what a run prints to the lines that are kept."""

import pytest

from horae.execution.lines import LINE_LIMIT, PIECE, Lines


@pytest.fixture
def kept() -> list[str]:
    return []


def texts(kept: list[str]) -> list[str]:
    """Without their instants."""
    return [line.partition(" ")[2] for line in kept]


def test_a_line_is_kept_once_it_has_its_end(kept: list[str]) -> None:
    lines = Lines("PRINT", kept.append)
    for text in ("a", "b\nc", "d\n\n", "e"):
        lines.write(text)
    assert texts(kept) == ["PRINT ab", "PRINT cd", "PRINT "]
    lines.flush()
    lines.flush()
    assert texts(kept)[3:] == ["PRINT e"]


def test_a_long_line_is_kept_in_pieces(kept: list[str]) -> None:
    lines = Lines("PRINT", kept.append)
    lines.write("x" * (2 * PIECE + 1) + "\n")
    assert [line.count("x") for line in kept] == [PIECE, PIECE, 1]
    assert all(len(line) <= LINE_LIMIT for line in kept)


def test_what_never_ends_is_kept_as_it_grows(kept: list[str]) -> None:
    lines = Lines("PRINT", kept.append)
    for _ in range(3 * PIECE + 5):
        lines.write(".")
    assert len(kept) == 3
    lines.flush()
    assert sum(line.partition("PRINT")[2].count(".") for line in kept) == 3 * PIECE + 5


def test_only_what_is_old_is_shown_before_its_end(kept: list[str]) -> None:
    lines = Lines("PRINT", kept.append)
    lines.write("working")
    lines.flush(older_than_seconds=60)
    assert kept == []
    lines.flush(older_than_seconds=0)
    assert texts(kept) == ["PRINT working"]


def test_bytes_may_be_cut_anywhere_and_be_no_text(kept: list[str]) -> None:
    lines = Lines("STDERR", kept.append)
    for byte in "grün\n".encode() + b"\xff\n":
        lines.write_bytes(bytes([byte]))
    assert texts(kept) == ["STDERR grün", "STDERR \\xff"]


def test_records_bring_their_level(kept: list[str]) -> None:
    Lines("", kept.append).write("WARNING pool: it is late\n")
    assert texts(kept) == ["WARNING pool: it is late"]
