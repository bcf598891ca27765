"""A Prefect server of a test's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from horae.local.ports import LOOPBACK, free_port
from horae.up.prefect_parts import environment
from tests.waiting import wait_for


@contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """The URL of its API. `folder`: an empty one."""
    url = f"http://{LOOPBACK}:{(port := free_port())}/api"
    (folder / "prefect").mkdir()
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | environment(folder, url), stdout=log, stderr=log)
    try:
        wait_for(lambda: healthy(url), f"Prefect, see {folder}/log", 90)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").json() is True
    except httpx.HTTPError:
        return False
