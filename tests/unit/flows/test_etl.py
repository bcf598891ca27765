"""The work of the ETL job: the contract and its rules, what git prints, the cursor, the report, the settings."""

import io
import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flows._etl import contract, git, knowledge, report
from flows._etl.errors import MissingExtra, UnreadableSource, require_extra
from flows._etl.reconciling import Reconciled
from flows._etl.settings import EtlSettings, SourceSettings
from flows._etl.staged import Staged
from flows._etl.transforming import Transformed, opened, transform
from horae import decide
from horae.jobs.policies import Tier
from horae.project.loading import load
from horae.settings import load as load_settings

PAGE = Path(__file__).parents[3] / "docs/how-to/load-a-warehouse.md"
SOURCE: dict[str, Any] = {"files": "x.csv", "columns": {"id": "bigint", "at": "timestamp"}, "key": "id"}


@pytest.mark.parametrize(
    ("columns", "key", "words"),
    [
        ({"Id": "bigint"}, ("Id",), "column 'Id': a name has small letters"),
        ({"a__b": "text"}, ("a__b",), "single underscores"),
        ({"deleted": "text"}, ("deleted",), "none of deleted, repository"),
        ({"a": "varchar"}, ("a",), "unknown type 'varchar'. Allowed: bigint, bool, date, double, text, timestamp, dec"),
        ({"a": "decimal(2,3)"}, ("a",), "give decimal(P,S) with S <= P <= 38"),
        ({"a": "text"}, ("b",), "key column 'b' is not among the columns: a"),
        ({"a": "double"}, ("a",), "key column 'a' is double. Allowed for a key: bigint, date, text"),
        ({"a": "text"}, (), "name the columns that identify a row"),
    ],
)
def test_a_wrong_contract_is_refused_in_a_sentence(columns: dict[str, str], key: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")):
        contract.of("x", columns, key)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"files": ()}, "give either files, or database with table"),
        ({"database": "x.db"}, "give either files"),
        ({"files": (), "database": "x.db"}, "database and table belong together"),
        ({"cursor": "when"}, "cursor 'when' is no column"),
        ({"key": "at"}, "key column 'at' is timestamp"),
        ({"new_columns": "add"}, "new_columns"),
    ],
)
def test_a_wrong_source_is_refused_in_a_sentence(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        EtlSettings.model_validate({"sources": {"orders": SOURCE | change}})


def test_a_source_may_not_take_a_table_of_the_job() -> None:
    with pytest.raises(ValidationError, match="the job itself has a table of this name"):
        EtlSettings.model_validate({"sources": {"commits": SOURCE}})


def checked(folder: Path, kind: str, *values: str) -> tuple[list[Any], list[str]]:
    """Values of this type as the transformation reads them, and the reasons for the others."""
    (folder / "x.csv").write_text("id,value\n" + "".join(f'{n},"{value}"\n' for n, value in enumerate(values)))
    given = contract.of("x", {"id": "bigint", "value": kind}, ("id",))
    staged = Staged(contract=given, files=(folder / "x.csv",), kind="csv", full=True)
    found = transform("x", staged, None, None, folder, 256)
    with opened(found.database, folder, 256, read_only=True) as connection:
        good = connection.execute("SELECT value FROM good ORDER BY id").fetchall()
        bad = connection.execute("SELECT reasons FROM bad ORDER BY row_id").fetchall()
    assert len(good) + len(bad) == found.source_rows == len(values)
    return [row[0] for row in good], [row[0] for row in bad]


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("bigint", [" 7 ", "-3", ""], ["1.5", "1e3", "9" * 20, "x"]),
        ("decimal(6,2)", ["1.5", "1.500", "-12", ".5", ""], ["1.239", "12345.1", "1,5", "."]),
        ("double", ["1.5", "1e3", ""], ["nan", "inf", "x"]),
        ("bool", ["true", "f", "1", ""], ["maybe"]),
        ("date", ["2026-02-28", ""], ["2026-02-30", "0000-01-01", "2026-02-28 10:00", "28.02.2026", "infinity"]),
        ("timestamp", ["2026-02-28T10:00:00Z", "2026-02-28", ""], ["99999-01-01", "infinity", "10:00", "yesterday"]),
        ("text", ["", "a", "ü"], []),
    ],
)
def test_a_value_is_taken_only_if_it_loses_nothing(
    tmp_path: Path, kind: str, right: list[str], wrong: list[str]
) -> None:
    good, bad = checked(tmp_path, kind, *right, *wrong)
    assert len(good) == len(right)
    assert bad == [f'value: "{value}" is not a {kind}' for value in wrong]


def test_a_timestamp_without_a_zone_is_utc(tmp_path: Path) -> None:
    good, _ = checked(tmp_path, "timestamp", "2026-02-28 10:00:00", "2026-02-28T11:00:00+01:00")
    assert {one.astimezone(UTC) for one in good} == {datetime(2026, 2, 28, 10, tzinfo=UTC)}


def test_bytes_that_are_not_utf8_are_kept_readable() -> None:
    assert git.text("Grün".encode()) == ("Grün", True)
    assert git.text(b"caf\xe9") == ("caf\\xe9", False)
    assert (git.instant(b"0"), git.instant(b"99999999999999"), git.instant(b"")) == (
        "1970-01-01T00:00:00+00:00",
        "99999999999999",
        "",
    )


def test_what_git_prints_becomes_rows() -> None:
    fields = [b"a" * 40, b"b c", b"Ann", b"a@b", b"0", b"Bob", b"b@c", b"1", b"subject\n\nbody\n\n"]
    row, odd = git.commit_row(fields)
    assert (row["parents"], row["subject"], row["message"], odd) == ("2", "subject", "subject\n\nbody", 0)
    with pytest.raises(UnreadableSource, match="where the name of a commit was expected"):
        git.commit_row([b"warning", *fields[1:]])
    assert git.file_row(b"160000 commit abc       -\tsub")[0]["kind"] == "submodule"
    row, odd = git.file_row(b"100755 blob abc      12\ta/b\tc\nd.TAR")
    assert (row["path"], row["suffix"], row["bytes"], odd) == ("a/b\tc\nd.TAR", "tar", "12", 0)


def test_output_that_breaks_off_is_no_output() -> None:
    assert list(git.records(io.BytesIO(b"a\0\0b\0"))) == [b"a", b"", b"b"]
    with pytest.raises(UnreadableSource, match="breaks off"):
        list(git.records(io.BytesIO(b"a\0b")))


def test_repositories_are_found_by_paths_and_globs(tmp_path: Path) -> None:
    for name in ("one", "two", "deep/one"):
        (tmp_path / name / ".git").mkdir(parents=True)
    (tmp_path / "no").mkdir()
    found = git.discover(tmp_path, ["*", "deep/one", "missing*", "one"])
    assert [path.relative_to(tmp_path).as_posix() for _, path in found] == ["one", "two", "deep/one", "missing*"]
    assert [name for name, _ in found] == [str(tmp_path / "one"), "two", str(tmp_path / "deep/one"), "missing*"]
    assert git.discover(tmp_path, [os.fsdecode(b"caf\xe9")])[0][0] == "caf\\xe9"


def test_the_cursor_goes_back_by_the_lag() -> None:
    given = SourceSettings.model_validate(SOURCE | {"cursor": "at", "lag_hours": 36, "lag_rows": 5})
    assert knowledge.floor(datetime(2026, 11, 23, 6, tzinfo=UTC), given) == "2026-11-21 18:00:00"
    assert knowledge.floor(date(2026, 11, 23), given) == "2026-11-21"
    assert knowledge.floor(100, given) == "95"


def counted(**more: Any) -> Reconciled:
    counts = {"source_rows": 10, "extracted": 10, "loaded": 8, "removed": 0, "warehouse_rows": 8, "rejected": 2}
    whole: dict[str, Any] = counts | {"outdated": 0, "doubled": 0, "absent": 0} | more
    return Reconciled(source="shop", table="orders", full=True, **whole)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, ""),
        ({"warehouse_rows": 9, "outdated": 1}, ""),
        ({"warehouse_rows": 7}, "1 of 10 rows are missing"),
        ({"warehouse_rows": 9}, "it has 1 rows that the source does not have"),
        ({"warehouse_rows": 8, "doubled": 1}, "1 rows are double"),
        ({"absent": 1}, "1 rows of the source came too late for the lag"),
    ],
)
def test_counts_that_differ_are_told(change: dict[str, int], problem: str) -> None:
    assert (counted(**change).problem, counted(**change).sound) == (problem, not problem)


def made(**more: Any) -> report.Report:
    turned = Transformed(
        source="shop",
        contract=contract.COMMITS,
        database=Path("x"),
        full=True,
        source_rows=10,
        extracted=10,
        good=8,
        rejected=2,
        gone=0,
        reasons=(("amount: … is not a bigint", 2),),
    )
    given: dict[str, Any] = {"sources": 1, "dry_run": False, "unread": {}, "reconciled": (counted(),)} | more
    found = () if len(given["unread"]) == given["sources"] else (turned,)
    return report.Report(at=datetime(2026, 11, 23, 6, tzinfo=UTC), warehouse="w.duckdb", transformed=found, **given)


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({}, "All 1 sources were loaded and reconciled: 10 rows read, 8 loaded, 2 rejected, 0 removed."),
        ({"unread": {"shop": "it is away"}, "reconciled": ()}, "NOTHING WAS LOADED: none of 1 sources"),
        ({"unread": {"b|d": "<away>"}, "sources": 2}, "INCOMPLETE: 1 of 2 sources were loaded and reconciled"),
        ({"partly": ("shop: shallow.",)}, "INCOMPLETE: 1 of 1 sources"),
        ({"reconciled": (counted(warehouse_rows=7),)}, "NOT RECONCILED: the warehouse and the sources differ."),
        (
            {"dry_run": True, "reconciled": ()},
            "DRY RUN, nothing was written. All 1 sources were read: 10 rows read, 8 would",
        ),
    ],
)
def test_the_report_begins_with_what_is_wrong(tmp_path: Path, change: dict[str, Any], start: str) -> None:
    found = made(**change)
    assert found.markdown.startswith(f"**{start}")
    assert bool(found.unseen) == start.startswith(("NOTHING", "INCOMPLETE", "NOT "))
    assert "<away>" not in found.markdown
    if found.unread:
        assert found.rows[0]["reconciled"].startswith("NOT LOADED: ")
    for _ in range(3):
        path = report.write(found, tmp_path, keep=1)
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name, "latest.json"]


def test_a_missing_library_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extra()
    monkeypatch.setitem(sys.modules, "dlt", None)
    with pytest.raises(MissingExtra, match=r"etl needs dlt, .* pip install 'horae\[etl\]'"):
        require_extra()


@pytest.mark.parametrize("model", [EtlSettings, SourceSettings])
def test_the_page_names_every_setting_with_its_default(model: type[EtlSettings] | type[SourceSettings]) -> None:
    text = PAGE.read_text().partition("## Settings")[2]
    whole, _, of_source = text.partition("`[jobs.etl.sources.NAME]`")
    page = whole if model is EtlSettings else of_source
    for name, field in model.model_fields.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` ")]
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert f"| {field.default} |" in row


def test_the_matrix_puts_it_on_prefect() -> None:
    job = load(load_settings(Path(__file__).parents[3], {})).get("etl")
    assert job.tier is decide(job.traits, job.schedule).tier is Tier.PREFECT
    assert job.deployment == "complex-etl/etl"
