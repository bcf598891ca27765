"""How a program that starts processes is stopped, so that none of them stays."""

import os
import signal


def be_stopped_by_signals() -> None:
    """SIGTERM as Ctrl-C, and Ctrl-C even where a shell's `&` has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
