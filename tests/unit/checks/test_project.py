"""`horae check` as a whole: exactly what is planted is found, at its line; and this repository is sound."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from horae.checks.import_cost import parse
from horae.checks.project import check_project
from horae.findings import Finding, Level
from horae.prefect.rules import DST_DIFFERENCE
from horae.settings import Settings, load

PLANTED = Path(__file__).parents[3] / "tests/planted"
START = datetime(2026, 1, 1, tzinfo=UTC)


def planted() -> set[tuple[str, str, int]]:
    """(code, file, line) of each mistake, as comments in the planted files name them."""
    found = set()
    for path in sorted(PLANTED.rglob("*.*")):
        if path.suffix in {".py", ".yaml", ".toml"}:
            for number, text in enumerate(path.read_text().splitlines(), start=1):
                if comment := re.search(r"# (HR\d{3}(?: HR\d{3})*)$", text):
                    found |= {(code, path.relative_to(PLANTED).as_posix(), number) for code in comment[1].split()}
    return found


@pytest.fixture(scope="module")
def findings() -> list[Finding]:
    return list(check_project(load(PLANTED, {}), START).findings)


def test_exactly_what_is_planted_is_found_where_it_is(findings: list[Finding]) -> None:
    assert {(f.code, f.file, f.line) for f in findings} == planted()


def test_every_rule_but_those_of_whole_files_is_planted() -> None:
    from horae.checks.reference import all_rules

    assert {rule.code for rule in all_rules()} - {code for code, _, _ in planted()} == {
        "HR518",
        "HR519",
        "HR520",
        "HR603",
        "HR707",
        "HR708",
        "HR709",
        "HR711",
        "HR713",
        "HR714",
        "HR719",
        "HR726",
        "HR727",
        "HR728",
    }


def test_every_finding_says_what_to_do(findings: list[Finding]) -> None:
    for finding in findings:
        assert finding.message
        assert finding.remedy.endswith((".", ")")), finding


def said(findings: list[Finding], code: str, file: str) -> Finding:
    return next(f for f in findings if (f.code, f.file) == (code, file))


def test_a_disagreement_shows_the_path_that_led_elsewhere(findings: list[Finding]) -> None:
    message = said(findings, "HR401", "infra/watched.py").message
    assert "watched is in infra/ (Oneiric queue), but the decision matrix leads to Prefect" in message
    assert "step 1 yes (`horae explain watched`" in message


def test_where_tree_and_mistakes_collide_the_split_is_proposed(findings: list[Finding]) -> None:
    assert "Split it" in said(findings, "HR101", "prefect.yaml").remedy
    assert "Split it" in said(findings, "HR201", "infra/flood.py").remedy


def test_a_slow_import_names_the_module_that_costs_it(findings: list[Finding]) -> None:
    finding = said(findings, "HR706", "internal/heavy.py")
    assert "_planted_heavy" in finding.message
    assert finding.job == "heavy"


def test_dates_on_which_prefect_fires_differently_are_named(findings: list[Finding]) -> None:
    finding = said(findings, DST_DIFFERENCE.code, "prefect.yaml")
    assert finding.job == "sound/berlin-nights"
    assert "2026-03-29" in finding.message


def test_an_unknown_default_provider_is_refused(project: Path) -> None:
    settings = load(project, {"HORAE_QUEUE__PROVIDER": "redsi"})
    (finding,) = check_project(settings, START).findings
    assert (finding.code, finding.level) == ("HR707", Level.ERROR)
    assert "did you mean 'redis'" in finding.message


@pytest.mark.parametrize("table", ["reddis", "redsi"])
def test_a_table_that_no_provider_reads_is_refused(project: Path, table: str) -> None:
    settings = load(project, {f"HORAE_QUEUE__{table.upper()}__URL": "x"})
    (finding,) = check_project(settings, START).findings
    assert (finding.code, finding.level) == ("HR711", Level.ERROR)
    assert "did you mean 'redis'" in finding.message
    assert f"HORAE_QUEUE__{table.upper()}__" in finding.message


def test_a_project_without_jobs_is_sound(project: Path) -> None:
    assert check_project(Settings(project=project), START).findings == []


def test_this_repository_has_no_errors(shipped: Path) -> None:
    findings = check_project(load(shipped, {}), START).findings
    assert [f for f in findings if f.level is Level.ERROR] == []


def test_this_repository_is_checked_with_two_seconds_of_a_processor(shipped: Path) -> None:
    def used() -> float:
        return sum(os.times()[:4])  # of this process and its children; a busy machine does not change it

    began = used()
    check_project(load(shipped, {}), START)
    assert used() - began < 2


def test_import_costs_are_read_from_what_python_prints() -> None:
    report = [
        "import time: self [us] | cumulative | imported package",
        "import time:       200 |        200 |     small",
        "import time:      9000 |     160000 |     large",
        "a line that a module printed",
        "import time:      5000 |     165200 |   infra.a",
        "import time:    120000 |     120000 |   infra.b",
    ]
    first, second = parse(report, ["infra.a", "infra.b"])
    assert (first.module, first.blamed) == ("infra.a", "large")
    assert first.total.total_seconds() == 0.1652
    assert (second.module, second.blamed) == ("infra.b", "infra.b")


def test_warnings_are_turned_off_by_code_and_errors_are_not(findings: list[Finding]) -> None:
    codes = {finding.code for finding in findings}
    assert {"HR105", "HR506", "HR514", "HR502"} <= codes
    settings = load(PLANTED, {"HORAE_CHECK__IGNORE": "HR105:HR506:HR514:HR502:HR999"})
    left = check_project(settings, START).findings
    assert codes - {finding.code for finding in left} == {"HR105", "HR506", "HR514"}
    told = [finding.message for finding in left if finding.code == "HR719"]
    assert [("HR502 is an error" in one, "unknown code 'HR999'" in one) for one in told] == [
        (True, False),
        (False, True),
    ]
