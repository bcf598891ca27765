"""Loopback ports: find a free one, and check that a configured one is free."""

import socket

from horae.errors import StartError

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A loopback port that no process listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind((LOOPBACK, 0))
        port: int = sock.getsockname()[1]
    return port


def choose_port(wanted: int, what: str, setting: str) -> int:
    """Return `wanted`, or a free port for 0. Raises StartError if it is taken; the error names `what` and `setting`.

    A port in TIME_WAIT, whose last process has just ended, counts as free.
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
                f"port {wanted} on {LOOPBACK} cannot be used for {what}: {error.strerror or error}. Stop the "
                f"process that uses it (ss -ltnp 'sport = :{wanted}' shows it), or choose another port: "
                f"{variable}={wanted + 1}, or 0 for any free one"
            ) from error
    return wanted
