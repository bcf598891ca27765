"""Control characters are shown, not obeyed."""

import io
import json
import unicodedata

import pytest

from horae.terminal import EscapedStream, escaped, one_line, styled

STEERING = [
    chr(code)
    for code in range(0x110000)
    if unicodedata.category(chr(code)) in {"Cc", "Zl", "Zp", "Cs"}
    or unicodedata.bidirectional(chr(code)) in {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    or chr(code) in "\u200e\u200f\u061c"
]


def test_no_steering_character_is_left() -> None:
    assert len(STEERING) > 2000
    for character in STEERING:
        assert one_line(f"a{character}b").isprintable()
        if character not in "\n\t":
            assert escaped(character) == f"\\u{ord(character):04x}"


def test_newlines_and_tabs_stay_but_in_one_line() -> None:
    assert escaped("a\n\tb") == "a\n\tb"
    assert one_line("a\n\tb\r") == "a\\n\\tb\\u000d"


@pytest.mark.parametrize("text", ["é\U0001f40e", '100 % \\ "quoted"', ""])
def test_other_text_stays(text: str) -> None:
    assert escaped(text) == one_line(text) == text


def test_json_means_the_same_when_it_is_escaped() -> None:
    value = {"\x9b31m": "\x1b]0;x\x07 \u202e \ud800 \u2028"}
    assert json.loads(escaped(json.dumps(value, ensure_ascii=False))) == value


def test_a_stream_lets_our_styles_through_and_nobody_elses() -> None:
    to = io.StringIO()
    print(styled("red \x1b[2J", "31"), "\x1b[31m", "\ufdd00m", file=EscapedStream(to))
    assert to.getvalue() == "\x1b[31mred \\u001b[2J\x1b[0m \\u001b[31m \\ufdd00m\n"
