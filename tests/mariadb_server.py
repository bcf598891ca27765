"""A real MariaDB of a test's own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from horae.local.ports import LOOPBACK, free_port
from tests.requirements import mariadbd
from tests.waiting import wait_for

PASSWORD = 's3cret/"w\\o#rd'
IN_URL = "s3cret%2F%22w%5Co%23rd"


class MariaDB:
    def __init__(self, port: int, socket: Path) -> None:
        self.port, self._socket = port, socket

    def url(self, database: str, password: str = IN_URL) -> str:
        return f"mariadb://boss:{password}@{LOOPBACK}:{self.port}/{database}"

    def ask(self, statement: str, database: str = "mysql") -> str:
        """What the client prints, as root and through the socket."""
        done = subprocess.run(self.client(database), input=statement, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def client(self, database: str) -> list[str]:
        return ["mariadb", "--no-defaults", f"--socket={self._socket}", "-uroot", "-NB", "--", database]

    def answers(self) -> bool:
        ping = ["mariadb-admin", "--no-defaults", f"--socket={self._socket}", "-uroot", "ping"]
        return subprocess.run(ping, capture_output=True, check=False).returncode == 0


@contextmanager
def mariadb_server(folder: Path) -> Iterator[MariaDB]:
    """Its user `boss` may do everything, with a password that option files could misread. Its log is `folder/log`."""
    server = mariadbd()
    assert server is not None
    data, socket, port = folder / "data", folder / "s", free_port()
    as_user = ["--user=root"] if os.geteuid() == 0 else []
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", *as_user]
    subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
    command = [server, "--no-defaults", f"--datadir={data}", f"--socket={socket}", f"--port={port}", *as_user]
    command += [f"--bind-address={LOOPBACK}", f"--pid-file={folder / 'pid'}", "--innodb-buffer-pool-size=16M"]
    command += ["--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0", "--event-scheduler=ON"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    found = MariaDB(port, socket)
    try:
        wait_for(found.answers, f"MariaDB, see {folder}/log", 60)
        escaped = PASSWORD.replace("\\", "\\\\")
        found.ask(f"CREATE USER boss@'{LOOPBACK}' IDENTIFIED BY '{escaped}'")
        found.ask(f"GRANT ALL ON *.* TO boss@'{LOOPBACK}' WITH GRANT OPTION")
        yield found
    finally:
        process.terminate()
        process.wait(30)
