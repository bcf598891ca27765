"""Files that others may change, and files with secrets that others may read."""

import os
import stat
from pathlib import Path

from infra._scan.finding import Finding, Outcome, Severity
from infra._scan.repository import Repository, walk

TOOL = "permissions"
SECRET_NAMES = {".env", ".netrc", ".pgpass", ".pypirc", ".htpasswd", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"}
SECRET_ENDINGS = (".key", ".kdbx", ".p12", ".pfx", ".jks", ".ppk")
HARMLESS = (".example", ".sample", ".template", ".dist", ".pub")


def scan(repository: Repository) -> Outcome:
    """Check every file and folder, and git's hooks. A readable secret is not reported for a tracked file: git sets its
    mode, and the content is searched for secrets."""
    findings: list[Finding] = []
    not_seen: list[str] = []
    looked_at = 0
    hooks = repository.path / ".git/hooks"
    for path in [repository.path, *walk(repository.path, not_seen), *(walk(hooks, not_seen) if hooks.is_dir() else [])]:
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            not_seen.append(f"{path} cannot be read: {error.strerror}")
            continue
        looked_at += 1
        if not stat.S_ISLNK(status.st_mode):
            findings += _judge(path, status, repository)
    return Outcome(
        tool=TOOL,
        repo=repository.name,
        findings=tuple(findings),
        looked_at=looked_at,
        not_seen=tuple(not_seen),
    )


def _judge(path: Path, status: os.stat_result, repository: Repository) -> list[Finding]:
    mode, name = status.st_mode, path.relative_to(repository.path).as_posix()
    sticky_folder = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
    found: list[tuple[str, Severity, str]] = []
    if mode & stat.S_IWOTH and not sticky_folder and not stat.S_ISSOCK(mode):
        runs = mode & 0o111 and stat.S_ISREG(mode)
        severity = Severity.HIGH if runs else Severity.MEDIUM
        found.append(("world-writable", severity, f"every user may write to it; run: chmod o-w {name}"))
    if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
        found.append(("setuid", Severity.HIGH, f"it runs with the rights of its owner; run: chmod ug-s {name}"))
    if stat.S_ISREG(mode) and mode & 0o044 and name not in repository.tracked and _holds_secrets(path):
        found.append(("readable-secret", Severity.MEDIUM, f"other users may read it; run: chmod 600 {name}"))
    return [
        Finding(
            tool=TOOL,
            rule=rule,
            severity=severity,
            repo=repository.name,
            path=name,
            line=0,
            message=message,
            identity=name,
        )
        for rule, severity, message in found
    ]


def _holds_secrets(path: Path) -> bool:
    name = path.name.lower()
    if name.endswith(HARMLESS):
        return False
    if name in SECRET_NAMES or name.startswith(".env.") or name.endswith(SECRET_ENDINGS):
        return True
    if name.endswith(".pem"):
        try:
            return b"PRIVATE KEY" in path.read_bytes()[:65_536]
        except OSError:
            return True  # it may be one
    return False
