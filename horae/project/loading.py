"""Fills a registry from a project: the files of its durable and internal jobs, and the deployments of prefect.yaml.

What cannot be loaded becomes a finding in `Registry.problems`; everything else loads.
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
"""Their jobs are files that are imported."""
STAMP = "__horae_stamp__"


def load(settings: Settings, probed: Mapping[str, Probed] = UNPROBED) -> Registry:
    """Every job of the project. Never raises for what a file contains; see `Registry.problems`.

    `probed`: what `probe` said of the files by module; one whose import does not come to its end is not imported.
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
    registry.report(*undeployed(settings.project, reading.deployments, settings.folders.flows))
    return registry


def _ambiguous(registry: Registry) -> Iterator[Finding]:
    """A warning at each flow whose short name is not its own."""
    for short, names in registry.ambiguous.items():
        for name in names:
            job = registry.get(name)
            if job.tier is Tier.PREFECT:
                others = ", ".join(other for other in names if other != name)
                message = f"the short name {short!r} of {name!r} is that of {others} too"
                yield SHORT_NAME.finding(message, job=name, at=job.source)


def job_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """(folder, path) of each job file, in a stable order; files whose name starts with `_` hold no job."""
    for folder in map(settings.folders.of, PYTHON_TIERS):
        for path in sorted((settings.project / folder).glob("*.py")):
            if not path.name.startswith("_"):
                yield folder, path


def module_of(folder: str, path: Path) -> str:
    """The name that a job file is imported by, such as `infra.database_backup`."""
    return f"{folder.replace('/', '.')}.{path.stem}"


def import_job_file(project: Path, module: str) -> ModuleType:
    """Import a job file of a project by its module, here or in a child process.

    The project comes first on `sys.path` and owns that package from then on. A file that has not changed since
    is not run again. Raises whatever the file raises.
    """
    package, _, stem = module.rpartition(".")
    folder = package.replace(".", "/")
    path = (project / folder / f"{stem}.py").resolve()
    if not stem.isidentifier():
        raise InvalidJob(f"{path.name} cannot be imported; name the file like a Python module, with `_` for `-`")
    if path.exists() and not path.is_file():  # to open a pipe would wait for ever
        raise InvalidJob(f"{path.name} is no file")
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
    """The job's own settings as the model it declares, None if it declares none; raises InvalidSettings.

    In variables `_` stands for `-`: HORAE_JOBS__DATABASE_BACKUP__KEEP goes to `keep` of `[jobs.database-backup]`.
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
    """Make these packages mean this project's folders, whatever else is on the path or was loaded."""
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
    # Left to itself, the import system prefers another path entry's `infra/__init__.py` to a plain folder.
    if (folder / "__init__.py").is_file():
        return
    spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
    spec.submodule_search_locations = here
    sys.modules[package] = importlib.util.module_from_spec(spec)


def load_file(registry: Registry, project: Path, folder: str, path: Path, tier: Tier) -> None:
    """Register the jobs of one file; never raises for what it contains. `own_packages` comes before the first."""
    shown = path.relative_to(project).as_posix()
    try:
        with contained():
            module = import_job_file(project, module_of(folder, path))
            found = _declared(module)
    except Interrupted:
        raise KeyboardInterrupt from None
    except BaseException as error:  # whatever a file raises is about that file
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
        yield BROKEN_FILE.finding(f"it cannot be imported: {tried.why}", at=at)
    if tried.effects:
        yield MORE_AT_IMPORT.finding(f"importing it {' and '.join(tried.effects)}", at=at)


def _declared(module: ModuleType) -> list[Declaration]:
    """What `@job` left in a module. No code of its values runs: a proxy such as flask's `current_app` raises."""
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
    """A finding at the line of this file that led to the error."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path.resolve()]
    line = lines[-1] if lines else 1
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename) == path.resolve():
        line = error.lineno or line
    at = Source(file=shown, line=line or 1)
    if isinstance(error, HoraeError):
        return INVALID_JOB.finding(error.message, at=at)
    return BROKEN_FILE.finding(f"it cannot be imported: {_words(error)}", at=at)


def _words(error: BaseException) -> str:
    """Class and message, in a line. The message is the file's own code, and may raise too."""
    try:
        return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    except BaseException:
        return type(error).__name__


def _check_tables(settings: Settings, registry: Registry) -> Iterator[Finding]:
    """Findings on every `[jobs.<name>]` table."""
    spelled = {job.short_name.replace("-", "_"): job.name for job in registry}
    for given in settings.jobs:
        name = spelled.get(given, given)
        at = Source(file=SETTINGS_FILE, line=_table_line(settings.project, given))
        try:
            job = registry.get(name)
        except UsageError as error:
            yield UNKNOWN_JOB_TABLE.finding(f"[jobs.{given}]: {error.message}", at=at)
            continue
        # A flow reads its own table when it runs: its model stands in a file that imports Prefect.
        if job.settings is None and job.tier is not Tier.PREFECT:
            yield UNKNOWN_JOB_TABLE.finding(f"[jobs.{given}]: job {name!r} takes no settings", job=name, at=at)
    for job in registry:
        try:
            job_settings(settings, job)
        except InvalidSettings as error:
            at = Source(file=SETTINGS_FILE, line=_table_line(settings.project, job.name))
            yield INVALID_JOB_SETTINGS.finding(error.message, job=job.name, at=at)


def _table_line(project: Path, name: str) -> int:
    """The line of `[jobs.<name>]`; 1 when the table is not in the file but in the environment."""
    path = project / SETTINGS_FILE
    return line_of(path.read_text(encoding="utf-8-sig"), ("jobs", name)) if path.is_file() else 1
