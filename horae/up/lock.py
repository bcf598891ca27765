"""One `horae up` a project: a lock that the kernel takes away with its holder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from horae.errors import StartError
from horae.local import endpoints
from horae.local.state_folder import state_folder
from horae.urls import shown

FILE = "up.lock"


@contextmanager
def project_lock(state: Path) -> Iterator[None]:
    """Hold the project's lock. StartError if another holds it, naming its process and addresses, or if `state` cannot
    be written."""
    path = state / FILE
    descriptor = _take(path)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(path: Path) -> int:
    while True:
        try:
            state_folder(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartError(
                f"cannot write {path}: {error.strerror}. Horae stores its state in {path.parent}: free space, make "
                "the folder writable for this user, or choose another folder with HORAE_STATE_DIR"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode().strip()
            os.close(descriptor)
            raise StartError(_taken(path, holder)) from None
        # Its last holder may have removed the file between our opening and locking it.
        if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
        os.close(descriptor)


def _taken(path: Path, holder: str) -> str:
    running = endpoints.read(path.parent)
    addresses = {
        "Prefect": running and running.prefect_api_url and shown(running.prefect_api_url).removesuffix("/api"),
        "sidecar": running and running.sidecar_url,
        "queue worker": running and running.worker_url,
    }
    named = ", ".join(f"{name} {url}" for name, url in addresses.items() if url)
    return (
        f"horae up already runs in {path.parent.parent}"
        + (f" as process {holder}" if holder else "")
        + (f" ({named})" if named else "")
        + f". Use it, or stop it first: press Ctrl-C in its terminal, or run kill {holder or 'its process'}"
    )
