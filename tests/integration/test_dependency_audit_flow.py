"""The dependency audit as a Prefect flow, its bill of materials, and pip-audit as a process."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows._audit import osv, sbom, services
from flows._audit.answers import Answer
from flows._audit.inventory import Inventory
from flows._audit.package import Ecosystem, Package, package
from tests.audit_servers import JINJA_GHSA, LODASH, registry

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(240)
JINJA = package(Ecosystem.PYPI, "jinja2", "2.11.2")
LODASH_OLD = package(Ecosystem.NPM, "@scope/lodash", "4.17.11")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of each scenario of audit_scenarios.py, in a project with one repository, `shop`."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("shop", "records"):
        (folder / name).mkdir()
    (folder / "horae.toml").write_text("")
    (folder / "shop" / "requirements.txt").write_text("jinja2==2.11.2\n")
    (folder / "records" / "one.json").write_text(json.dumps(JINJA_GHSA | {"modified": "2020-01-01T00:00:00Z"}))
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PREFECT_", "HORAE_"))}
    environment |= {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / "home")}
    environment |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("audit_scenarios.py"))],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=230,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_what_is_found_is_reported(seen: dict[str, Any]) -> None:
    found = seen["found"]
    assert found["state"] == "COMPLETED"
    assert found["result"]["headline"] == "All 1 packages were checked: 1 known vulnerabilities (1 medium)."
    assert found["markdown"].startswith(f"**{found['result']['headline']}**")
    assert found["table"][-1]["vulnerability"] == "GHSA-g3rq-g295-4j3m"
    assert [one["newest"] for one in found["latest"]["outdated"]] == ["3.1.6"]
    (bill,) = found["result"]["bills"]
    assert bill.endswith("sbom/shop.cdx.json")


def test_each_repository_and_registry_is_a_task_of_its_own(seen: dict[str, Any]) -> None:
    assert {"read shop", "releases PyPI"} <= set(seen["tasks"])
    assert set(seen["tasks"].values()) == {"COMPLETED"}


def test_a_repository_that_is_not_there_makes_it_incomplete(seen: dict[str, Any]) -> None:
    mixed = seen["mixed"]
    assert mixed["state"] == "COMPLETED"
    assert mixed["result"]["headline"].startswith("INCOMPLETE: 1 of 1 packages were checked")
    assert "missing was not audited: the folder does not exist." in mixed["result"]["unseen"]
    assert (mixed["latest"]["appeared"], mixed["latest"]["gone"]) == ([], [])


def test_a_service_that_is_away_fails_it_and_says_so_first(seen: dict[str, Any]) -> None:
    away = seen["away"]
    assert away["state"] == "FAILED"
    assert away["result"].startswith("NothingAudited: NOTHING WAS CHECKED for vulnerabilities. 1 of 1 packages")
    assert away["markdown"].startswith("**NOTHING WAS CHECKED for vulnerabilities.**")
    assert away["table"][0]["severity"] == "not checked"
    assert (away["latest"]["gone"], len(away["latest"]["carried"])) == ([], 1)


def test_an_empty_snapshot_fails_it(seen: dict[str, Any]) -> None:
    assert seen["empty snapshot"]["state"] == "FAILED"
    assert "has no record of PyPI" in seen["empty snapshot"]["result"]


def test_an_old_snapshot_makes_it_incomplete(seen: dict[str, Any]) -> None:
    assert seen["snapshot"]["state"] == "COMPLETED"
    assert seen["snapshot"]["result"]["headline"].startswith("INCOMPLETE")
    assert "days old (limit 14)" in seen["snapshot"]["result"]["unseen"][0]


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("none", "there is no repository to audit"),
        ("typing mistake", "[jobs.dependency-audit]: unknown setting 'snapshto', did you mean 'snapshot'?"),
        ("no extra", "pip install 'horae[audit]'"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(seen: dict[str, Any], scenario: str, words: str) -> None:
    assert seen[scenario]["state"] == "FAILED"
    assert words in seen[scenario]["result"]


def test_pip_audit_that_reaches_nothing_is_no_clean_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    with registry({}) as away:
        pass
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, away)
    with pytest.raises(services.ServiceUnavailable, match=r"does not answer: .*; pip-audit failed: "):
        services.ask_services(away, [JINJA, LODASH_OLD], pypi=True, timeout_seconds=2)


def test_the_bill_of_materials_is_valid_and_names_all() -> None:
    inventory = Inventory(
        name="shop", path=Path("/shop"), packages={JINJA: ("uv.lock",), LODASH_OLD: ("a", "b")}, files={}, unread=()
    )
    answer = Answer(
        checked={JINJA: (osv.advisory(JINJA_GHSA, JINJA),), LODASH_OLD: (osv.advisory(LODASH, LODASH_OLD),)},
        unchecked={},
    )
    licences: dict[Package, str | None] = {JINJA: "BSD-3-Clause", LODASH_OLD: "something of our own"}
    bill = json.loads(sbom.bill(inventory, answer, licences, datetime(2026, 11, 26, tzinfo=UTC)))
    assert bill["specVersion"] == "1.6"
    assert {one["purl"] for one in bill["components"]} == {
        "pkg:pypi/jinja2@2.11.2",
        "pkg:npm/%40scope/lodash@4.17.11",
    }
    ratings = {one["id"]: one["ratings"][0]["severity"] for one in bill["vulnerabilities"]}
    assert ratings == {"GHSA-g3rq-g295-4j3m": "medium", "GHSA-jf85-cpcp-j695": "critical"}
