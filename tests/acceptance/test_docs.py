"""README and docs: blocks run, what they show is what comes, links lead somewhere, tables are what the code says."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from horae.checks.reference import all_rules
from horae.queues.providers import names, provider
from horae.settings import Settings
from horae.settings.variables import SECRETS_VARIABLE, known_places, variable
from tests.processes import Services, services
from tests.shipped import ship, tracked
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *tracked("docs/*.md"))]
WRITTEN = [page for page in PAGES if page.name != "decision-matrix.md"]
"""The decision matrix stays as it came, links and all."""
RUN = [
    "README.md",
    "docs/tutorials/quickstart.md",
    "docs/how-to/add-a-job.md",
    "docs/how-to/use-it-in-your-own-repository.md",
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"^# ([\w./-]+)\n")
BY_HAND = ("git", "make", "pip", ".", "horae up", "horae run file-report")
"""What other tests do: set-up, `horae up`, a flow on a real Prefect. Everything else is run here."""


def ids(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and body of each, in order."""
    return BLOCK.findall((ROOT / page).read_text())


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Somebody who does what a page says, in a project of their own, with a sidecar and a queue worker running."""

    project: Path
    environment: dict[str, str]
    services: Services

    def follow(self, page: str) -> int:
        """Do it all in order; returns how many blocks were done."""
        done = 0
        for language, body in blocks(page):
            act = {"python": self.python, "yaml": self.append, "toml": self.append, "console": self.console}.get(
                language
            )
            if act:
                act(body)
                done += 1
        return done

    def python(self, body: str) -> None:
        """A block that names its file is saved there; any other is run."""
        place = PLACE.match(body)
        if place is None:
            subprocess.run([sys.executable, "-c", body], cwd=self.project, env=self.environment, check=True)
            return
        (self.project / place[1]).parent.mkdir(parents=True, exist_ok=True)
        (self.project / place[1]).write_text(body)
        # Processes read the job files when they start.
        self.restart()

    def append(self, body: str) -> None:
        place = PLACE.match(body)
        assert place, f"the block does not say where it belongs:\n{body}"
        with (self.project / place[1]).open("a") as file:
            file.write("\n" + body)

    def restart(self) -> None:
        self.services.end()
        self.services.all.clear()

    def console(self, body: str) -> None:
        for command, expected in commands(body):
            if not command.startswith(BY_HAND):
                self.command(command, expected)

    def command(self, command: str, expected: str) -> None:
        if command.startswith("pkill"):  # as `horae up` has it: killed, and started again
            [worker] = [one for one in self.services.all if one.kind == "queue_worker" and one.process.poll() is None]
            worker.kill()
            self.services.start("queue_worker")
            return
        if command.startswith("horae enqueue") and not self.services.all:
            self.services.start("queue_worker")
        status = 2 if expected.startswith("horae: ") else 0
        if not command.startswith(("horae fires", "horae jobs")):
            self.check(command, expected, status)
            return
        # What these tell changes while the work goes on.
        wait_for(lambda: matches(expected, self.shell(command).stdout), f"`{command}` to show\n{expected}", 30)

    def check(self, command: str, expected: str, status: int) -> None:
        done = self.shell(command)
        assert done.returncode == status, f"{command}\n{done.stdout}"
        assert matches(expected, done.stdout), f"{command} shows\n{done.stdout}\nand not\n{expected}"

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.project,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def commands(body: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with the output that is shown for it."""
    text = body.replace("\\\n", " ")
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


def matches(expected: str, output: str) -> bool:
    """Whether the output is the one shown; `…` stands for anything in a line, and alone for any lines."""
    lines = expected.splitlines()
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else r".*".join(map(re.escape, re.split("…", line))) + r" *\n"
        for line in lines
    )
    return not lines or re.fullmatch(pattern, output) is not None


def test_what_is_shown_is_held_against_what_comes() -> None:
    assert matches("a … c\n…\nlast\n", "a b c\n1\n2\nlast\n")
    assert not matches("a … c\nlast\n", "a b c\n1\nlast\n")
    assert not matches("ran\n", "failed\n")


@pytest.fixture
def reader(tmp_path: Path, valkey_url: str, namespace: str) -> Iterator[Reader]:
    pages = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")
    jobs = ("flows", "infra", "internal", "horae.toml", "prefect.yaml")
    project = ship(tmp_path / "horae", *jobs, *pages, "pyproject.toml")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HORAE_STORE__URL": valkey_url,
        "HORAE_NAMESPACE": namespace,
        "COLUMNS": "100",
    }
    with services(project, valkey_url, namespace) as running:
        yield Reader(project=project, environment=environment, services=running)


@pytest.mark.parametrize("page", RUN)
def test_a_page_does_what_it_says(page: str, reader: Reader) -> None:
    assert reader.follow(page) > 0


def test_a_message_published_as_documented_is_run(reader: Reader, namespace: str) -> None:
    [publish] = [body for language, body in blocks("docs/reference/messages.md") if language == "python"]
    assert "{horae}:" in publish
    [audit] = [body for _, body in blocks("docs/tutorials/quickstart.md") if body.startswith("# infra/file_audit.py")]
    reader.python(audit)
    reader.services.start("queue_worker")
    reader.python(publish.replace("{horae}:", f"{{{namespace}}}:"))
    reader.command("horae fires file-audit", "when …\n…  file-audit  enqueue  ran …\n")


@pytest.mark.parametrize("page", WRITTEN, ids=ids(WRITTEN))
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text())
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"
        if anchor:
            assert anchor in anchors(file), f"{page.relative_to(ROOT)} links to #{anchor} of {file.name}"


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_page_of_the_docs_can_be_reached_from_the_readme() -> None:
    reached, open_pages = set(), [ROOT / "README.md"]
    while open_pages:
        page = open_pages.pop()
        reached.add(page)
        found = {(page.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text())}
        open_pages += [one for one in found if one.exists() and one not in reached]
    assert set(PAGES) <= reached


def test_tests_that_are_named_as_proof_exist() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/explanation/guarantees.md").read_text()))
    assert named
    assert not {name for name in named if f"def {name}(" not in tests}


def test_codes_and_variables_are_real() -> None:
    codes = {rule.code for rule in all_rules()}
    kubernetes = {"HORAE_SERVICE_HOST", "HORAE_PORT"}
    known = {variable(place) for places in known_places(Settings) for place in places}
    of_providers = {variable(("queue", name, key)) for name in names() for key in provider(name).settings.model_fields}
    variables = known | of_providers | kubernetes | {"HORAE", SECRETS_VARIABLE}
    for page in WRITTEN:
        text = page.read_text()
        assert set(re.findall(r"\bHR\d{3}\b", text)) <= codes, page
        assert {name.rstrip("_") for name in re.findall(r"\bHORAE_(?!JOBS)\w+\b", text)} <= variables, page


def test_generated_tables_are_what_the_code_says() -> None:
    script = runpy.run_path(str(ROOT / "scripts/reference.py"))
    pages: Callable[[], list[Path]] = script["pages"]
    rewritten: Callable[[str], str] = script["rewritten"]
    assert len(pages()) >= 4
    for page in pages():
        assert rewritten(page.read_text()) == page.read_text(), f"{page.name}: run `python scripts/reference.py`"


def test_every_generated_row_has_a_meaning() -> None:
    tables: dict[str, Callable[[], str]] = runpy.run_path(str(ROOT / "scripts/reference.py"))["TABLES"]
    empty = [row for table in tables.values() for row in table().splitlines() if row.endswith("|  |")]
    assert not empty


def test_the_picture_fits_a_terminal() -> None:
    [picture, *_] = re.findall(r"^```\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert max(map(len, picture.splitlines())) <= 100


def test_only_the_run_id_of_a_message_is_made_up() -> None:
    rows = (ROOT / "docs/reference/messages.md").read_text().splitlines()
    assert [row.split("|")[1].strip() for row in rows if "| a new UUIDv7 |" in row] == ["`run_id`"]
