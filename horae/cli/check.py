"""`horae check`: is the project sound?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from horae import clock
from horae.cli.options import Json
from horae.cli.project import configured, settings_of
from horae.cli.routes import routes_of
from horae.errors import StoreError, UsageError
from horae.findings import Finding, Level
from horae.settings import Settings
from horae.settings.tables import FolderSettings

if TYPE_CHECKING:
    from horae.checks.project import Checked


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


Output = Annotated[
    Format | None,
    typer.Option("--format", help="GITHUB: annotations of a workflow. SARIF: version 2.1.0, for code scanning."),
]


Hints = Annotated[bool, typer.Option("--hints", help="Show hints too. By default they are only counted.")]


def command(context: typer.Context, hints: Hints = False, json: Json = False, format: Output = None) -> int:
    """Check every job, prefect.yaml and the settings; exit 1 if there is an error.

    An error will fail, a warning may. A hint says what would make a sound job better; JSON and the other formats have
    all of them.

    \b
    horae check
    horae check --hints
    horae check --format sarif > horae.sarif
    """
    if json and format not in {None, Format.JSON}:
        raise UsageError(f"give either --json or --format {format}, not both")
    from horae.checks.project import check_project
    from horae.prefect.deployed import leftovers

    found = settings_of(context)
    checked = check_project(
        configured(context),
        clock.now(),
        ask=lambda jobs: _took(found, jobs),
        look=lambda registry: leftovers(found, registry.deployments),
        routes=lambda: routes_of(found),
    )
    chosen = Format.JSON if json else format or Format.TEXT
    if chosen is Format.TEXT:
        _draw(checked, hints, found.folders)
    else:
        _print(checked.findings, chosen)
    return 1 if any(finding.level is Level.ERROR for finding in checked.findings) else 0


def _took(settings: Settings, jobs: Sequence[str]) -> Mapping[str, Sequence[float]]:
    """How long their latest runs took; nothing where no store answers at once: the check does without."""
    if settings.store.url is None or settings.store.given or not jobs:  # a glance knows the URL alone
        return {}
    from horae.store.glance import durations

    try:
        return durations(settings.store.url.get_secret_value(), settings.namespace, jobs) or {}
    except StoreError:
        return {}


def _print(findings: Sequence[Finding], format: Format) -> None:
    from horae.cli.output import print_json
    from horae.shapes import check_formats
    from horae.shapes.findings import finding_shape

    match format:
        case Format.JSON:
            print_json([finding_shape(finding) for finding in findings])
        case Format.SARIF:
            print_json(check_formats.sarif(findings))
        case Format.GITHUB:
            for finding in findings:
                print(check_formats.annotation(finding))


def _draw(checked: "Checked", hints: bool, folders: FolderSettings) -> None:
    from horae.cli.findings import print_findings
    from horae.cli.output import paint
    from horae.terminal import one_line

    shown = [finding for finding in checked.findings if hints or finding.level is not Level.HINT]
    for file, here in groupby(shown, key=lambda finding: finding.file or "(no file)"):
        print(paint(one_line(file), "bold", "underline"))
        print_findings(here, lines=True)
        print()
    count = Counter(finding.level for finding in checked.findings)
    print(paint(_result(checked.jobs, count, hints), "red" if count[Level.ERROR] else "green"))
    if not checked.jobs:
        declared = (
            f"write a function with @job in {folders.infra}/ or {folders.internal}/, or a deployment in prefect.yaml"
        )
        print(f"To declare a job, {declared}. `horae decide` names the folder for your job")


def _result(jobs: int, count: Mapping[Level, int], hints: bool) -> str:
    """In one line; where there is something to see, also what is not shown."""
    if not jobs and not count:
        return "ok: this project has no jobs yet"
    found = []
    if count[Level.ERROR] or count[Level.WARNING]:
        found += [_count(count[Level.ERROR], "error"), _count(count[Level.WARNING], "warning")]
    if count[Level.HINT]:
        shows = "" if hints else f" (`horae check --hints` shows {'it' if count[Level.HINT] == 1 else 'them'})"
        found.append(f"{_count(count[Level.HINT], 'hint')}{shows}")
    ok = "ok: " if not (count[Level.ERROR] or count[Level.WARNING]) else ""
    return f"{ok}{_count(jobs, 'job')} checked, {', '.join(found) or 'no findings'}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
