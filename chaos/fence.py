"""What a job writes to, and what can refuse it: effects guarded by the fencing token, in a SQLite file.

A resource that knows the newest token refuses an older one: that is what tokens are for. Every beginning and every
effect is kept in the order in which the file saw it, so that the checker need not trust the guard.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

TABLES = """
CREATE TABLE IF NOT EXISTS newest (run TEXT PRIMARY KEY, token INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS seen
  (number INTEGER PRIMARY KEY, run TEXT NOT NULL, token INTEGER NOT NULL, what TEXT NOT NULL);
"""
WAIT_SECONDS = 60
"""A process that is paused in the middle of a write holds the file until it goes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    run_id: str
    token: int
    what: str
    """began, done or refused."""


class Fence:
    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self) -> None:
        """Before any process uses it."""
        with closing(sqlite3.connect(self._path)) as file:
            file.execute("PRAGMA journal_mode = WAL")
            file.executescript(TABLES)

    def begin(self, run_id: str, token: int) -> None:
        """From now on an older token of that run is refused."""
        with self._step() as file:
            file.execute(
                "INSERT INTO newest VALUES (?, ?) ON CONFLICT (run) DO UPDATE SET token = max(token, excluded.token)",
                (run_id, token),
            )
            file.execute("INSERT INTO seen (run, token, what) VALUES (?, ?, 'began')", (run_id, token))

    def effect(self, run_id: str, token: int) -> bool:
        """Whether it was done: the compare and the set are one step."""
        with self._step() as file:
            [(newest,)] = file.execute("SELECT token FROM newest WHERE run = ?", (run_id,)).fetchall()
            done: bool = newest == token
            what = "done" if done else "refused"
            file.execute("INSERT INTO seen (run, token, what) VALUES (?, ?, ?)", (run_id, token, what))
        return done

    @contextmanager
    def _step(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=WAIT_SECONDS, isolation_level=None)) as file:
            file.execute("PRAGMA synchronous = OFF")  # processes are killed here, machines are not
            file.execute("BEGIN IMMEDIATE")
            yield file
            file.execute("COMMIT")


def entries(path: Path) -> list[Entry]:
    with closing(sqlite3.connect(path)) as file:
        rows = file.execute("SELECT run, token, what FROM seen ORDER BY number").fetchall()
    return [Entry(run_id=run, token=token, what=what) for run, token, what in rows]
