"""Loopback ports: a free one, and whether a wanted one is taken."""

import socket

from horae.errors import StartError

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind((LOOPBACK, 0))
        port: int = sock.getsockname()[1]
    return port


def choose_port(wanted: int, what: str, setting: str) -> int:
    """`wanted`, or a free one for 0. StartError if it is taken, naming `what` wanted it and the `setting` to change.

    A port whose last user has just gone (TIME_WAIT) is not taken.
    """
    if wanted == 0:
        return free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, wanted))
            sock.listen(1)
        except OSError as error:
            variable = "HORAE_" + setting.replace(".", "__").upper()
            raise StartError(
                f"port {wanted} on {LOOPBACK}, wanted for {what}, cannot be used: {error.strerror or error}. "
                f"Stop whoever has it (ss -ltnp 'sport = :{wanted}' names it), "
                f"or choose another: {variable}={wanted + 1}, or 0 for any free one"
            ) from error
    return wanted
