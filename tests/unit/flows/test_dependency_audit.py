"""The work of the dependency audit: files, versions, records, services and registries on loopback, and the report."""

import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flows._audit import licences, osv, registries, rendering, report, services, snapshot, versions
from flows._audit.answers import Answer, nothing
from flows._audit.inventory import Inventory, NotAudited, discover, take
from flows._audit.package import Ecosystem, Package, package
from flows._audit.settings import AuditSettings
from horae import decide
from horae.jobs.policies import Tier
from horae.project.loading import load
from horae.settings import load as load_settings
from tests.audit_servers import CRYPTO, JINJA, JINJA_GHSA, LODASH, RECORDS, SMALLVEC, osv_server, record, registry

NOW = datetime(2026, 11, 26, 3, tzinfo=UTC)
JINJA_OLD = package(Ecosystem.PYPI, "Jinja2", "2.11.2")
JINJA_NEW = package(Ecosystem.PYPI, "jinja2", "3.1.6")
LODASH_OLD = package(Ecosystem.NPM, "lodash", "4.17.11")
CRYPTO_OLD = package(Ecosystem.GO, "golang.org/x/crypto", "v0.0.0-20190308221718-c2843e01d9a2")
SMALLVEC_OLD = package(Ecosystem.CRATES, "smallvec", "0.6.3")
ALL_OLD = (JINJA_OLD, LODASH_OLD, CRYPTO_OLD, SMALLVEC_OLD)

UV_LOCK = """version = 1
[[package]]
name = "shop"
version = "0.1.0"
source = { editable = "." }
[[package]]
name = "Jinja2"
version = "2.11.2"
source = { registry = "https://pypi.org/simple" }
[[package]]
name = "forked"
version = "1.0"
source = { git = "https://example.org/forked?rev=1#abc" }
"""
PYLOCK = """lock-version = "1.0"
[[packages]]
name = "jinja2"
version = "2.11.2"
[[packages]]
name = "own"
directory = { path = "." }
[[packages]]
name = "forked"
vcs = { type = "git" }
"""
POETRY = """[[package]]
name = "jinja2"
version = "2.11.2"
[[package]]
name = "forked"
version = "1"
[package.source]
type = "git"
"""
REQUIREMENTS = """# pinned
--index-url https://example.org/simple
jinja2==2.11.2 \\
    --hash=sha256:aaaa \\
    --hash=sha256:bbbb  # via shop
urllib3>=1.26 ; python_version >= "3.8"
-e .
-r more/base.txt
"""
NPM = {
    "lockfileVersion": 3,
    "packages": {
        "": {"name": "shop", "version": "1.0.0"},
        "node_modules/lodash": {"version": "4.17.11", "license": "MIT", "resolved": "https://r.org/lodash-4.17.11.tgz"},
        "node_modules/a/node_modules/@scope/b": {"version": "2.0.0"},
        "node_modules/alias": {"name": "real", "version": "3.0.0"},
        "node_modules/linked": {"link": True, "resolved": "packages/linked"},
        "node_modules/forked": {"version": "1.0.0", "resolved": "git+ssh://git@example.org/forked.git#abc"},
    },
}
GO_MOD = """module example.org/shop

go 1.22

require golang.org/x/crypto v0.0.0-20190308221718-c2843e01d9a2 // indirect

require (
	github.com/Azure/sdk v1.0.0
	example.org/moved v1.0.0
	example.org/local v1.0.0
)

replace (
	example.org/moved => example.org/elsewhere v2.0.0
	example.org/local => ../local
)
"""
CARGO = """version = 3
[[package]]
name = "shop"
version = "0.1.0"
[[package]]
name = "smallvec"
version = "0.6.3"
source = "registry+https://github.com/rust-lang/crates.io-index"
[[package]]
name = "forked"
version = "0.1.0"
source = "git+https://example.org/forked#abc"
"""
PYPROJECT = """[project]
name = "shop"
dependencies = ["jinja2==2.11.2", "httpx>=0.28"]
[project.optional-dependencies]
all = ["shop[web]"]
web = ["flask ==3.*"]
"""


def taken(folder: Path, **files: str) -> Inventory:
    for name, text in files.items():
        (folder / name).write_text(text)
    return take("shop", folder)


def names(found: Inventory) -> set[str]:
    return {str(one) for one in found.packages}


@pytest.mark.parametrize(
    ("file", "text", "wanted", "unread"),
    [
        ("uv.lock", UV_LOCK, {"jinja2 2.11.2"}, ["forked comes from a git source"]),
        ("pylock.toml", PYLOCK, {"jinja2 2.11.2"}, ["forked comes from a vcs source"]),
        ("pylock.dev.toml", PYLOCK, {"jinja2 2.11.2"}, ["forked comes from a vcs source"]),
        ("poetry.lock", POETRY, {"jinja2 2.11.2"}, ["forked comes from a git source"]),
        ("pyproject.toml", PYPROJECT, {"jinja2 2.11.2"}, ["httpx is not pinned", "flask is not pinned"]),
        (
            "package-lock.json",
            json.dumps(NPM),
            {"lodash 4.17.11", "@scope/b 2.0.0", "real 3.0.0"},
            ["forked comes from git+ssh"],
        ),
        (
            "package-lock.json",
            json.dumps({"dependencies": {"a": {"version": "1.0.0", "dependencies": {"b": {"version": "2.0.0"}}}}}),
            {"a 1.0.0", "b 2.0.0"},
            [],
        ),
        (
            "go.mod",
            GO_MOD,
            {str(CRYPTO_OLD), "github.com/Azure/sdk v1.0.0", "example.org/elsewhere v2.0.0"},
            ["example.org/local is replaced by the folder ../local"],
        ),
        ("Cargo.lock", CARGO, {"smallvec 0.6.3"}, ["forked comes from git+https"]),
    ],
)
def test_each_kind_of_file_is_read(tmp_path: Path, file: str, text: str, wanted: set[str], unread: list[str]) -> None:
    found = taken(tmp_path, **{file: text})
    assert names(found) == wanted
    assert len(found.unread) == len(unread)
    assert all(part in sentence for part, sentence in zip(unread, found.unread, strict=True))
    assert found.files == {file: len(wanted)}


def test_requirements_with_continuations_inclusions_and_what_has_no_version(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("requests===2.30.0\n-r ../../outside.txt\n-r ../requirements.txt\n")
    found = taken(tmp_path, **{"requirements.txt": REQUIREMENTS})
    assert names(found) == {"jinja2 2.11.2", "requests 2.30.0"}
    assert any("urllib3 is not pinned" in sentence for sentence in found.unread)
    assert any("'-e .' is not a requirement" in sentence for sentence in found.unread)
    assert any("../../outside.txt, which does not exist or is outside" in sentence for sentence in found.unread)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("uv.lock", "not = [toml"),
        ("uv.lock", "version = 1\n"),
        ("package-lock.json", "{"),
        ("package-lock.json", "[]"),
        ("package-lock.json", "{}"),
        ("Cargo.lock", "x = 1\n"),
        ("poetry.lock", '[[package]]\nname = "x"\n'),
    ],
)
def test_a_damaged_file_is_named_and_the_others_are_read(tmp_path: Path, file: str, text: str) -> None:
    found = taken(tmp_path, **{file: text, "requirements.txt": "jinja2==2.11.2\n"})
    assert names(found) == {"jinja2 2.11.2"}
    assert found.damaged == (file,)
    assert found.unread[0].startswith(f"{file} cannot be read: ")


def test_what_the_audit_does_not_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "node_modules" / "x").mkdir(parents=True)
    (tmp_path / "node_modules" / "x" / "package-lock.json").write_text(json.dumps(NPM))
    found = taken(tmp_path, **{"yarn.lock": "", "package.json": "{}", "Cargo.toml": "", "Cargo.lock": CARGO})
    assert names(found) == {"smallvec 0.6.3"}
    assert "yarn.lock is a file of an unsupported kind" in found.unread
    assert "package.json has no package-lock.json, so its versions are unknown" in found.unread
    assert not any("Cargo.toml" in sentence for sentence in found.unread)


def test_a_lock_file_speaks_for_its_pyproject(tmp_path: Path) -> None:
    found = taken(tmp_path, **{"pyproject.toml": PYPROJECT, "uv.lock": UV_LOCK})
    assert list(found.files) == ["uv.lock"]


def test_a_repository_without_any_file_is_not_audited(tmp_path: Path) -> None:
    with pytest.raises(NotAudited, match="no lock file or manifest"):
        take("empty", tmp_path)
    with pytest.raises(NotAudited, match="the folder does not exist"):
        take("gone", tmp_path / "gone")


def test_repositories_by_path_and_glob(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "all" / name / ".git").mkdir(parents=True)
    (tmp_path / "all" / "plain").mkdir()
    found = discover(tmp_path, ["all/*", "all/a", "gone", "none/*"])
    assert [name for name, _ in found] == ["a", "b", "gone", "*"]


@pytest.mark.parametrize(
    ("ecosystem", "ordered"),
    [
        (Ecosystem.PYPI, ["0", "1.0.dev1", "1.0a1", "1.0", "1.0.post1", "1.10", "1!0.1"]),
        (Ecosystem.NPM, ["0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-rc.2", "1.0.0", "1.10.0"]),
        (Ecosystem.GO, ["0", "v0.0.0-20190308221718-c2843e01d9a2", "0.0.0-20220314234659-1baeb1ce4c0b", "v0.1.0"]),
    ],
)
def test_the_order_of_versions(ecosystem: Ecosystem, ordered: list[str]) -> None:
    for first, second in pairwise(ordered):
        assert versions.key(ecosystem, first) < versions.key(ecosystem, second)
        assert versions.key(ecosystem, second) > versions.key(ecosystem, first)


@pytest.mark.parametrize(
    ("version", "affected"),
    [("1.0", False), ("1.2", True), ("1.3", True), ("1.4", False), ("2.0", True), ("2.1", True), ("2.2", False)],
)
def test_the_ranges_of_a_record(version: str, affected: bool) -> None:
    events = ({"introduced": "2.0"}, {"last_affected": "2.1"}, {"fixed": "1.4"}, {"introduced": "1.2"})
    assert osv.affects(
        record("X-1", "PyPI", "Some_Thing", *events), package(Ecosystem.PYPI, "some-thing", version)
    ) is (affected)


def test_a_record_by_list_of_another_package_and_of_commits() -> None:
    listed = {"affected": [{"package": {"ecosystem": "npm", "name": "lodash"}, "versions": ["4.17.11"]}]}
    assert osv.affects(listed, LODASH_OLD)
    commits = {"affected": [{"package": {"ecosystem": "PyPI", "name": "jinja2"}, "ranges": [{"type": "GIT", "events": [
        {"introduced": "0"}]}]}]}  # fmt: skip
    assert not osv.affects(commits, JINJA_OLD)
    assert not osv.affects(LODASH, JINJA_OLD)


def test_one_vulnerability_with_two_names_is_told_once_by_the_one_that_knows_more() -> None:
    (one,) = osv.merged(osv.advisory(each, JINJA_OLD) for each in (JINJA, JINJA_GHSA))
    assert (one.id, one.severity, one.score, one.fixed) == ("GHSA-g3rq-g295-4j3m", "medium", 5.3, ("2.11.3",))


def test_severity_by_word_where_there_is_no_score() -> None:
    worded = record("X-1", "npm", "lodash", {"introduced": "0"}, database_specific={"severity": "MODERATE"})
    assert osv.advisory(worded, LODASH_OLD).severity == "medium"
    assert osv.advisory(CRYPTO, CRYPTO_OLD).severity == "unknown"
    odd = record("X-1", "npm", "lodash", {"introduced": "0"}, severity=[{"type": "CVSS_V3", "score": "nonsense"}])
    assert osv.advisory(odd, LODASH_OLD).severity == "unknown"


def folder_of(place: Path, *records: dict[str, Any]) -> Path:
    place.mkdir(exist_ok=True)
    for one in records:
        (place / f"{one['id']}.json").write_text(json.dumps(one))
    return place


def test_a_snapshot_of_files_and_archives(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "osv", JINJA, LODASH)
    (folder / "go.yaml").write_text(json.dumps(CRYPTO))
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("a.json", json.dumps(SMALLVEC))
    answer = snapshot.ask(folder, ALL_OLD, NOW, 14)
    assert {str(one): [each.id for each in found] for one, found in answer.checked.items()} == {
        "jinja2 2.11.2": ["PYSEC-2021-66"],
        "lodash 4.17.11": ["GHSA-jf85-cpcp-j695"],
        str(CRYPTO_OLD): ["GO-2021-0356"],
        "smallvec 0.6.3": ["RUSTSEC-2018-0003"],
    }
    assert (answer.unchecked, answer.warnings) == ({}, ())
    assert {one.ecosystem: one.records for one in answer.databases} == dict.fromkeys(Ecosystem, 1)


def test_a_withdrawn_record_counts_for_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "osv", {**JINJA, "withdrawn": "2022-01-01T00:00:00Z"})
    assert snapshot.ask(folder, [JINJA_OLD], NOW, 14).checked == {JINJA_OLD: ()}


def audited(answer: Answer, *packages: Package, **more: Any) -> report.Report:
    inventory = Inventory(
        name="shop",
        path=Path("/shop"),
        packages=dict.fromkeys(packages, ("uv.lock",)),
        files={"uv.lock": len(packages)},
        unread=(),
        licences=dict.fromkeys(packages, "MIT"),
    )
    made: dict[str, Any] = {
        "at": NOW, "inventories": (inventory,), "broken": {}, "answer": answer, "flagged_patterns": ("GPL-*",),
        "releases": registries.Releases(found={}, unknown={}),
    }  # fmt: skip
    return report.Report(**(made | more))


CLEAN = "All 1 packages were checked, and they have no known vulnerabilities."


def test_an_empty_snapshot_is_never_clean(tmp_path: Path) -> None:
    answer = snapshot.ask(folder_of(tmp_path / "osv"), [JINJA_NEW], NOW, 14)
    found = audited(answer, JINJA_NEW)
    assert rendering.headline(found) == "NOTHING WAS CHECKED for vulnerabilities."
    assert "has no record of PyPI" in found.unseen[0]
    assert rendering.rows(found)[0]["severity"] == "not checked"
    assert found.as_dict()["complete"] is False


def test_a_snapshot_that_knows_other_ecosystems_only_is_never_clean(tmp_path: Path) -> None:
    answer = snapshot.ask(folder_of(tmp_path / "osv", JINJA), [JINJA_NEW, LODASH_OLD], NOW, 14)
    found = audited(answer, JINJA_NEW, LODASH_OLD)
    assert rendering.headline(found).startswith("INCOMPLETE: 1 of 2 packages were checked")


@pytest.mark.parametrize(("days", "warned"), [(14, False), (15, True)])
def test_an_old_snapshot_is_never_clean(tmp_path: Path, days: int, warned: bool) -> None:
    changed = (NOW - timedelta(days=days)).isoformat()
    answer = snapshot.ask(folder_of(tmp_path / "osv", JINJA | {"modified": changed}), [JINJA_NEW], NOW, 14)
    found = audited(answer, JINJA_NEW)
    if not warned:
        assert (rendering.headline(found), found.unseen) == (CLEAN, ())
        return
    assert rendering.headline(found).startswith("INCOMPLETE: 1 of 1 packages were checked")
    assert "15 days old (limit 14)" in found.unseen[0]
    text = rendering.markdown(found, [])
    assert text.index("15 days old") < text.index("## Services asked")


@pytest.mark.parametrize("place", ["gone", "a file"])
def test_a_snapshot_that_is_no_folder_is_never_clean(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").write_text("")
    answer = snapshot.ask(tmp_path / place, [JINJA_NEW], NOW, 14)
    assert rendering.headline(audited(answer, JINJA_NEW)).startswith("NOTHING WAS CHECKED")


def test_a_truncated_archive_is_told(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "osv", JINJA)
    (folder / "all.zip").write_bytes(b"PK\3\4 half")
    (folder / "bad.json").write_text("{")
    answer = snapshot.ask(folder, [JINJA_NEW], NOW, 14)
    assert "2 files of the snapshot" in answer.warnings[0]
    assert rendering.headline(audited(answer, JINJA_NEW)).startswith("INCOMPLETE")


def test_a_version_that_cannot_be_compared_is_not_checked(tmp_path: Path) -> None:
    odd = package(Ecosystem.PYPI, "jinja2", "not-a-version")
    answer = snapshot.ask(folder_of(tmp_path / "osv", JINJA), [odd], NOW, 14)
    assert "cannot be compared" in answer.unchecked[odd]


def test_the_service_is_asked_page_by_page() -> None:
    with osv_server(*RECORDS) as url:
        answer = services.ask_osv(url, [*ALL_OLD, JINJA_NEW], 5)
    assert not answer.unchecked
    assert [one.id for one in answer.checked[JINJA_OLD]] == ["GHSA-g3rq-g295-4j3m"]
    assert answer.checked[JINJA_NEW] == ()
    assert all(answer.checked[one] for one in ALL_OLD)


def test_a_service_without_data_is_never_clean() -> None:
    with osv_server(LODASH) as url:
        answer = services.ask_osv(url, [JINJA_NEW, LODASH_OLD], 5)
    assert "has no vulnerability of jinja2 2.4.1, so it has no data on PyPI" in answer.unchecked[JINJA_NEW]
    assert [one.id for one in answer.checked[LODASH_OLD]] == ["GHSA-jf85-cpcp-j695"]


def test_what_is_no_osv_is_unavailable() -> None:
    with registry({"/v1/querybatch": {"hello": "world"}}) as url:
        with pytest.raises(services.ServiceUnavailable, match="not as OSV's API"):
            services.ask_osv(url, [JINJA_NEW], 5)
        with pytest.raises(services.ServiceUnavailable, match="404"):
            services.ask_osv(f"{url}/elsewhere", [JINJA_NEW], 5)
    with pytest.raises(services.ServiceUnavailable, match="does not answer"):
        services.ask_osv(url, [JINJA_NEW], 5)


def settings(url: str) -> AuditSettings:
    return AuditSettings(pypi_url=f"{url}/simple", npm_url=f"{url}/npm", go_url=f"{url}/go", crates_url=f"{url}/crates")


def wheel(version: str, **more: Any) -> dict[str, Any]:
    return {"filename": f"Jinja2-{version}-py3-none-any.whl", "url": "", "yanked": False} | more


def test_newest_yanked_and_licence_of_a_python_package() -> None:
    files: dict[str, Any] = {"/files/j.whl.metadata": "License-Expression: BSD-3-Clause\nName: Jinja2\n\nLicense: x\n"}
    with registry(files) as url:
        own = wheel("2.11.2", yanked="broken", url=f"{url}/files/j.whl", **{"core-metadata": True})
        later = [wheel("3.1.6"), wheel("3.2.0", yanked=True), wheel("4.0.0a1")]
        source = {"filename": "jinja2-2.11.2.tar.gz", "url": "", "yanked": "broken"}
        files["/simple/jinja2/"] = {"files": [own, source, *later], "versions": ["2.11.2", "3.1.6"]}
        found = registries.ask(Ecosystem.PYPI, [JINJA_OLD, JINJA_NEW], settings(url)).found
    assert found[JINJA_OLD] == registries.Release(newest="3.1.6", withdrawn="yanked: broken", licence="BSD-3-Clause")
    assert found[JINJA_OLD].is_outdated(JINJA_OLD)
    assert not found[JINJA_NEW].is_outdated(JINJA_NEW)


def test_a_source_archive_of_a_dotted_name() -> None:
    assert registries._version_of("ruamel-yaml", "ruamel.yaml-0.18.1.tar.gz") == "0.18.1"
    assert registries._version_of("ruamel-yaml", "other-0.18.1.tar.gz") == ""


def test_deprecated_retracted_and_yanked_elsewhere() -> None:
    module = "module x\nretract (\n\t[v0.1.0, v0.3.0] // lost data\n)\nretract v0.5.0\n"
    files = {
        "/npm/@scope%2Fb": {"dist-tags": {"latest": "2.1.0"}, "versions": {"2.0.0": {"deprecated": "use c"}}},
        "/go/github.com/!azure/sdk/@v/list": "v0.2.0\nv1.0.0\nv1.1.0-rc.1\n",
        "/go/github.com/!azure/sdk/@v/v1.0.0.mod": module,
        "/crates/sm/al/smallvec": '{"vers": "0.6.3", "yanked": true}\n{"vers": "1.15.0", "yanked": false}\n',
    }
    scoped = package(Ecosystem.NPM, "@scope/b", "2.0.0")
    azure = package(Ecosystem.GO, "github.com/Azure/sdk", "v0.2.0")
    with registry(files) as url:
        npm = registries.ask(Ecosystem.NPM, [scoped], settings(url)).found[scoped]
        go = registries.ask(Ecosystem.GO, [azure], settings(url)).found[azure]
        crates = registries.ask(Ecosystem.CRATES, [SMALLVEC_OLD], settings(url)).found[SMALLVEC_OLD]
    assert (npm.newest, npm.withdrawn) == ("2.1.0", "deprecated: use c")
    assert (go.newest, go.withdrawn) == ("v1.0.0", "retracted: lost data")
    assert (crates.newest, crates.withdrawn) == ("1.15.0", "yanked")


def test_a_registry_that_lacks_a_package_or_is_away_is_told() -> None:
    many = [package(Ecosystem.NPM, f"p{number}", "1.0.0") for number in range(40)]
    with registry({"/npm/odd": []}) as url:
        odd = package(Ecosystem.NPM, "odd", "1.0.0")
        found = registries.ask(Ecosystem.NPM, [LODASH_OLD, odd], settings(url))
        assert found.unknown[LODASH_OLD] == f"{url}/npm does not have this package"
        assert "an answer of an unexpected form" in found.unknown[odd]
    away = registries.ask(Ecosystem.NPM, many, settings(url))
    assert len(away.unknown) == 40
    assert "does not answer" in away.unknown[many[-1]]
    told = audited(Answer(checked=dict.fromkeys(many, ()), unchecked={}), *many, releases=away).unseen
    assert any("40 of 40 packages were not checked for newer or withdrawn releases" in one for one in told)


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: MIT OR X\nClassifier: License :: OSI Approved :: BSD License\n", "MIT OR X"),
        ("Classifier: License :: OSI Approved :: MIT License\nLicense: whatever\n", "MIT"),
        ("License: ISC\n", "ISC"),
        ("License: UNKNOWN\n", None),
        ("License: " + "long text " * 20 + "\n", None),
        ("Name: x\n\nLicense: MIT\n", None),
    ],
)  # fmt: skip
def test_the_licence_that_metadata_declare(metadata: str, licence: str | None) -> None:
    assert licences.of_metadata(metadata) == licence


@pytest.mark.parametrize(
    ("expression", "flagged"),
    [
        ("GPL-3.0-only", True),
        ("LGPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", True),
        ("(MIT OR GPL-2.0-only)", False),
        ("GPL-2.0-only OR AGPL-3.0-only", True),
    ],
)
def test_which_licences_are_flagged(expression: str, flagged: bool) -> None:
    assert licences.is_flagged(expression, AuditSettings().flagged_licences) is flagged


def test_licences_from_the_environment_of_the_repository(tmp_path: Path) -> None:
    place = tmp_path / ".venv/lib/python3.13/site-packages/Jinja2-2.11.2.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nLicense: BSD-3-Clause\n")
    assert taken(tmp_path, **{"uv.lock": UV_LOCK}).licences == {JINJA_OLD: "BSD-3-Clause"}


def knows(*packages: Package) -> Answer:
    checked = {
        one: osv.merged(osv.advisory(each, one) for each in RECORDS if osv.affects(each, one)) for one in packages
    }
    return Answer(checked=checked, unchecked={})


def test_the_report_says_what_came_and_went(tmp_path: Path) -> None:
    report.write(audited(knows(JINJA_OLD), JINJA_OLD), tmp_path, AuditSettings())
    before = report.previous(tmp_path)
    later = report.compared(audited(knows(JINJA_NEW, LODASH_OLD), JINJA_NEW, LODASH_OLD), before)
    assert later.appeared == ("npm lodash GHSA-jf85-cpcp-j695",)
    assert later.gone == ("PyPI jinja2 GHSA-g3rq-g295-4j3m",)
    again = report.compared(audited(knows(JINJA_OLD), JINJA_OLD), before)
    assert (again.appeared, again.gone) == ((), ())
    assert "No vulnerability came or went" in rendering.markdown(again, [])


def test_what_was_not_checked_again_is_not_gone_and_not_new_later(tmp_path: Path) -> None:
    report.write(audited(knows(JINJA_OLD), JINJA_OLD), tmp_path, AuditSettings())
    away = report.compared(audited(nothing([JINJA_OLD], "away"), JINJA_OLD), report.previous(tmp_path))
    assert (away.appeared, away.gone, [one["id"] for one in away.carried]) == ((), (), ["GHSA-g3rq-g295-4j3m"])
    assert "- not checked again: PyPI jinja2" in rendering.markdown(away, [])
    report.write(replace(away, at=NOW + timedelta(days=7)), tmp_path, AuditSettings())
    back = report.compared(audited(knows(JINJA_OLD), JINJA_OLD), report.previous(tmp_path))
    assert (back.appeared, back.gone, back.carried) == ((), (), ())


def test_a_vulnerability_is_not_gone_because_its_lock_file_broke(tmp_path: Path) -> None:
    report.write(audited(knows(JINJA_OLD), JINJA_OLD), tmp_path, AuditSettings())
    broken = audited(knows(), broken={"shop": "there is no such folder"}, inventories=())
    assert report.compared(broken, report.previous(tmp_path)).gone == ()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"at": "x"}', '{"at": "x", "vulnerabilities": [1]}'])
def test_a_previous_report_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "latest.json").write_text(text)
    assert report.previous(tmp_path) is None


def test_the_oldest_reports_go(tmp_path: Path) -> None:
    for day in range(4):
        report.write(audited(knows(), at=NOW + timedelta(days=day)), tmp_path, AuditSettings(keep_reports=2))
    assert len(list(tmp_path.glob("2026*Z.json"))) == 2


def test_the_markdown_has_all_and_nothing_breaks_out_of_its_cell() -> None:
    evil = record("X-1", "npm", "lodash", {"introduced": "0"}, summary="<img src=x> a|b\nc")
    answer = Answer(checked={LODASH_OLD: (osv.advisory(evil, LODASH_OLD),)}, unchecked={})
    released = registries.Releases(
        found={LODASH_OLD: registries.Release(newest="4.18.1", withdrawn="deprecated: old", licence="GPL-3.0-only")},
        unknown={},
    )
    found = audited(answer, LODASH_OLD, releases=released)
    found = replace(found, inventories=(replace(found.inventories[0], licences={}),))
    text = rendering.markdown(found, ["/x/shop.cdx.json"])
    assert "<img" not in text
    assert "a\\|b c" in text
    for part in ("## Withdrawn releases", "## Outdated", "| lodash 4.17.11 | GPL-3.0-only |", "`/x/shop.cdx.json`"):
        assert part in text
    assert text.startswith("**All 1 packages were checked. Found: 1 known vulnerabilities (1 unknown).**")


def test_the_page_names_every_setting_with_its_default() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/audit-dependencies.md").read_text()
    for name, field in AuditSettings.model_fields.items():
        (row,) = [line for line in page.splitlines() if line.startswith("| `") and f"`{name}`" in line.split(" | ")[0]]
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert f"| {field.default} |" in row


def test_the_matrix_puts_it_on_prefect() -> None:
    job = load(load_settings(Path(__file__).parents[3], {})).get("dependency-audit")
    assert job.tier is decide(job.traits, job.schedule).tier is Tier.PREFECT
