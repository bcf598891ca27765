"""The project that a command is about: its settings, its jobs, and the store as it can be reached."""

import sys
from pathlib import Path

import typer

from horae.errors import StoreUnavailable
from horae.project.registry import Registry
from horae.settings import Settings, load


def settings_of(context: typer.Context) -> Settings:
    """As configured, and with the addresses of a running `horae up` where nothing is; raises InvalidSettings."""
    from horae.local.reachable import effective

    return effective(configured(context))


def configured(context: typer.Context) -> Settings:
    """As configured; raises InvalidSettings."""
    given = context.find_root().obj
    if not isinstance(given, Path):
        return load()
    if not given.is_dir():
        raise typer.BadParameter(f"the folder {str(given)!r} does not exist", context, param_hint="--project")
    return load(given)


def jobs_of(settings: Settings) -> Registry:
    """Every job that loads; how many files do not is said on stderr."""
    from horae.project.loading import load as load_registry

    registry = load_registry(settings)
    if registry.problems:
        count = len(registry.problems)
        print(f"horae: {count} problem{'s' * (count > 1)} while loading; `horae check` lists them", file=sys.stderr)
    return registry


def address_of(settings: Settings, name: str) -> str:
    """The address of the flow that a short name stands for, or else the name as it is; raises UsageError."""
    from horae.prefect.yaml import read

    deployments = read(settings.project, settings.prefect.files, settings.folders.flows).deployments
    if "/" in name or all(name != one.job.short_name for one in deployments):
        return name
    return jobs_of(settings).get(name).name


def with_store(settings: Settings) -> Settings:
    """The same settings; raises StoreUnavailable when they name no store."""
    if settings.store.url is None:
        from horae.store import NOT_CONFIGURED

        raise StoreUnavailable(NOT_CONFIGURED)
    return settings
