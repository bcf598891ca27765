"""Sweeps every configured repository, daily at 02:00 UTC (`code-sweep` in prefect.yaml).

It is on Prefect because people read its report in the UI, start it by hand, and see which of many repositories broke:
each repository is a task. A broken repository fails its task and is named in the report. The flow fails only if no
repository could be swept.
"""

from datetime import datetime
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.task_runners import ThreadPoolTaskRunner

from flows._sweep import rendering, report
from flows._sweep.git import GitTimedOut
from flows._sweep.repositories import Repository, discover
from flows._sweep.sweep import Sweep, sweep
from horae import clock, settings
from horae.errors import HoraeError, InvalidSettings


class NothingSwept(HoraeError):
    """None of the repositories could be swept."""


def may_pass(task: Any, run: Any, state: Any) -> bool:
    """Whether a retry may succeed. A folder that is not a repository is not retried."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, GitTimedOut) or not isinstance(error, HoraeError)


@task(
    name="sweep", task_run_name="sweep {repository.name}", retries=2, retry_delay_seconds=5, retry_condition_fn=may_pass
)
def sweep_repository(repository: Repository, now: datetime) -> Sweep:
    """Look at one repository."""
    return sweep(repository, now)


@task(name="report", retries=2, retry_delay_seconds=5)
def make_report(found: report.Report, project: settings.Settings) -> dict[str, Any]:
    """Compare with the previous sweep, write JSON to disk and artifacts to the UI; returns a summary."""
    folder = project.state / "reports" / "code-sweep"
    full = report.compared(found, report.previous(folder))
    create_table_artifact(
        key="code-sweep-table", table=rendering.rows(full), description="Repositories of the last sweep"
    )
    create_markdown_artifact(key="code-sweep", markdown=rendering.markdown(full), description="Code sweep")
    path = report.write(full, folder)
    return {
        "report": str(path),
        "swept": [swept.repository.name for swept in full.sweeps],
        "broken": {broken.repository.name: broken.reason for broken in full.broken},
        "changes": len(full.changes),
    }


@flow(
    name="code-sweep",
    retries=1,
    retry_delay_seconds=10,
    timeout_seconds=3600,
    task_runner=ThreadPoolTaskRunner(max_workers=4),  # type: ignore[arg-type]
)
def code_sweep(repos: list[str] | None = None) -> dict[str, Any]:
    """Sweep the repositories: paths or globs relative to the project. Default: `repos` of horae.toml."""
    project = settings.load()
    now = clock.now()
    repositories = discover(project.project, list(project.repos) if repos is None else repos)
    if not repositories:
        raise InvalidSettings(
            'there is no repository to sweep; give some in horae.toml, such as repos = ["."], or in HORAE_REPOS'
        )
    futures = [sweep_repository.submit(repository, now) for repository in repositories]
    sweeps: list[Sweep] = []
    broken: list[report.Broken] = []
    for repository, future in zip(repositories, futures, strict=True):
        answer = future.result(raise_on_failure=False)
        if isinstance(answer, Sweep):
            sweeps.append(answer)
        else:
            reason = answer.message if isinstance(answer, HoraeError) else f"{type(answer).__name__}: {answer}"
            broken.append(report.Broken(repository=repository, reason=reason))
            get_run_logger().warning("%s could not be swept: %s", repository.name, reason)
    summary = make_report(report.Report(at=now, sweeps=tuple(sweeps), broken=tuple(broken)), project)
    if not sweeps:
        named = "; ".join(f"{one.repository.path}: {one.reason}" for one in broken)
        raise NothingSwept(f"{named}. Give other repositories in `repos` of horae.toml, or in HORAE_REPOS")
    return summary
