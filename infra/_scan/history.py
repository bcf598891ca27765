"""Searches the commits since the last scan for secrets. Everybody with a clone can read what was once committed."""

import os
import re
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import batched

from horae import clock
from infra._scan.finding import Finding, Outcome, ScanFailed
from infra._scan.repository import Repository, git, git_command, git_environment, reason
from infra._scan.secrets import in_line

TOOL = "history"
MARK = "\x01commit "
# Merges show what they add themselves. No renames, no external programs, no colours.
LOG = (
    *("log", "--no-walk=unsorted", "--stdin", "-p", "--unified=0", "--no-color", "--no-ext-diff", "--no-textconv"),
    *("--no-renames", "--diff-merges=dense-combined", "--format=%x01commit %H", "--no-show-signature"),
)
CHUNK = 500
"""Commits of one call. What is searched is kept, so a scan that runs out of time continues there the next time."""
HUNK = re.compile(r"(?P<at>@@+) .*\+(?P<line>\d+)(?:,\d+)? @@+")


@dataclass(kw_only=True, slots=True)
class Searched:
    outcome: Outcome
    tips: list[str] = field(default_factory=list)
    """The next scan searches what is not reachable from these commits. Empty if nothing was searched."""


def scan(repository: Repository, since: Sequence[str], salt: str, timeout_seconds: float) -> Searched:
    """Search every line that was added by a commit that no commit of `since` leads to, oldest commits first."""
    if not repository.has_git:
        return Searched(outcome=Outcome(tool=TOOL, repo=repository.name))
    deadline = clock.monotonic() + timeout_seconds
    not_seen: tuple[str, ...] = ()
    findings: dict[str, Finding] = {}
    heads: set[str] = set()
    searched, failure = 0, None
    try:
        if _is_shallow(repository, timeout_seconds):
            not_seen = ("it is a shallow clone without the older commits; `git fetch --unshallow` fetches them",)
        # The tips first: commits that are made meanwhile are left for the next scan.
        tips = {*_tips(repository, timeout_seconds)}
        heads = {tip for tip in since if _is_there(repository, tip, timeout_seconds)}
        for chunk in batched(_commits(repository, tips, heads, timeout_seconds), CHUNK, strict=False):
            lines = _added(repository, [commit for commit, *_ in chunk], deadline)
            for fingerprint, finding in _read(lines, repository.name, salt).items():
                findings.setdefault(fingerprint, finding)
            heads -= {parent for _, *parents in chunk for parent in parents}
            heads |= {commit for commit, *_ in chunk} - {parent for _, *parents in chunk for parent in parents}
            searched += len(chunk)
        heads = tips
    except ScanFailed as error:
        failure = f"{error.message}; {searched} commits were searched, and the next scan continues"
    outcome = Outcome(
        tool=TOOL,
        repo=repository.name,
        findings=tuple(findings.values()),
        looked_at=searched,
        not_seen=not_seen,
        failure=failure,
    )
    return Searched(outcome=outcome, tips=sorted(heads))


def still_there(repository: Repository, commit: str, timeout_seconds: float) -> bool:
    """Whether a branch, tag or stash still leads to that commit. True if git cannot tell."""
    if not _is_there(repository, commit, timeout_seconds):
        return False
    contains = ("for-each-ref", "--count=1", f"--contains={commit}")
    try:
        return bool(git(repository.path, *contains, timeout_seconds=timeout_seconds).strip())
    except ScanFailed:
        return True


def _tips(repository: Repository, timeout_seconds: float) -> Iterator[str]:
    yield from git(repository.path, "for-each-ref", "--format=%(objectname)", timeout_seconds=timeout_seconds).split()
    try:
        yield git(repository.path, "rev-parse", "--verify", "--quiet", "HEAD", timeout_seconds=timeout_seconds).strip()
    except ScanFailed:
        return  # no commit yet


def _is_there(repository: Repository, commit: str, timeout_seconds: float) -> bool:
    try:
        git(repository.path, "cat-file", "-e", commit, timeout_seconds=timeout_seconds)
    except ScanFailed:
        return False
    return True


def _is_shallow(repository: Repository, timeout_seconds: float) -> bool:
    said = git(repository.path, "rev-parse", "--is-shallow-repository", timeout_seconds=timeout_seconds)
    return said.strip() == "true"


def _commits(
    repository: Repository, tips: Iterable[str], since: Iterable[str], timeout_seconds: float
) -> list[list[str]]:
    """Each new commit with its parents, parents before children."""
    given = [*sorted(tips), *(f"^{one}" for one in sorted(since))]
    order = ("rev-list", "--topo-order", "--reverse", "--parents", "--ignore-missing", "--stdin")
    said = git(repository.path, *order, timeout_seconds=timeout_seconds, given="\n".join(given) + "\n")
    return [line.split() for line in said.splitlines()]


def _added(repository: Repository, commits: Sequence[str], deadline: float) -> Iterator[str]:
    """The lines of `git log` for those commits; raises ScanFailed at its end if git failed or took too long."""
    with subprocess.Popen(
        git_command(repository.path, *LOG),
        env=git_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        watch = threading.Timer(max(0.0, deadline - clock.monotonic()), stop)
        watch.start()
        try:
            with suppress(BrokenPipeError):  # git ended already, and says why
                process.stdin.write("".join(f"{commit}\n" for commit in commits).encode())
                process.stdin.close()
            for line in process.stdout:
                yield os.fsdecode(line).rstrip("\n")
            said = process.stderr.read().decode(errors="replace")
        finally:
            watch.cancel()
    if late.is_set():
        raise ScanFailed("git log took longer than tool_timeout_seconds")
    if process.returncode:
        raise ScanFailed(reason(repository.path, said))


def _read(lines: Iterable[str], repo: str, salt: str) -> dict[str, Finding]:
    """Findings by fingerprint, each of the first commit that has it."""
    findings: dict[str, Finding] = {}
    commit, path, number, parents = "", "", 0, 1
    for line in lines:
        if line.startswith(MARK):
            commit, number = line.removeprefix(MARK), 0
        elif line.startswith("+++ ") and number == 0:
            path = _path(line)
        elif line.startswith(("diff --git ", "diff --cc ", "diff --combined ")):
            number = 0
        elif line.startswith("@@") and (hunk := HUNK.match(line)):
            number, parents = int(hunk["line"]), len(hunk["at"]) - 1
        elif number and "+" in line[:parents] and "-" not in line[:parents]:
            for finding in in_line(line[parents:], number, path, repo, salt, commit):
                findings.setdefault(finding.fingerprint, finding)
            number += 1
    return findings


def _path(line: str) -> str:
    text = line.removeprefix("+++ ").rstrip("\t")
    if text.startswith('"'):
        text = (
            text.strip('"')
            .encode("latin-1", "replace")
            .decode("unicode_escape")
            .encode("latin-1")
            .decode(errors="replace")
        )
    return text.removeprefix("b/")
