"""The Lua scripts of the store: no command reads or deletes a whole key that grows with the data."""

import re
from pathlib import Path

import pytest

from horae.store.redis.scripts import FOLDER

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
