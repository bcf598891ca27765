"""The command line `horae`. Only the module of the command that is called is loaded."""

import gc
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from horae.cli.streams import adapt, refused

BROKEN_PIPE = 141
"""The exit status that shells report for a program that a closed pipe ended."""
INTERRUPTED = 130
COMPLETING = "_HORAE_COMPLETE"
"""A shell's completion script sets this variable to ask for completions. It begins with `_`, so it is not a setting."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. Status: 0 success, 1 the answer is no, 2 wrong use. Errors are a sentence on
    stderr.
    """
    for stream in (sys.stdout, sys.stderr):
        adapt(stream, os.environ)
    # garbage collection takes a tenth of the time of a short command; `horae.cli.app` enables it for the other commands
    gc.disable()
    try:
        if COMPLETING in os.environ:
            from horae.cli.completing import answer

            status = answer(os.environ)
        else:
            status = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has closed it. Without this, Python would report an error when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = BROKEN_PIPE
    except OSError as error:
        print(f"horae: {refused(error)}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = INTERRUPTED
    if any(not one.daemon for one in threading.enumerate() if one is not threading.main_thread()):
        # A job file started a thread at import. A command that has answered does not wait for it.
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """The exit status of one command line; raises BrokenPipeError."""
    from typer import Abort, Exit
    from typer.exceptions import TyperException

    from horae.cli.app import command_line
    from horae.errors import HoraeError, UsageError

    try:
        # Do not use the command's own `main`: it handles a broken pipe and Ctrl-C differently.
        command = command_line()
        with command.make_context("horae", list(arguments)) as context:
            return int(command.invoke(context) or 0)
    except Exit as asked:
        return asked.exit_code
    except UsageError as error:
        _say(f"horae: {error.message}")
        return 2
    except HoraeError as error:
        _say(f"horae: {error.message}")
        return 1
    except TyperException as error:
        return _misused(error)
    except Abort:
        return INTERRUPTED


def _misused(error: Exception) -> int:
    """Print an error of Typer as a sentence, with a hint to the help."""
    sentence = getattr(error, "format_message", error.__str__)()
    context = getattr(error, "ctx", None)
    _say(f"horae: {sentence}")
    if context is not None:
        _say(f"Try `{context.command_path} --help`.")
    return int(getattr(error, "exit_code", 2))


def _say(text: str) -> None:
    from horae.terminal import escaped

    print(escaped(text), file=sys.stderr)
