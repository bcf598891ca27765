"""Audits the dependencies of every configured repository, weekly on Mondays at 03:00 UTC (`dependency-audit` in
prefect.yaml).

It is on Prefect because people read its findings in the UI and start it by hand after an advisory, and because it works
on several repositories. Its report begins with the items that could not be checked. It fails if nothing could be
checked.
"""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows._audit.answers import Answer, nothing
from flows._audit.inventory import Inventory, NotAudited, discover, take
from flows._audit.package import Ecosystem, Package, require_extra
from flows._audit.registries import Releases
from flows._audit.report import Report
from flows._audit.services import ServiceUnavailable
from flows._audit.settings import AuditSettings
from horae import Job, Tier, clock, settings
from horae.errors import HoraeError, InvalidSettings
from horae.project.loading import job_settings

NAME = "dependency-audit"
JOB = Job(name=NAME, tier=Tier.PREFECT, settings=AuditSettings)
"""The job's name, which is the name of its table in horae.toml."""


class NothingAudited(HoraeError):
    """No package could be checked for vulnerabilities."""


def may_pass(task: Any, run: Any, state: Any) -> bool:
    """Whether a retry may succeed. A repository without anything to read is not retried."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, ServiceUnavailable) or not isinstance(error, HoraeError)


@task(name="read", task_run_name="read {name}")
def read_repository(name: str, path: Path) -> Inventory:
    """Read the lock files and manifests of one repository."""
    return take(name, path)


@task(name="vulnerabilities", retries=2, retry_delay_seconds=5, retry_condition_fn=may_pass)
def look_up_vulnerabilities(packages: list[Package], given: AuditSettings, project: Path, now: datetime) -> Answer:
    """Ask the snapshot if one is configured, else the services."""
    from flows._audit import services, snapshot

    if given.snapshot:
        folder = Path(os.path.normpath(project / Path(given.snapshot).expanduser()))
        return snapshot.ask(folder, packages, now, given.snapshot_max_age_days)
    return services.ask_services(
        given.osv_url, packages, pypi=given.pypi_fallback, timeout_seconds=given.timeout_seconds
    )


@task(name="releases", task_run_name="releases {ecosystem}")
def look_up_releases(ecosystem: Ecosystem, packages: list[Package], given: AuditSettings) -> Releases:
    """Ask the registry of one ecosystem for newer and withdrawn releases and for licences."""
    from flows._audit import registries

    return registries.ask(ecosystem, packages, given)


@task(name="report", retries=2, retry_delay_seconds=5)
def make_report(found: Report, given: AuditSettings, folder: Path) -> dict[str, Any]:
    """Compare with the previous audit, write the bills, the JSON and the artifacts; returns a summary."""
    from flows._audit import rendering, report, sbom

    full = report.compared(found, report.previous(folder))
    bills = []
    for inventory in full.inventories:
        place = folder / "sbom" / f"{inventory.name.strip('/').replace('/', '_')}.cdx.json"
        report.write_whole(place, sbom.bill(inventory, full.answer, full.licences, full.at))
        bills.append(str(place))
    create_table_artifact(key=f"{NAME}-table", table=rendering.rows(full), description=rendering.headline(full))
    create_markdown_artifact(key=NAME, markdown=rendering.markdown(full, bills), description=rendering.headline(full))
    path = report.write(full, folder, given)
    return {
        "headline": rendering.headline(full),
        "complete": full.complete,
        "unseen": list(full.unseen),
        "packages": len(full.packages),
        "checked": len(full.answer.checked),
        "severities": full.severities,
        "appeared": len(full.appeared),
        "withdrawn": len(full.withdrawn),
        "outdated": len(full.outdated),
        "flagged_licences": len(full.flagged),
        "report": str(path),
        "bills": bills,
    }


@flow(
    name=NAME,
    timeout_seconds=3600,
    task_runner=ThreadPoolTaskRunner(max_workers=4),  # type: ignore[arg-type]
)
def dependency_audit(repos: list[str] | None = None, snapshot: str | None = None) -> dict[str, Any]:
    """Audit the dependencies of the repositories: vulnerabilities, withdrawn and outdated releases, licences.

    Args:
        repos: Repositories as paths or globs, relative to the project. Default: `repos` of horae.toml.
        snapshot: Folder of OSV records to use for this run. Default: `snapshot` in [jobs.dependency-audit].
    """
    require_extra()
    project = settings.load()
    given: AuditSettings = job_settings(project, JOB)
    if snapshot is not None:
        given = given.model_copy(update={"snapshot": snapshot})
    now = clock.now()
    repositories = discover(project.project, list(project.repos) if repos is None else repos)
    if not repositories:
        raise InvalidSettings(
            'there is no repository to audit; give some in horae.toml, such as repos = ["."], or in HORAE_REPOS'
        )
    progress: Any = create_progress_artifact(progress=0.0, key=f"{NAME}-progress", description="Reading repositories")
    inventories, broken = _read(repositories)
    packages = sorted({package for inventory in inventories for package in inventory.packages})
    update_progress_artifact(progress, 30.0, description=f"Looking up {len(packages)} packages")
    by_ecosystem = {one: [package for package in packages if package.ecosystem is one] for one in Ecosystem}
    asked = [
        look_up_releases.submit(ecosystem, ones, given)
        for ecosystem, ones in by_ecosystem.items()
        if ones and given.registries
    ]
    answer = _vulnerabilities(packages, given, project.project, now)
    update_progress_artifact(progress, 80.0, description="Writing the report")
    found = Report(
        at=now,
        inventories=tuple(inventories),
        broken=broken,
        answer=answer,
        releases=_gathered(asked, by_ecosystem) if given.registries else None,
        flagged_patterns=given.flagged_licences,
    )
    summary = make_report(found, given, project.state / "reports" / NAME)
    update_progress_artifact(progress, 100.0, description=summary["headline"])
    get_run_logger().info("%s", summary["headline"])
    if not answer.checked:
        raise NothingAudited(" ".join([summary["headline"], *summary["unseen"][:3]]))
    return summary


def _read(repositories: list[tuple[str, Path]]) -> tuple[list[Inventory], dict[str, str]]:
    """The inventories, and the reason for each repository without one."""
    futures = [(name, read_repository.submit(name, path)) for name, path in repositories]
    inventories: list[Inventory] = []
    broken: dict[str, str] = {}
    for name, future in futures:
        answer = future.result(raise_on_failure=False)
        if isinstance(answer, Inventory):
            inventories.append(answer)
            continue
        broken[name] = answer.message if isinstance(answer, NotAudited) else f"{type(answer).__name__}: {answer}"
        get_run_logger().warning("cannot audit %s: %s", name, broken[name])
    return inventories, broken


def _vulnerabilities(packages: list[Package], given: AuditSettings, project: Path, now: datetime) -> Answer:
    if not packages:
        return Answer(checked={}, unchecked={})
    state: Any = look_up_vulnerabilities(packages, given, project, now, return_state=True)
    answer = state.result(raise_on_failure=False)
    if isinstance(answer, Answer):
        return answer
    reason = answer.message if isinstance(answer, HoraeError) else f"{type(answer).__name__}: {answer}"
    get_run_logger().warning("cannot look up vulnerabilities: %s", reason)
    return nothing(packages, reason)


def _gathered(futures: list[PrefectFuture[Releases]], by_ecosystem: dict[Ecosystem, list[Package]]) -> Releases:
    """The answers of all registries. If a registry's task failed, its packages are listed with the reason."""
    found: dict[Package, Any] = {}
    unknown: dict[Package, str] = {}
    asked = [ones for ones in by_ecosystem.values() if ones]
    for ones, future in zip(asked, futures, strict=True):
        answer: Any = future.result(raise_on_failure=False)
        if isinstance(answer, Releases):
            found |= answer.found
            unknown |= answer.unknown
        else:
            unknown |= dict.fromkeys(ones, f"{type(answer).__name__}: {answer}")
    return Releases(found=found, unknown=unknown)
