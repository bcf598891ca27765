"""Asks services for vulnerabilities: OSV's API or a mirror of it, and PyPI's advisories through pip-audit."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import batched
from pathlib import Path
from typing import Any

import httpx

from flows._audit import osv
from flows._audit.answers import Answer, Database, nothing
from flows._audit.package import Ecosystem, Package, package
from horae.errors import HoraeError

BATCH = 500
"""The most packages in one request; OSV allows 1,000."""
PIP_AUDIT_SECONDS = 900.0
"""How long pip-audit may take for all packages."""
CANARIES = {
    Ecosystem.PYPI: package(Ecosystem.PYPI, "jinja2", "2.4.1"),
    Ecosystem.NPM: package(Ecosystem.NPM, "lodash", "4.17.4"),
    Ecosystem.GO: package(Ecosystem.GO, "golang.org/x/crypto", "v0.0.0-20190308221718-c2843e01d9a2"),
    Ecosystem.CRATES: package(Ecosystem.CRATES, "smallvec", "0.6.3"),
}
"""A package of each ecosystem with long-known vulnerabilities. A service that does not know them has no data for the
ecosystem, so its empty answers about other packages prove nothing."""


class ServiceUnavailable(HoraeError):
    """A vulnerability service does not answer; a retry may succeed."""


def ask_osv(url: str, packages: Iterable[Package], timeout_seconds: float) -> Answer:
    """The answer of OSV's API at `url`; raises ServiceUnavailable.

    Packages of an ecosystem for which the service has no data count as not checked.
    """
    packages = list(packages)
    ecosystems = sorted({one.ecosystem for one in packages})
    asked = list(dict.fromkeys([*(CANARIES[one] for one in ecosystems), *packages]))
    try:
        with httpx.Client(base_url=url.rstrip("/"), timeout=timeout_seconds, follow_redirects=True) as client:
            found = {
                package: ids
                for batch in batched(asked, BATCH, strict=False)
                for package, ids in _ids(client, list(batch))
            }
            alive = {one for one in ecosystems if found[CANARIES[one]]}
            wanted = {id for one in packages if one.ecosystem in alive for id in found[one]}
            records = {id: _json(client.get(f"/v1/vulns/{id}")) for id in sorted(wanted)}
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServiceUnavailable(f"OSV at {url} does not answer: {_why(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ServiceUnavailable(f"the server at {url} answers, but not as OSV's API: {_why(error)}") from error
    checked = {
        one: osv.merged(_advisory(records[id], one) for id in found[one] if not records[id].get("withdrawn"))
        for one in packages
        if one.ecosystem in alive
    }
    unchecked = {
        one: f"OSV at {url} has no vulnerability of {CANARIES[one.ecosystem]}, so it has no data on {one.ecosystem}"
        for one in packages
        if one.ecosystem not in alive
    }
    databases = tuple(Database(ecosystem=one, source=f"OSV at {url}") for one in ecosystems if one in alive)
    return Answer(checked=checked, unchecked=unchecked, databases=databases)


def _ids(client: httpx.Client, batch: list[Package]) -> Iterator[tuple[Package, list[str]]]:
    """The ids of each package's vulnerabilities, from all pages of the answer."""
    found: dict[Package, list[str]] = {one: [] for one in batch}
    waiting: list[tuple[Package, str | None]] = [(one, None) for one in batch]
    while waiting:
        queries = [_query(one, page) for one, page in waiting]
        results = _json(client.post("/v1/querybatch", json={"queries": queries}))["results"]
        if len(results) != len(queries):
            raise ValueError(f"{len(queries)} queries got {len(results)} answers")
        following = []
        for (one, _), result in zip(waiting, results, strict=True):
            found[one] += [vulnerability["id"] for vulnerability in (result or {}).get("vulns", [])]
            if page := (result or {}).get("next_page_token"):
                following.append((one, page))
        waiting = list(following)
    yield from found.items()


def _query(one: Package, page: str | None) -> dict[str, Any]:
    version = one.version.removeprefix("v") if one.ecosystem is Ecosystem.GO else one.version
    query: dict[str, Any] = {"package": {"name": one.name, "ecosystem": one.ecosystem.value}, "version": version}
    return query | ({"page_token": page} if page else {})


def _json(response: httpx.Response) -> Any:
    response.raise_for_status()
    return response.json()


def _advisory(record: dict[str, Any], one: Package) -> osv.Advisory:
    """The advisory of a reported record. If the version cannot be compared, only the fix is missing."""
    try:
        return osv.advisory(record, one)
    except ValueError:
        return osv.advisory({**record, "affected": []}, one)


def ask_pip_audit(packages: Iterable[Package], timeout_seconds: float) -> Answer:
    """The vulnerabilities that pip-audit finds in PyPI's advisories; raises ServiceUnavailable.

    pip-audit prints "No known vulnerabilities found" even if PyPI knows none of the packages. Unknown packages count as
    not checked here.
    """
    packages = list(packages)
    canary = CANARIES[Ecosystem.PYPI]
    (known,) = _pip_audit([canary], timeout_seconds)
    if not known.get("vulns"):
        why = known.get("skip_reason") or f"it has no vulnerability of {canary}"
        raise ServiceUnavailable(f"pip-audit cannot read PyPI's advisories: {why}")
    found = {
        package(Ecosystem.PYPI, entry["name"], entry["version"]): entry["vulns"]
        for entry in _pip_audit(packages, timeout_seconds)
        if "vulns" in entry
    }
    checked = {one: osv.merged(_pypi_advisory(entry) for entry in found[one]) for one in packages if one in found}
    unchecked = {one: "PyPI does not know this version" for one in packages if one not in found}
    databases = (Database(ecosystem=Ecosystem.PYPI, source="PyPI by pip-audit"),)
    return Answer(checked=checked, unchecked=unchecked, databases=databases)


def _pip_audit(packages: list[Package], timeout_seconds: float) -> list[dict[str, Any]]:
    with tempfile.NamedTemporaryFile("w", prefix="horae-audit-", suffix=".txt") as file:
        file.write("".join(f"{one.name}=={one.version}\n" for one in packages))
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name, "--no-deps", "--disable-pip"]
        command += ["--format", "json", "--progress-spinner", "off", "--timeout", str(max(1, round(timeout_seconds)))]
        try:
            limit = min(PIP_AUDIT_SECONDS, timeout_seconds * (1 + len(packages)))
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False, cwd=Path.home())
            return list(json.loads(done.stdout)["dependencies"])
        except subprocess.TimeoutExpired as error:
            raise ServiceUnavailable(f"pip-audit took longer than {limit:g} s") from error
        except (ValueError, KeyError) as error:
            said = done.stderr.strip().splitlines() or ["nothing"]
            raise ServiceUnavailable(f"pip-audit failed: {said[-1][:300]}") from error


def _pypi_advisory(entry: dict[str, Any]) -> osv.Advisory:
    text = " ".join(str(entry.get("description") or "").split())
    return osv.Advisory(
        id=entry["id"],
        aliases=tuple(entry.get("aliases") or ()),
        summary=text[: osv.SUMMARY],
        severity="unknown",
        score=None,
        fixed=tuple(entry.get("fix_versions") or ()),
        url=f"https://osv.dev/vulnerability/{entry['id']}",
    )


def ask_services(url: str, packages: Iterable[Package], *, pypi: bool, timeout_seconds: float) -> Answer:
    """OSV's answer. If OSV does not answer and `pypi` is set, PyPI's for Python packages. Raises ServiceUnavailable."""
    packages = list(packages)
    try:
        return ask_osv(url, packages, timeout_seconds)
    except ServiceUnavailable as error:
        python = [one for one in packages if one.ecosystem is Ecosystem.PYPI]
        if not pypi or not python:
            raise
        try:
            answer = ask_pip_audit(python, timeout_seconds)
        except ServiceUnavailable as second:
            raise ServiceUnavailable(f"{error.message}; {second.message}") from second
        others = nothing([one for one in packages if one not in set(python)], error.message)
        return Answer(
            checked=answer.checked,
            unchecked=answer.unchecked | others.unchecked,
            databases=answer.databases,
            warnings=(f"{error.message}; PyPI's advisories were used for Python packages, and they have no severity",),
        )


def _why(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
