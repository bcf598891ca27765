"""`horae check`: is the project sound?"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from typing import Annotated

import typer

from horae import clock
from horae.cli.options import Json
from horae.cli.project import configured, settings_of
from horae.errors import StoreError, UsageError
from horae.findings import Finding, Level
from horae.settings import Settings


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


Output = Annotated[
    Format | None,
    typer.Option("--format", help="GITHUB: annotations of a workflow. SARIF 2.1.0: for code scanning."),
]


def command(context: typer.Context, json: Json = False, format: Output = None) -> int:
    """Check every job, prefect.yaml and the settings; exit 1 if there is an error.

    \b
    horae check
    horae check --format sarif > horae.sarif
    """
    if json and format not in {None, Format.JSON}:
        raise UsageError(f"give --json or --format {format}, not both")
    from horae.checks.project import check_project
    from horae.prefect.deployed import leftovers

    found = settings_of(context)
    findings = check_project(
        configured(context),
        clock.now(),
        ask=lambda jobs: _took(found, jobs),
        look=lambda registry: leftovers(found, registry.deployments),
    )
    _print(findings, Format.JSON if json else format or Format.TEXT)
    return 1 if any(finding.level is Level.ERROR for finding in findings) else 0


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
        case Format.TEXT:
            _draw(findings)


def _draw(findings: Sequence[Finding]) -> None:
    from horae.cli.findings import print_findings
    from horae.cli.output import paint
    from horae.terminal import one_line

    for file, here in groupby(findings, key=lambda finding: finding.file or "(no file)"):
        print(paint(one_line(file), "bold", "underline"))
        print_findings(here, lines=True)
        print()
    errors = sum(finding.level is Level.ERROR for finding in findings)
    told = f"{_count(errors, 'error')}, {_count(len(findings) - errors, 'warning')}"
    print(paint(told if findings else "nothing to say: every job is sound", "red" if errors else "green"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
