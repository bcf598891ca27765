"""Fills a registry from a project: the files of its durable and internal jobs, and the deployments of prefect.yaml.

A file or deployment that cannot be loaded becomes a finding in `Registry.problems`; all others are loaded.
"""

import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from horae.errors import HoraeError, InvalidJob, InvalidSettings, UsageError, unknown
from horae.findings import Finding, Source
from horae.jobs.declaring import DECLARATION, Declaration
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.prefect.rules import SHORT_NAME
from horae.prefect.yaml import read
from horae.prefect.yaml.undeployed import undeployed
from horae.project.importing import Interrupted, contained
from horae.project.probed import UNPROBED, Probed
from horae.project.registry import Registry
from horae.project.rules import (
    BROKEN_FILE,
    DUPLICATE_NAME,
    INVALID_JOB,
    INVALID_JOB_SETTINGS,
    MORE_AT_IMPORT,
    NO_JOB,
    UNKNOWN_JOB_TABLE,
)
from horae.settings import FILE as SETTINGS_FILE
from horae.settings import Settings
from horae.settings.origins import line_of

PYTHON_TIERS = (Tier.ONEIRIC, Tier.APSCHEDULER)
"""The tiers whose jobs are Python files that Horae imports."""
STAMP = "__horae_stamp__"


def load(settings: Settings, probed: Mapping[str, Probed] = UNPROBED) -> Registry:
    """Load every job of the project. Faults in files are not raised; they become `Registry.problems`.

    `probed`: the results of `probe` by module. A file whose import did not finish there is not imported.
    """
    registry = Registry(settings.check.ignore)
    reading = read(settings.project, settings.prefect.files, settings.folders.flows)
    registry.report(*reading.findings)
    for deployment in reading.deployments:
        registry.add_deployment(deployment)
    tiers = {settings.folders.of(tier): tier for tier in PYTHON_TIERS}
    own_packages(settings.project.resolve(), settings.folders.all)
    for folder, path in job_files(settings):
        tried = probed.get(module_of(folder, path), Probed())
        registry.report(*_at_import(tried, f"{folder}/{path.name}"))
        if tried.ended:
            load_file(registry, settings.project, folder, path, tiers[folder])
    registry.report(*_check_tables(settings, registry), *_ambiguous(registry))
    registry.report(*undeployed(settings.project, reading.led_to, settings.folders.flows))
    return registry


def _ambiguous(registry: Registry) -> Iterator[Finding]:
    """A warning for each flow whose short name another job has too."""
    for short, names in registry.ambiguous.items():
        for name in names:
            job = registry.get(name)
            if job.tier is Tier.PREFECT:
                others = ", ".join(other for other in names if other != name)
                message = f"the short name {short!r} of {name!r} is also the short name of {others}"
                yield SHORT_NAME.finding(message, job=name, at=job.source)


def job_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """(folder, path) of each job file, in a stable order. Files whose name starts with `_` are left out."""
    for folder in map(settings.folders.of, PYTHON_TIERS):
        for path in sorted((settings.project / folder).glob("*.py")):
            if not path.name.startswith("_"):
                yield folder, path


def module_of(folder: str, path: Path) -> str:
    """The module name of a job file, such as `infra.database_backup`."""
    return f"{folder.replace('/', '.')}.{path.stem}"


def import_job_file(project: Path, module: str) -> ModuleType:
    """Import a job file of a project by its module name, in this process.

    Puts the project first on `sys.path` and makes the package mean the project's folder. A file that has not changed
    since its last import is not run again. Raises the exceptions that the file raises.
    """
    package, _, stem = module.rpartition(".")
    folder = package.replace(".", "/")
    path = (project / folder / f"{stem}.py").resolve()
    if not stem.isidentifier():
        raise InvalidJob(
            f"{path.name} cannot be imported; give the file a name of a Python module, with `_` instead of `-`"
        )
    if path.exists() and not path.is_file():  # opening a pipe would block
        raise InvalidJob(f"{path.name} is not a file")
    own_packages(project.resolve(), [folder])
    status = path.stat()
    stamp = (str(path), status.st_mtime_ns, status.st_size)
    known = sys.modules.get(module)
    if known is not None and getattr(known, STAMP, None) == stamp:
        return known
    sys.modules.pop(module, None)
    loaded = importlib.import_module(module)
    setattr(loaded, STAMP, stamp)
    return loaded


def job_settings(settings: Settings, job: Job) -> Any:
    """The job's own settings as the model that it declares, or None if it declares none; raises InvalidSettings.

    In variables `_` stands for `-`: HORAE_JOBS__DATABASE_BACKUP__KEEP sets `keep` in `[jobs.database-backup]`.
    """
    if job.settings is None:
        return None
    from pydantic import BaseModel, ValidationError

    if not issubclass(job.settings, BaseModel):
        raise InvalidSettings(f"job {job.name!r}: settings={job.settings.__name__} is not a pydantic model")
    fields = job.settings.model_fields
    names = {*fields, *(field.alias for field in fields.values() if field.alias)}
    table: dict[str, Any] = {}
    for spelling in (job.name, job.name.replace("-", "_")):
        table |= settings.jobs.get(spelling, {})

    def where(*place: str) -> str:
        found = {settings.origin("jobs", name, *place) for name in (job.name, job.name.replace("-", "_"))}
        return f" ({', '.join(sorted(found))})" if (found := found - {""}) else ""

    for key in table:
        if key not in names:
            raise InvalidSettings(f"[jobs.{job.name}]: " + unknown("setting", key, names) + where(key))
    try:
        return job.settings(**table)
    except ValidationError as error:
        found = [([str(part) for part in item["loc"]], item["msg"]) for item in error.errors(include_url=False)]
        problems = "; ".join(f"{'.'.join(at)}: {text}{where(*at)}" for at, text in found)
        raise InvalidSettings(f"[jobs.{job.name}] {problems}") from error


def own_packages(project: Path, folders: Iterable[str]) -> None:
    """Make these package names mean this project's folders, even if other packages of the same name are installed."""
    if sys.path[:1] != [str(project)]:
        sys.path[:] = [str(project), *(entry for entry in sys.path if entry != str(project))]
    importlib.invalidate_caches()
    for folder in folders:
        parts = folder.split("/")
        for count in range(1, len(parts) + 1):
            _own_package(project.joinpath(*parts[:count]), ".".join(parts[:count]))


def _own_package(folder: Path, package: str) -> None:
    here, known = [str(folder)], sys.modules.get(package)
    if known is not None and list(getattr(known, "__path__", ())) == here:
        return
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
    # By default the import system prefers an `infra/__init__.py` on another path entry to a folder without one.
    if (folder / "__init__.py").is_file():
        return
    spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
    spec.submodule_search_locations = here
    sys.modules[package] = importlib.util.module_from_spec(spec)


def load_file(registry: Registry, project: Path, folder: str, path: Path, tier: Tier) -> None:
    """Register the jobs of one file. Faults of the file are not raised. Call `own_packages` before the first file."""
    shown = path.relative_to(project).as_posix()
    try:
        with contained():
            module = import_job_file(project, module_of(folder, path))
            found = _declared(module)
    except Interrupted:
        raise KeyboardInterrupt from None
    except BaseException as error:  # every exception is a finding about this file
        registry.report(_broken(error, path, shown))
        return
    if len(found) != 1:
        lines = ", ".join(str(declaration.line) for declaration in found)
        message = f"it declares {len(found)} jobs (lines {lines})" if found else "it declares no job"
        registry.report(NO_JOB.finding(message, at=Source(file=shown, line=found[-1].line if found else 1)))
    for declaration in found:
        _register(registry, declaration, tier, shown)


def _at_import(tried: Probed, shown: str) -> Iterator[Finding]:
    at = Source(file=shown, line=1)
    if not tried.ended:
        yield BROKEN_FILE.finding(f"its import failed: {tried.why}", at=at)
    if tried.effects:
        yield MORE_AT_IMPORT.finding(f"its import {' and '.join(tried.effects)}", at=at)


def _declared(module: ModuleType) -> list[Declaration]:
    """The declarations in a module. Runs no code of its values: a proxy such as flask's `current_app` raises."""
    found = (inspect.getattr_static(value, DECLARATION, None) for value in list(vars(module).values()))
    return [one for one in found if type(one) is Declaration and one.function.__module__ == module.__name__]


def _register(registry: Registry, declaration: Declaration, tier: Tier, file: str) -> None:
    at = Source(file=file, line=declaration.line)
    job = declaration.job(tier, file)
    try:
        registry.add(job)
    except InvalidJob as error:
        registry.report(DUPLICATE_NAME.finding(error.message, job=job.name, at=at))


def _broken(error: BaseException, path: Path, shown: str) -> Finding:
    """A finding at the line of this file that caused the error."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path.resolve()]
    line = lines[-1] if lines else 1
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename) == path.resolve():
        line = error.lineno or line
    at = Source(file=shown, line=line or 1)
    if isinstance(error, HoraeError):
        return INVALID_JOB.finding(error.message, at=at)
    return BROKEN_FILE.finding(f"its import failed: {_words(error)}", at=at)


def _words(error: BaseException) -> str:
    """Class and message of an error in one line. Making the message runs the file's code, which may raise too."""
    try:
        return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    except BaseException:
        return type(error).__name__


def _check_tables(settings: Settings, registry: Registry) -> Iterator[Finding]:
    """Findings on the `[jobs.<name>]` tables."""
    spelled = {job.short_name.replace("-", "_"): job.name for job in registry}
    for given in settings.jobs:
        name = spelled.get(given, given)
        at = Source(file=SETTINGS_FILE, line=_table_line(settings.project, given))
        try:
            job = registry.get(name)
        except UsageError as error:
            yield UNKNOWN_JOB_TABLE.finding(f"[jobs.{given}]: {error.message}", at=at)
            continue
        # The model of a flow's table is in a file that imports Prefect, so only the flow itself reads it, when it runs.
        if job.settings is None and job.tier is not Tier.PREFECT:
            yield UNKNOWN_JOB_TABLE.finding(f"[jobs.{given}]: job {name!r} has no settings", job=name, at=at)
    for job in registry:
        try:
            job_settings(settings, job)
        except InvalidSettings as error:
            at = Source(file=SETTINGS_FILE, line=_table_line(settings.project, job.name))
            yield INVALID_JOB_SETTINGS.finding(error.message, job=job.name, at=at)


def _table_line(project: Path, name: str) -> int:
    """The line of `[jobs.<name>]`; 1 if the table comes from the environment and not from the file."""
    path = project / SETTINGS_FILE
    return line_of(path.read_text(encoding="utf-8-sig"), ("jobs", name)) if path.is_file() else 1
