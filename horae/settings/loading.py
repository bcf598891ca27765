"""Reads the settings of a project: `horae.toml`, overridden by `HORAE_*` variables.

`HORAE_STORE__URL` overrides `url` in `[store]`: a double underscore goes one table down.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from horae.errors import InvalidSettings, unknown
from horae.settings.tables import Settings

FILE = "horae.toml"
PREFIX = "HORAE_"
LISTS = {"repos"}


def find_project(start: Path) -> Path:
    """The nearest folder at or above `start` with a horae.toml; raises InvalidSettings."""
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder
    raise InvalidSettings(f"no {FILE} in {start} or above it; run this in a Horae project, or say --project FOLDER")


def load(project: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of a project (default: the one around the working folder); raises InvalidSettings."""
    given = os.environ if environment is None else environment
    folder = (project or find_project(Path.cwd())).resolve()
    path = folder / FILE
    try:
        values = tomllib.loads(path.read_text()) if path.is_file() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidSettings(f"{path}: {error}") from error
    _overlay(values, given)
    try:
        settings = Settings(**{**values, "project": folder})
    except ValidationError as error:
        raise InvalidSettings(_sentence(error)) from error
    queue = settings.queue.model_copy(update={"redis": settings.queue.redis.below(folder)})
    return settings.model_copy(update={"store": settings.store.below(folder), "queue": queue})


def _overlay(values: dict[str, Any], environment: Mapping[str, str]) -> None:
    for key, text in environment.items():
        if not key.startswith(PREFIX):
            continue
        *tables, name = key.removeprefix(PREFIX).lower().split("__")
        target = values
        for table in tables:
            target = target.setdefault(table, {})
            if not isinstance(target, dict):
                raise InvalidSettings(f"{key}: {table} is not a table")
        target[name] = [part for part in text.split(os.pathsep) if part] if name in LISTS else text
    fallback = values.setdefault("prefect", {})
    for name in ("api_url", "api_key"):
        inherited = environment.get(f"PREFECT_{name.upper()}")
        if inherited and isinstance(fallback, dict):
            fallback.setdefault(name, inherited)


def _sentence(error: ValidationError) -> str:
    problems = []
    for item in error.errors(include_url=False, include_input=False):
        where = [str(part) for part in item["loc"]]
        if item["type"] == "extra_forbidden":
            problems.append(
                unknown("setting", where[-1], _known(where[:-1])) + f" (in [{'.'.join(where[:-1]) or FILE}])"
            )
        else:
            why = item["msg"].removeprefix("Value error, ").replace("a valid tuple", 'a list, such as ["."]')
            problems.append(f"{'.'.join(where)}: {why} ({_origin(where)})")
    return "; ".join(problems)


def _origin(where: list[str]) -> str:
    """Where such a value is written: one of the two is to be corrected."""
    where = [part for part in where if not part.isdecimal()]
    if _known(where):
        return f"[{'.'.join(where)}] of {FILE}, or {PREFIX}{'__'.join(where).upper()}__…"
    table = f" in [{'.'.join(where[:-1])}]" if where[:-1] else ""
    return f"{where[-1]}{table} of {FILE}, or {PREFIX}{'__'.join(where).upper()}"


def _known(tables: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for table in tables:
        annotation = model.model_fields[table].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return [name for name in model.model_fields if name != "project"]
