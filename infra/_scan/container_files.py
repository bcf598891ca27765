"""Dockerfiles and compose files: what makes a container easy to break into, or leaves a secret in its image."""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from infra._scan import compose_files
from infra._scan.finding import Finding, Outcome, Severity, numbered
from infra._scan.repository import Repository

TOOL = "containers"
DOCKERFILES = ("Dockerfile", "Dockerfile.*", "*.Dockerfile", "*.dockerfile", "Containerfile", "Containerfile.*")
COMPOSE = ("compose*.yaml", "compose*.yml", "docker-compose*.yaml", "docker-compose*.yml")
SECRET_NAME = re.compile(r"(?i)(?:password|passwd|secret|token|api_?key|private_?key|credential)")
VARIABLE = re.compile(r"\$\{?(\w+)(?::?[-+?][^}]*)?\}?")
Found = tuple[str, Severity, int, str, str]
"""Rule, severity, line, message, identity."""


def scan(repository: Repository) -> Outcome:
    findings: list[Finding] = []
    not_seen: list[str] = []
    looked_at = 0
    for name in repository.files:
        reader = _reader(PurePosixPath(name).name)
        if reader is None:
            continue
        try:
            found = list(reader((repository.path / name).read_text(), repository.path / name))
        except (OSError, ValueError) as error:
            not_seen.append(f"{name} cannot be read: {error}")
            continue
        looked_at += 1
        findings += [
            Finding(
                tool=TOOL,
                rule=rule,
                severity=severity,
                repo=repository.name,
                path=name,
                line=line,
                message=message,
                identity=f"{name}\0{identity}",
            )
            for rule, severity, line, message, identity in found
        ]
    return Outcome(
        tool=TOOL,
        repo=repository.name,
        findings=numbered(findings),
        looked_at=looked_at,
        not_seen=tuple(not_seen),
    )


def _reader(name: str):  # type: ignore[no-untyped-def]
    if any(fnmatch(name, pattern) for pattern in DOCKERFILES) and not name.endswith(".dockerignore"):
        return dockerfile
    return compose_files.read if any(fnmatch(name, pattern) for pattern in COMPOSE) else None


def instructions(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, name in upper case and arguments of each instruction; comments are left out, continued lines joined."""
    joined, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("#") or (not stripped and not joined):
            continue
        start = start or number
        joined += (" " if joined else "") + stripped.removesuffix("\\").strip()
        if not stripped.endswith("\\"):
            word, _, rest = joined.partition(" ")
            yield start, word.upper(), rest.strip()
            joined, start = "", 0
    if joined:
        word, _, rest = joined.partition(" ")
        yield start, word.upper(), rest.strip()


def dockerfile(text: str, path: Path) -> Iterator[Found]:
    """Raises ValueError where there is no FROM: then it is no Dockerfile."""
    arguments: dict[str, str] = {}
    stages: set[str] = set()
    user, last = "", 0
    for line, name, rest in instructions(text):
        if name == "ARG":
            key, _, value = rest.partition("=")
            arguments[key] = value.strip("\"'")
        if name == "FROM":
            words = [word for word in rest.split() if not word.startswith("--")]
            image = VARIABLE.sub(lambda found: arguments.get(found[1], ""), words[0]) if words else ""
            yield from _image(image, line, stages)
            if len(words) > 2 and words[1].upper() == "AS":
                stages.add(words[2].lower())
            user, last = "", line
        if name == "USER":
            user = rest
        yield from _instruction(name, rest, line, path)
    if not last:
        raise ValueError("it has no FROM")
    if user.partition(":")[0] in ("", "root", "0"):
        message = "the container runs as root; end with USER and a user without root rights"
        yield "runs-as-root", Severity.MEDIUM, last, message, "USER"


def _image(image: str, line: int, stages: set[str]) -> Iterator[Found]:
    name = image.rpartition("/")[2]
    if not image or image == "scratch" or image.lower() in stages or "@sha256:" in image:
        return
    if ":" not in name or name.endswith(":latest"):
        message = f"{image} can change its content at any time; give a version or a digest"
        yield "unpinned-image", Severity.MEDIUM, line, message, image


def _instruction(name: str, rest: str, line: int, path: Path) -> Iterator[Found]:
    if name in ("ENV", "ARG"):
        for key, value in _assigned(rest):
            if SECRET_NAME.search(key) and value and not key.upper().endswith("_FILE") and "$" not in value:
                message = f"{key} stays readable in the image; give it when the container starts, or as a build secret"
                yield "secret-in-image", Severity.HIGH, line, message, f"{name} {key}"
    if name == "ADD" and re.search(r"(?:^|\s)https?://", rest) and "--checksum" not in rest:
        yield "unchecked-download", Severity.MEDIUM, line, "ADD has a URL without a checksum; add --checksum", rest
    if name == "RUN" and re.search(r"(?:curl|wget)[^|;&]*\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b", rest):
        yield "pipe-to-shell", Severity.MEDIUM, line, "it runs a download without a check", rest[:200]
    if name in ("COPY", "ADD") and rest.split()[:1] == ["."] and not _ignores(path):
        message = "it copies the whole folder, with .git and .env; write a .dockerignore"
        yield "copies-all", Severity.MEDIUM, line, message, name


def _ignores(path: Path) -> bool:
    return path.with_name(path.name + ".dockerignore").is_file() or (path.parent / ".dockerignore").is_file()


def _assigned(rest: str) -> Iterator[tuple[str, str]]:
    if "=" not in rest.partition(" ")[0]:
        key, _, value = rest.partition(" ")  # the old form, ENV KEY VALUE
        yield key, value.strip("\"' ")
        return
    for key, value in re.findall(r"""(\w+)=("[^"]*"|'[^']*'|\S*)""", rest):
        yield key, value.strip("\"'")
