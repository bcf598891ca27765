"""`horae completion SHELL`: the script that lets a shell complete commands, options and names of jobs."""

from enum import StrEnum
from typing import Annotated

import typer

from horae.cli.completing import SHELLS, script

Shell = StrEnum("Shell", {name: name for name in SHELLS})  # type: ignore[misc]
Which = Annotated[Shell, typer.Argument(metavar="SHELL", help=f"{', '.join(SHELLS)}.")]


def command(shell: Which) -> int:
    """Print a script for bash, zsh or fish that completes commands, options and the names of jobs.

    \b
    horae completion bash > ~/.local/share/bash-completion/completions/horae
    horae completion zsh > ~/.zfunc/_horae
    horae completion fish > ~/.config/fish/completions/horae.fish
    """
    print(script(shell.value))
    return 0
