"""The Lua scripts of the store: no command reads or deletes a whole key that grows with the data."""

import re
from pathlib import Path

import pytest

from horae.store.redis.scripts import FOLDER, LAST_PARTS, PARTS

WHOLE = {
    "all of an index": r"'Z?(REV)?RANGE', [^\n]*\b0, -1",
    "an index without a limit": r"'Z(REV)?RANGEBYSCORE', (?![^\n]*'LIMIT')",
    "all of a hash": r"'(HGETALL|HKEYS|HVALS)'",
    "all of a set": r"'SMEMBERS'",
    "all of a list": r"'LRANGE', [^\n]*\b0, -1",
    "all keys": r"'(KEYS|SCAN)'",
}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.lua")), ids=lambda path: path.stem)
def test_no_script_reads_a_whole_key(path: Path) -> None:
    text = path.read_text()
    for what, pattern in WHOLE.items():
        assert not re.search(pattern, text), f"{what}: read it in bounded steps"


def code_of(name: str) -> str:
    """Without comments."""
    return re.sub(r"--[^\n]*", "", (FOLDER / f"{name}.lua").read_text())


def test_each_file_is_a_part_or_a_script() -> None:
    assert {path.stem for path in FOLDER.glob("*.lua")} == {*PARTS, *LAST_PARTS}


@pytest.mark.parametrize("name", [*PARTS, *LAST_PARTS])
def test_no_script_calls_a_function_of_a_part_that_it_does_not_carry(name: str) -> None:
    last = LAST_PARTS.get(name, name)
    for part in PARTS[PARTS.index(last) + 1 :]:
        functions = re.findall(r"^local function (\w+)|^function (\w+)", code_of(part), re.MULTILINE)
        called = {one for pair in functions for one in pair if one and re.search(rf"\b{one}\(", code_of(name))}
        assert called == set(), f"{name}.lua needs {part}.lua"
