"""Projects for tests of the ETL job: repositories with planted faults, a warehouse, and runs without Prefect."""

import os
import subprocess
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows._etl import reading
from flows._etl.report import Report
from flows._etl.running import Run
from flows._etl.settings import EtlSettings
from flows._etl.warehouse import Warehouse, configured, work_folder
from horae.settings import Settings

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
ORDERS = {"id": "bigint", "amount": "decimal(10,2)", "changed": "timestamp", "name": "text"}


@dataclass(kw_only=True)
class Project:
    """A project with the settings of `[jobs.etl]`. Each run is a new one, as Prefect would start it."""

    folder: Path
    table: dict[str, Any] = field(default_factory=dict)
    repos: list[str] = field(default_factory=list)

    @property
    def given(self) -> EtlSettings:
        return EtlSettings.model_validate(self.table)

    @property
    def warehouse(self) -> Warehouse:
        return configured(self.given, self.folder, self.folder / ".horae")

    def run(self, *, full: bool = False, dry_run: bool = False, now: datetime = NOW, **hooks: Any) -> Report:
        settings = Settings(project=self.folder, repos=tuple(self.repos))
        warehouse, state = self.warehouse, self.folder / ".horae"
        with work_folder(state) as work, nullcontext() if dry_run else warehouse.held():
            wanted = reading.sources(self.given, settings, None, None, work)
            return Run(warehouse, self.given, now, work, dry_run=dry_run, **hooks).run(wanted, full=full)

    def rows(self, columns: str, table: str) -> list[tuple[Any, ...]]:
        """Rows of a table of the warehouse, sorted."""
        warehouse = self.warehouse
        return sorted(warehouse.query(f"SELECT {columns} FROM {warehouse.table(table)}"), key=repr)

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that the job loaded, without what differs between two equal loads."""
        found = {}
        for name in ("commits", "files", "rejected", *self.given.sources):
            columns = [column for column in self.warehouse.columns(name) if not column.startswith("_dlt_")]
            found[name] = self.rows(", ".join(f'"{column}"' for column in sorted(columns)), name) if columns else []
        return found


def git(folder: Path, *arguments: str, at: str = "2026-11-01T10:00:00Z", stdin: bytes = b"") -> str:
    """Run git with a fixed author and date; returns its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "Ann", f"GIT_{who}_EMAIL": "ann@example.org", f"GIT_{who}_DATE": at}
    command = ["git", "-C", str(folder), "-c", "init.defaultBranch=main", "-c", "gc.auto=0", *arguments]
    return (
        subprocess.run(command, env=environment, check=True, capture_output=True, input=stdin).stdout.decode().strip()
    )


def repository(folder: Path, commits: int = 2) -> Path:
    """A repository with that many commits, each of which adds a file."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    for number in range(commits):
        commit(folder, f"{number}.txt", at=f"2026-11-{number + 1:02}T10:00:00Z")
    return folder


def commit(folder: Path, name: str, at: str = "2026-11-01T10:00:00Z", message: str = "") -> str:
    """Commit a new file; returns the name of the commit."""
    (folder / name).write_text(name)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", message or f"add {name}", at=at)
    return git(folder, "rev-parse", "HEAD")


def history(folder: Path) -> set[str]:
    """The names of all commits of the checked-out branch."""
    return set(git(folder, "rev-list", "HEAD").split())


def odd_repository(folder: Path) -> Path:
    """A repository whose names and messages have odd bytes, with a link, a submodule and a commit without a date."""
    repository(folder, 1)
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("1")
    (folder / "two\nlines\t.md").write_text("2")
    (folder / "Grün 🌳.PY").write_text("3")
    (folder / "link").symlink_to("0.txt")
    git(folder, "add", ".")
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    git(folder, "commit", "-q", "-m", "add odd names")
    # `git commit` makes UTF-8 of a message, so the object is written by hand.
    for who, seconds, message in (
        (b"Ren\xe9 <r>", b"1790000000", b"odd \xff bytes\n\n'quoted'; DROP TABLE commits; --\n\x01\n"),
        (b"A <a>", b"99999999999999", b"far away\n"),
    ):
        tree, parent = git(folder, "rev-parse", "HEAD^{tree}"), git(folder, "rev-parse", "HEAD")
        raw = f"tree {tree}\nparent {parent}\nauthor ".encode() + who + b" 1790000000 +0000\ncommitter " + who
        raw += b" " + seconds + b" +0000\n\n" + message
        made = git(folder, "hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw)
        git(folder, "update-ref", "refs/heads/main", made)
    return folder
