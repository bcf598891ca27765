"""Answers a shell that completes commands, options and names of jobs."""

import contextlib
import io
import os
from collections.abc import Mapping
from typing import Any

import typer

from horae.cli import COMPLETING

SHELLS = ("bash", "zsh", "fish")


def script(shell: str) -> str:
    """The variable that makes the shell's script ask."""
    from typer._completion_shared import get_completion_script

    return get_completion_script(prog_name="horae", complete_var=COMPLETING, shell=shell)


def answer(environment: Mapping[str, str]) -> int:
    """Print the possible completions, or nothing if they cannot be determined. Returns the exit status."""
    from typer.completion import completion_init, shell_complete  # type: ignore[attr-defined]

    from horae.cli.app import command_line
    from horae.errors import HoraeError

    completion_init()
    with contextlib.suppress(HoraeError):  # an unknown command; the error follows when the line is entered
        return shell_complete(command_line(), {}, "horae", COMPLETING, environment[COMPLETING])
    return 0


def job_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of the project's jobs that begin with this text; none if the project cannot be read."""
    from horae.cli.project import configured
    from horae.errors import HoraeError
    from horae.project.loading import load

    quiet: Any = io.StringIO()
    with contextlib.suppress(HoraeError), contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
        return [name for name in load(configured(ctx)).names if name.startswith(incomplete)]
    return []
