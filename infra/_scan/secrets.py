"""Searches the files of a repository for secrets. A finding holds a salted checksum, never the secret."""

from collections.abc import Iterator

from infra._scan import secret_rules
from infra._scan.finding import Finding, Outcome, veiled
from infra._scan.repository import Repository

TOOL = "secrets"


def scan(repository: Repository, salt: str, limit_bytes: int) -> Outcome:
    """Search each file, and the configuration of git, which may hold a URL with a password."""
    findings: dict[str, Finding] = {}
    not_seen: list[str] = []
    places = [*repository.files, *([".git/config"] if (repository.path / ".git/config").is_file() else [])]
    looked_at = 0
    for name in places:
        path = repository.path / name
        try:
            if path.stat().st_size > limit_bytes:
                not_seen.append(f"{name} is larger than {limit_bytes >> 20} MiB")
                continue
            content = path.read_bytes()
        except OSError as error:
            not_seen.append(f"{name} cannot be read: {error.strerror}")
            continue
        looked_at += 1
        if b"\0" in content[:8192]:
            continue  # no text; what is in archives and images is not searched
        for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
            for finding in in_line(line, number, name, repository.name, salt):
                findings.setdefault(finding.fingerprint, finding)
    return Outcome(
        tool=TOOL,
        repo=repository.name,
        findings=tuple(findings.values()),
        looked_at=looked_at,
        not_seen=tuple(not_seen),
    )


def in_line(line: str, number: int, path: str, repo: str, salt: str, commit: str = "") -> Iterator[Finding]:
    if len(line) > secret_rules.LINE_LIMIT:
        line = line[: secret_rules.LINE_LIMIT]
    hits = list(secret_rules.search(line))
    if not hits or secret_rules.ALLOWED.search(line):
        return
    for hit in hits:
        where = "is in the history" if commit else "is in the file"
        # A key's first line is the same in all of them: the file tells one from another.
        same = path if hit.rule.name == "private-key" else ""
        yield Finding(
            tool="history" if commit else TOOL,
            rule=hit.rule.name,
            severity=hit.rule.severity,
            repo=repo,
            path=path,
            line=number,
            message=f"{hit.rule.what} of {len(hit.secret)} characters {where}",
            identity=veiled(hit.secret, salt) + same,
            commit=commit,
        )
