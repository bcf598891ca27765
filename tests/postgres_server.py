"""A real PostgreSQL of a test's own."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from horae.local.ports import free_port
from tests.requirements import postgres_bin
from tests.waiting import wait_for


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """It asks everybody for a password; the URL of its superuser. Its log is `folder/log`, its files `folder/data`."""
    tools = postgres_bin()
    assert tools is not None
    # Not below pytest's own folder: another session of the same user closes that one to other users.
    with tempfile.TemporaryDirectory(prefix="horae-postgres-") as name:
        place = Path(name)
        as_owner: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            as_owner = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            shutil.chown(place, "nobody", "nogroup")
        data, password = place / "data", place / "password"
        password.write_text("s3cret/word")
        password.chmod(0o644)
        initdb = [str(tools / "initdb"), "-D", str(data), "-U", "boss", f"--pwfile={password}"]
        initdb += ["-A", "scram-sha-256", "-N"]
        subprocess.run([*as_owner, *initdb], check=True, capture_output=True, cwd="/")
        (folder / "data").symlink_to(data)
        port = free_port()
        options = ["-p", str(port), "-h", "127.0.0.1", "-k", "", "-c", "fsync=off", "-c", "log_statement=all"]
        command = [*as_owner, str(tools / "postgres"), "-D", str(data), *options]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, stderr=log, cwd="/")
        url = f"postgresql://boss:s3cret%2Fword@127.0.0.1:{port}/postgres"
        try:
            wait_for(lambda: psql(url, "SELECT 1") == "1", "PostgreSQL", 30)
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(20)


def psql(url: str, statement: str) -> str:
    """What psql prints; empty when it fails."""
    done = subprocess.run(["psql", "-XAtc", statement, url], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
