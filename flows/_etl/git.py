"""Reads commits and tracked files of a repository by git, without changing anything in it."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from glob import glob, has_magic
from pathlib import Path
from typing import IO, Any

from flows._etl.contract import COMMITS, FILES
from flows._etl.errors import SourceUnavailable, UnreadableSource
from flows._etl.staged import Extracted, Known, Staged

# The configuration of a repository may name a program as file system monitor, and may add signatures to the log.
READ_ONLY = (
    "--no-optional-locks",
    "--no-replace-objects",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "log.showSignature=false",
)
# A git hook sets these variables. With them every git command would use the repository of the hook.
OF_ANOTHER_REPOSITORY = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_INDEX_FILE",
    "GIT_NAMESPACE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
}  # fmt: skip
FIELDS = ("sha", "parents", "author_name", "author_email", "authored_at", "committer_name", "committer_email",
          "committed_at", "message")  # fmt: skip
FORMAT = "%x00".join(("%H", "%P", "%an", "%ae", "%at", "%cn", "%ce", "%ct", "%B"))
SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
KINDS = {"120000": "link", "160000": "submodule"}
CHUNK = 1 << 20


def discover(project: Path, patterns: list[str]) -> list[tuple[str, Path]]:
    """Name and path of each repository, in the given order, each once. A glob matches folders that contain a `.git`."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        place = Path(os.path.normpath(project / Path(pattern).expanduser()))
        matches = [place]
        if has_magic(pattern) and not place.exists():
            matches = [Path(match) for match in sorted(glob(str(place))) if (Path(match) / ".git").exists()] or [place]
        for match in matches:
            found.setdefault(match.absolute())
    names = [path.name for path in found]
    return [
        (text(os.fsencode(name if names.count(name) == 1 else str(path)))[0], path)
        for name, path in zip(names, found, strict=True)
    ]


def extract(name: str, path: Path, work: Path, known: Known, timeout_seconds: float) -> Extracted:
    """Write commits and tracked files of the checked-out branch to NDJSON files in `work`.

    If the known commit is an ancestor of the branch, only the commits after it are read. The order is that of the
    history and not of the dates, so a commit with an old date is not missed. Otherwise the history was rewritten, and
    all commits are read. Raises UnreadableSource.
    """
    _require_repository(path)
    repository = _Git(path, work, timeout_seconds)
    try:
        head = repository.line("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except UnreadableSource as error:
        if error.message != "git failed and wrote no message":
            raise
        raise UnreadableSource("it has no commit") from error
    notes, unseen = [], []
    after = known.head
    if after and not repository.follows(after, head):
        after = None
        notes.append("its history was rewritten, so all commits were read again")
    if repository.line("rev-parse", "--is-shallow-repository") == "true":
        unseen.append("it is a shallow clone, so the older commits were not read (git fetch --unshallow)")
    commits, odd = repository.write_commits(f"{after}..{head}" if after else head)
    files, odd_paths = repository.write_files(head)
    if odd + odd_paths:
        notes.append(f"{odd + odd_paths} texts are not UTF-8; each wrong byte is written as \\xNN")
    return Extracted(
        name=name,
        head=head,
        tables=(
            Staged(
                contract=COMMITS,
                files=(commits,),
                kind="ndjson",
                full=after is None,
                total=int(repository.line("rev-list", "--count", head)),
            ),
            Staged(contract=FILES, files=(files,), kind="ndjson", full=True),
        ),
        notes=tuple(notes),
        unseen=tuple(unseen),
    )


def _require_repository(path: Path) -> None:
    if not path.is_dir():
        raise UnreadableSource("it is not a folder" if path.exists() else "there is no such folder")
    if not os.access(path, os.R_OK | os.X_OK):
        raise UnreadableSource("the folder may not be read")


def text(given: bytes) -> tuple[str, bool]:
    """Bytes as text, and whether they are UTF-8. A byte that is not becomes `\\xNN`."""
    try:
        return given.decode(), True
    except UnicodeDecodeError:
        return given.decode(errors="backslashreplace"), False


def instant(seconds: bytes) -> str:
    """Seconds since 1970 in ISO 8601. What cannot be such an instant stays as it is, and the contract rejects it."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return seconds.decode(errors="backslashreplace")


def commit_row(fields: list[bytes]) -> tuple[dict[str, Any], int]:
    """A commit as a row of the table, and the number of its texts that are not UTF-8."""
    row: dict[str, Any] = {}
    odd = 0
    for field, value in zip(FIELDS, fields, strict=True):
        if field.endswith("_at"):
            row[field] = instant(value)
        else:
            row[field], sound = text(value)
            odd += not sound
    row["parents"] = str(len(row["parents"].split()))
    row["message"] = row["message"].rstrip("\n")
    row["subject"] = row["message"].partition("\n")[0]
    if not SHA.fullmatch(row["sha"]):
        raise UnreadableSource(f"git log printed {row['sha'][:60]!r} where the name of a commit was expected")
    return row, odd


def file_row(entry: bytes) -> tuple[dict[str, Any], int]:
    """An entry of `git ls-tree -l` as a row of the table, and 1 if its path is not UTF-8."""
    about, _, raw = entry.partition(b"\t")
    mode, _, blob, size = about.decode().split()
    path, sound = text(raw)
    suffix = Path(path).suffix.lower().lstrip(".")
    kind = KINDS.get(mode, "file")
    row = {"path": path, "suffix": suffix, "kind": kind, "mode": mode, "blob": blob}
    return row | {"bytes": None if size == "-" else size}, int(not sound)


def records(file: IO[bytes]) -> Iterator[bytes]:
    """The parts of a file that NUL bytes end."""
    rest = b""
    while chunk := file.read(CHUNK):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
    if rest:
        raise UnreadableSource("the output of git breaks off")


class _Git:
    """Git commands in one repository. Large output goes to a file in the work folder."""

    def __init__(self, path: Path, work: Path, timeout_seconds: float) -> None:
        self._path, self._work, self._timeout = path, work, timeout_seconds
        kept = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER_REPOSITORY}
        self._environment = kept | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}

    def line(self, *arguments: str) -> str:
        return self._run(subprocess.PIPE, *arguments).decode().strip()

    def follows(self, old: str, new: str) -> bool:
        """Whether the old commit still exists and is an ancestor of the new one."""
        try:
            self.line("cat-file", "-e", f"{old}^{{commit}}")
            self.line("merge-base", "--is-ancestor", old, new)
        except SourceUnavailable:
            raise
        except UnreadableSource:
            return False
        return True

    def write_commits(self, revisions: str) -> tuple[Path, int]:
        """Write the commits as NDJSON; returns the file and the number of texts that are not UTF-8."""
        raw, target, odd = self._work / "log", self._work / "commits.ndjson", 0
        with raw.open("wb") as output:
            self._run(
                output, "log", "-z", f"--format={FORMAT}", "--encoding=UTF-8", "--no-color", "--no-notes",
                "--no-mailmap", revisions, "--",
            )  # fmt: skip
        with raw.open("rb") as file, target.open("w", encoding="utf-8") as out:
            fields: list[bytes] = []
            for part in records(file):
                fields.append(part)
                if len(fields) == len(FIELDS):
                    row, count = commit_row(fields)
                    out.write(json.dumps(row) + "\n")
                    odd += count
                    fields = []
            if fields:
                raise UnreadableSource("the output of git log breaks off")
        raw.unlink()
        return target, odd

    def write_files(self, head: str) -> tuple[Path, int]:
        """Write the tracked files as NDJSON; returns the file and the number of paths that are not UTF-8."""
        raw, target, odd = self._work / "tree", self._work / "files.ndjson", 0
        with raw.open("wb") as output:
            self._run(output, "ls-tree", "-r", "-l", "-z", "--full-tree", head)
        with raw.open("rb") as file, target.open("w", encoding="utf-8") as out:
            for entry in records(file):
                row, count = file_row(entry)
                out.write(json.dumps(row) + "\n")
                odd += count
        raw.unlink()
        return target, odd

    def _run(self, output: Any, *arguments: str) -> bytes:
        command = ["git", *READ_ONLY, "-C", str(self._path), *arguments]
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                timeout=self._timeout,
                check=False,
            )
        except OSError as error:
            raise UnreadableSource(f"git cannot be started: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise SourceUnavailable(f"git {arguments[0]} took longer than {self._timeout:g} s") from error
        if done.returncode < 0:
            raise UnreadableSource(f"git {arguments[0]} was ended by {signal.Signals(-done.returncode).name}")
        if done.returncode:
            raise UnreadableSource(_reason(self._path, done.stderr.decode(errors="replace")))
        return done.stdout or b""


def _reason(repository: Path, said: str) -> str:
    if "dubious ownership" in said:
        return (
            "another user owns it and git refuses to read it; if you trust it, run: "
            f"git config --global --add safe.directory {repository}"
        )
    if "not a git repository" in said:
        return "it is not a git repository"
    lines = [line for line in said.strip().splitlines() if line]
    return f"git says: {lines[-1].removeprefix('fatal: ')}" if lines else "git failed and wrote no message"
