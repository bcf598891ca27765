"""Prints JSON, columns and colours. It does not use Rich, because importing Rich's tables alone takes a third of the
time that `horae jobs` may take.
"""

import json
import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from horae.terminal import styled
from horae.words import colour_of, state_words

if TYPE_CHECKING:
    from horae.runs import Run

CODES = {"bold": 1, "dim": 2, "underline": 4, "red": 31, "green": 32, "yellow": 33, "magenta": 35, "cyan": 36}

type Cell = str | tuple[str, str]
"""A text, or a text and its style."""


def print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def paint(text: str, *styles: str) -> str:
    """The text in these styles; unchanged if stdout is not a terminal or NO_COLOR is set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    codes = ";".join(str(CODES[style]) for style in styles if style)
    return styled(text, codes) if codes and text else text


def wrapped(text: str, indent: int) -> list[str]:
    """Lines that fit the terminal to the right of `indent` columns."""
    return textwrap.wrap(text, max(40, shutil.get_terminal_size((100, 24)).columns - indent), break_on_hyphens=False)


def state_of(run: "Run") -> tuple[str, str]:
    """The state of a run with its reason, and the colour of the state."""
    return state_words(run), colour_of(run.state.value)
