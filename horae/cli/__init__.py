"""The command line `horae`. Only the module of the command that is called is loaded."""

import gc
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from horae.cli.streams import adapt, refused

BROKEN_PIPE = 141
"""What a shell reports of a program that a closed pipe ended."""
INTERRUPTED = 130
COMPLETING = "_HORAE_COMPLETE"
"""The script of a shell sets it when it asks what may follow; it begins with `_`, so it is no setting."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 fine, 1 the answer is no, 2 wrong use; errors are a sentence on stderr."""
    for stream in (sys.stdout, sys.stderr):
        adapt(stream, os.environ)
    gc.disable()  # a tenth of the time of a short command; `horae.cli.app` turns it on again for the others
    try:
        if COMPLETING in os.environ:
            from horae.cli.completing import answer

            status = answer(os.environ)
        else:
            status = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads our output has seen enough; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = BROKEN_PIPE
    except OSError as error:
        print(f"horae: {refused(error)}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = INTERRUPTED
    if any(not one.daemon for one in threading.enumerate() if one is not threading.main_thread()):
        # A job file started it when it was imported. A command that has answered does not wait for it.
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
        # Not the command's own `main`: it would answer a broken pipe and Ctrl-C in its own way.
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
    """What Typer refuses: its sentence, and where to read more."""
    sentence = getattr(error, "format_message", error.__str__)()
    context = getattr(error, "ctx", None)
    _say(f"horae: {sentence}")
    if context is not None:
        _say(f"Try `{context.command_path} --help`.")
    return int(getattr(error, "exit_code", 2))


def _say(text: str) -> None:
    from horae.terminal import escaped

    print(escaped(text), file=sys.stderr)
