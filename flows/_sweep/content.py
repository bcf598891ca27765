"""Measures the tracked files of a repository: size by language, TODOs, tests."""

import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

LARGE_BYTES = 5 * 1024 * 1024
"""A larger file is counted but not read."""
PLACES = 20
TODO = re.compile(rb"(?:#|//|/\*|^\s*\*|<!--|--|;|%|'''|\"\"\").*?\b(TODO|FIXME|XXX|HACK)\b")
TEST_FILE = re.compile(
    r"(^|/)(test_[^/]*\.py|[^/]*_test\.(py|go|rb|c|cc|cpp|rs)|[^/]*\.(test|spec)\.[cm]?[jt]sx?|[^/]*Tests?\.(java|kt|cs|php)"
    r"|[^/]*\.bats|[^/]*_spec\.rb)$"
)
LANGUAGES = {
    ".bash": "Shell", ".bats": "Shell", ".c": "C", ".cc": "C++", ".cpp": "C++", ".cs": "C#", ".css": "CSS", ".go": "Go",
    ".h": "C", ".hpp": "C++", ".html": "HTML", ".ini": "INI", ".ipynb": "Jupyter", ".java": "Java", ".js": "JavaScript",
    ".json": "JSON", ".jsx": "JavaScript", ".kt": "Kotlin", ".lua": "Lua", ".md": "Markdown", ".mjs": "JavaScript",
    ".php": "PHP", ".pl": "Perl", ".proto": "Protobuf", ".ps1": "PowerShell", ".py": "Python", ".pyi": "Python",
    ".rb": "Ruby", ".rs": "Rust", ".rst": "reStructuredText", ".scala": "Scala", ".scss": "CSS", ".sh": "Shell",
    ".sql": "SQL", ".svg": "SVG", ".swift": "Swift", ".tf": "Terraform", ".toml": "TOML", ".ts": "TypeScript",
    ".tsx": "TypeScript", ".txt": "Text", ".xml": "XML", ".yaml": "YAML", ".yml": "YAML",
}  # fmt: skip
NAMED = {"Makefile": "Make", "Dockerfile": "Docker"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Language:
    files: int
    lines: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Todo:
    marker: str
    file: str
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """Line counts include blank lines, of text files up to LARGE_BYTES."""

    files: int
    lines: int
    bytes: int
    languages: dict[str, Language]
    """The language with the most lines first."""
    todos: int
    """The number of lines with a comment that has TODO, FIXME, XXX or HACK."""
    todos_by_marker: dict[str, int]
    first_todos: tuple[Todo, ...]
    test_files: int
    unread: tuple[str, ...]
    """Tracked files that were not read: missing in the work tree, larger than LARGE_BYTES, or without permission."""


def measure(repository: Path, files: tuple[str, ...]) -> Content:
    """Read every tracked file once. Links are not followed."""
    languages: dict[str, Counter[str]] = {}
    todos: list[Todo] = []
    unread: list[str] = []
    size = 0
    for file in files:
        count = languages.setdefault(language(file), Counter())
        count["files"] += 1
        try:
            about = (repository / file).lstat()
            size += about.st_size
            text = _text(repository / file) if stat.S_ISREG(about.st_mode) and about.st_size <= LARGE_BYTES else None
        except OSError:
            text = None
        if text is None:
            unread.append(file)
            continue
        count["lines"] += text.count(b"\n") + (not text.endswith(b"\n") and bool(text))
        todos.extend(_todos(file, text))
    by_lines = sorted(languages.items(), key=lambda item: (-item[1]["lines"], item[0]))
    return Content(
        files=len(files),
        lines=sum(count["lines"] for count in languages.values()),
        bytes=size,
        languages={name: Language(files=count["files"], lines=count["lines"]) for name, count in by_lines},
        todos=len(todos),
        todos_by_marker=dict(Counter(todo.marker for todo in todos).most_common()),
        first_todos=tuple(todos[:PLACES]),
        test_files=sum(bool(TEST_FILE.search(file)) for file in files),
        unread=tuple(unread),
    )


def language(file: str) -> str:
    """A file's language by its name; if it is unknown, the extension."""
    path = PurePosixPath(file)
    return LANGUAGES.get(path.suffix.lower()) or NAMED.get(path.name) or path.suffix.lower() or "other"


def _text(path: Path) -> bytes:
    """The file's bytes; empty for a binary one, which has no lines."""
    data = path.read_bytes()
    return b"" if b"\0" in data[:8192] else data


def _todos(file: str, text: bytes) -> Iterator[Todo]:
    if not re.search(rb"TODO|FIXME|XXX|HACK", text):
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if found := TODO.search(line[:1000]):
            yield Todo(marker=found[1].decode(), file=file, line=number)
