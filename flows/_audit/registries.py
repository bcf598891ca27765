"""Asks registries about releases: the newest one, whether the used one was withdrawn, and its licence."""

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from flows._audit import licences, versions
from flows._audit.package import Ecosystem, Package
from flows._audit.settings import AuditSettings

AT_ONCE = 8
"""The most simultaneous requests to one registry."""
GIVE_UP_AFTER = 3
"""After this many failed connections the remaining packages of a registry are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A registry's answer about a package."""

    newest: str | None
    """The newest release that is neither a pre-release nor withdrawn."""
    withdrawn: str | None = None
    """Why the used version was yanked, deprecated or retracted; None: it was not."""
    licence: str | None = None

    def is_outdated(self, package: Package) -> bool:
        if self.newest is None:
            return False
        try:
            return bool(versions.key(package.ecosystem, self.newest) > versions.key(package.ecosystem, package.version))
        except ValueError:
            return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Releases:
    found: dict[Package, Release]
    unknown: dict[Package, str]
    """Packages without an answer, and why."""


class _Absent(Exception):
    """The registry does not have the package."""


def ask(ecosystem: Ecosystem, packages: Iterable[Package], settings: AuditSettings) -> Releases:
    """Ask an ecosystem's registry about each package. Packages without an answer are in `unknown`. Never raises."""
    packages = list(packages)
    look, url = _LOOKS[ecosystem], str(getattr(settings, _URLS[ecosystem])).rstrip("/")
    failures: list[str] = []
    with httpx.Client(timeout=settings.timeout_seconds, follow_redirects=True) as client:

        def one(package: Package) -> Release | str:
            if len(failures) >= GIVE_UP_AFTER:
                return failures[0]
            try:
                return look(client, url, package)
            except _Absent:
                return f"{url} does not have this package"
            except httpx.HTTPStatusError as error:
                return f"{url} answers {error.response.status_code}"
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                failures.append(f"{url} does not answer: {str(error) or type(error).__name__}")
                return failures[-1]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                return f"{url} gave an answer of an unexpected form: {error}"

        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = dict(zip(packages, pool.map(one, packages), strict=True))
    return Releases(
        found={package: answer for package, answer in answers.items() if isinstance(answer, Release)},
        unknown={package: answer for package, answer in answers.items() if isinstance(answer, str)},
    )


def _get(client: httpx.Client, url: str, accept: str = "*/*") -> httpx.Response:
    response = client.get(url, headers={"Accept": accept})
    if response.status_code in (404, 410):
        raise _Absent(url)
    return response.raise_for_status()


def _pypi(client: httpx.Client, url: str, package: Package) -> Release:
    page = _get(client, f"{url}/{package.name}/", "application/vnd.pypi.simple.v1+json").json()
    files: dict[str, list[dict[str, Any]]] = {}
    for file in page["files"]:
        files.setdefault(_version_of(package.name, file["filename"]), []).append(file)
    good = [version for version, ones in files.items() if not all(one.get("yanked") for one in ones)]
    own = files.get(package.version, [])
    withdrawn: str | None = None
    if own and all(one.get("yanked") for one in own):
        reason = next((one["yanked"] for one in own if isinstance(one["yanked"], str)), "no reason given")
        withdrawn = f"yanked: {reason}"
    elif not own and page.get("versions") and package.version not in page["versions"]:
        withdrawn = "deleted: the index does not have this version"
    return Release(newest=_newest(package, good), withdrawn=withdrawn, licence=_wheel_licence(client, own))


def _version_of(name: str, filename: str) -> str:
    """The version in the name of a wheel or source archive; "" if it has none."""
    stem = re.sub(r"\.(whl|zip|tar\.\w+|egg|exe|tgz)$", "", filename)
    if filename.endswith(".whl"):
        return stem.split("-")[1]
    pattern = re.escape(name).replace(r"\-", "[-_.]+")
    found = re.match(rf"{pattern}-(.+)$", stem, re.IGNORECASE)
    return found[1] if found else ""


def _wheel_licence(client: httpx.Client, files: list[dict[str, Any]]) -> str | None:
    """The licence in a wheel's metadata, if the index serves it beside the file (PEP 658)."""
    for file in files:
        if file.get("core-metadata") or file.get("dist-info-metadata"):
            try:
                return licences.of_metadata(_get(client, f"{file['url']}.metadata").text)
            except (_Absent, httpx.HTTPError):
                return None
    return None


def _npm(client: httpx.Client, url: str, package: Package) -> Release:
    page = _get(client, f"{url}/{quote(package.name, safe='@')}").json()
    own = page["versions"].get(package.version)
    withdrawn: str | None
    if own is None:
        withdrawn = "deleted: the registry does not have this version"
    else:
        withdrawn = f"deprecated: {own['deprecated']}" if own.get("deprecated") else None
    licence = (own or {}).get("license")
    newest = page.get("dist-tags", {}).get("latest")
    return Release(newest=newest, withdrawn=withdrawn, licence=licence if isinstance(licence, str) else None)


def _go(client: httpx.Client, url: str, package: Package) -> Release:
    def escaped(text: str) -> str:
        return re.sub(r"[A-Z]", lambda found: "!" + found[0].lower(), text)

    newest = _go_newest(client, f"{url}/{escaped(package.name)}", package)
    text = _get(client, f"{url}/{escaped(package.name)}/@v/{escaped(newest)}.mod").text
    return Release(newest=newest, withdrawn=_retracted(text, package))


def _go_newest(client: httpx.Client, url: str, package: Package) -> str:
    """The newest version from `@latest`, which a proxy may not serve, else from the list of releases."""
    try:
        return str(_get(client, f"{url}/@latest").json()["Version"])
    except _Absent:
        newest = _newest(package, _get(client, f"{url}/@v/list").text.split())
        if newest is None:
            raise
        return newest


def _retracted(go_mod: str, package: Package) -> str | None:
    """The `retract` directives of a module's newest go.mod, applied to a version."""
    at = versions.key(package.ecosystem, package.version)
    block = False
    for line in go_mod.splitlines():
        text, _, comment = line.partition("//")
        text = text.strip()
        if re.match(r"retract\s*\($", text):
            block = True
        elif block and text == ")":
            block = False
        elif block or text.startswith("retract "):
            named = re.findall(r"v[^\s,\[\]]+", text.removeprefix("retract "))
            keys = [versions.key(package.ecosystem, version) for version in named]
            if keys and keys[0] <= at <= keys[-1]:
                return f"retracted: {comment.strip() or 'no reason given'}"
    return None


def _crates(client: httpx.Client, url: str, package: Package) -> Release:
    name = package.name.lower()
    folder = {1: "1", 2: "2", 3: f"3/{name[:1]}"}.get(len(name), f"{name[:2]}/{name[2:4]}")
    entries = [json.loads(line) for line in _get(client, f"{url}/{folder}/{name}").text.splitlines() if line]
    yanked = {entry["vers"]: entry["yanked"] for entry in entries}
    withdrawn: str | None
    if package.version not in yanked:
        withdrawn = "deleted: the index does not have this version"
    else:
        withdrawn = "yanked" if yanked[package.version] else None
    good = [version for version, gone in yanked.items() if not gone]
    return Release(newest=_newest(package, good), withdrawn=withdrawn, licence=_crate_licence(package))


def _crate_licence(package: Package) -> str | None:
    """The licence in the crate's manifest, if Cargo has unpacked it. The index does not have it."""
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    for manifest in home.glob(f"registry/src/*/{package.name}-{package.version}/Cargo.toml"):
        try:
            licence = tomllib.loads(manifest.read_text()).get("package", {}).get("license")
        except (OSError, ValueError):
            continue
        return str(licence) if licence else None
    return None


def _newest(package: Package, names: list[str]) -> str | None:
    releases = [name for name in names if name and not versions.is_prerelease(package.ecosystem, name)]
    return max(releases, key=lambda name: versions.key(package.ecosystem, name), default=None)


_LOOKS: dict[Ecosystem, Callable[[httpx.Client, str, Package], Release]] = {
    Ecosystem.PYPI: _pypi,
    Ecosystem.NPM: _npm,
    Ecosystem.GO: _go,
    Ecosystem.CRATES: _crates,
}
_URLS = {Ecosystem.PYPI: "pypi_url", Ecosystem.NPM: "npm_url", Ecosystem.GO: "go_url", Ecosystem.CRATES: "crates_url"}
