"""Reads the settings of a project.

Later sources override earlier ones: `horae.toml`, `.env`, a directory of secrets, `HORAE_*` variables.
"""

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from horae.errors import InvalidSettings, unknown
from horae.settings.origins import Origins, Place, toml_origins
from horae.settings.tables import Settings
from horae.settings.variables import (
    DEEPEST,
    ENV_FILE,
    SECRETS_VARIABLE,
    Given,
    NamedValues,
    check_names,
    depth_of,
    from_env_file,
    from_environment,
    from_secrets,
    is_ours,
    read_text,
)

FILE = "horae.toml"
INHERITED = {"PREFECT_API_URL": "api_url", "PREFECT_API_KEY": "api_key"}
"""Prefect's own variables. They fill settings of `[prefect]` that no other source sets."""


def find_project(start: Path) -> Path:
    """The nearest folder, `start` or a folder above it, that has a horae.toml; raises InvalidSettings."""
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder
    raise InvalidSettings(
        f"no {FILE} in {start} or above it; run this in a Horae project, or give --project FOLDER. To make a folder "
        "a project, create an empty file of that name"
    )


def load(project: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of a project (default: the project that contains the working folder).

    Raises InvalidSettings. Its message names the fault and the line, variable or file that has it.
    """
    given = os.environ if environment is None else environment
    folder = (project or find_project(Path.cwd())).resolve()
    in_file, origins_in_file = _read_toml(folder / FILE)
    env_file = from_env_file(folder / ENV_FILE)
    in_env_file = {one.name: one.value for one in env_file}
    secrets = given.get(SECRETS_VARIABLE) or in_env_file.get(SECRETS_VARIABLE)
    named = [
        [one for one in env_file if is_ours(one.name)],
        from_secrets(secrets, folder),
        from_environment(given),
    ]
    check_names(Settings, [one for source in named for one in source])
    inherited = _inherited(given, env_file)
    values: dict[str, Any] = (
        {"prefect": {place[1]: value for place, (value, _) in inherited.items()}} if inherited else {}
    )
    for source in (in_file, *(NamedValues(Settings, given)() for given in named)):
        values = _merged(values, source)
    origins = Origins(
        sources=(
            *({one.place: one.where for one in source} for source in reversed(named)),
            origins_in_file,
            {place: where for place, (_, where) in inherited.items()},
        )
    )
    _refuse_unusable(values, origins)
    try:
        settings = Settings(**{**values, "project": folder})
    except ValidationError as error:
        raise InvalidSettings(_sentence(error, origins.of)) from None  # its inputs may be secrets
    queue = settings.queue.model_copy(update={"redis": settings.queue.redis.below(folder)})
    return settings.model_copy(update={"store": settings.store.below(folder), "queue": queue}).with_origins(origins)


def read_table[T: BaseModel](settings: Settings, model: type[T], name: str) -> T:
    """Read the table `[queue.NAME]` as `model`. Relative paths are relative to the project. Raises InvalidSettings."""
    known = getattr(settings.queue, name, None)
    if isinstance(known, model):
        return known
    try:
        table = model(**settings.queue.tables.get(name, {}))
    except ValidationError as error:
        sentence = _sentence(error, lambda place: settings.origin(*place), ("queue", name), model)
        raise InvalidSettings(sentence) from None  # its inputs may be secrets
    paths = {key: settings.project / value for key, value in table if isinstance(value, Path)}
    return table.model_copy(update=paths)


def _read_toml(path: Path) -> tuple[dict[str, Any], dict[Place, str]]:
    if not path.is_file():
        return {}, {}
    text = read_text(path)
    try:
        values = tomllib.loads(text)
        if depth_of(values) > DEEPEST:
            raise RecursionError
    except RecursionError:
        raise InvalidSettings(f"{path}: tables or lists have more than {DEEPEST} levels of nesting") from None
    except ValueError as error:
        raise InvalidSettings(f"{path}: {error}") from error
    origins = toml_origins(FILE, text, values)
    if "project" in values:
        raise InvalidSettings(f"{unknown('setting', 'project', _known(()))} ({origins.get(('project',), FILE)})")
    return values, origins


def _inherited(environment: Mapping[str, str], env_file: list[Given]) -> dict[Place, tuple[str, str]]:
    in_file = {one.name: one for one in env_file}
    found: dict[Place, tuple[str, str]] = {}
    for name, key in INHERITED.items():
        if value := environment.get(name):
            found["prefect", key] = (value, name)
        elif (one := in_file.get(name)) and one.value:
            found["prefect", key] = (one.value, one.where)
    return found


def _merged(below: Any, above: Any) -> Any:
    """Merge tables. For any other two values, return `above`."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: _merged(below[key], value) if key in below else value for key, value in above.items()}}


def _refuse_unusable(values: Mapping[str, Any], origins: Origins) -> None:
    for place, text in _texts(values):
        if "\0" in text:
            raise InvalidSettings(f"{'.'.join(place)}: it contains a NUL character ({origins.of(place)})")


def _texts(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield (*place, key), key
            yield from _texts(inner, (*place, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, place)


def _sentence(
    error: ValidationError, origin: Callable[[Place], str], above: Place = (), model: type[BaseModel] = Settings
) -> str:
    """The faults and their origins as a sentence. `model` is the model of the table `above`."""
    problems = []
    for item in error.errors(include_url=False, include_input=False):
        inner = tuple(str(part) for part in item["loc"])
        place = (*above, *inner)
        where = origin(place)
        if item["type"] == "extra_forbidden":
            table = f" in [{'.'.join(place[:-1])}]" if place[:-1] else ""
            problems.append(unknown("setting", place[-1], _known(inner[:-1], model)) + f" ({where or FILE}{table})")
        else:
            why = item["msg"].removeprefix("Value error, ").replace("a valid tuple", 'a list, such as ["."]')
            problems.append(f"{'.'.join(place)}: {why} ({where})")
    return "; ".join(problems)


def _known(tables: Place, model: type[BaseModel] = Settings) -> list[str]:
    for table in tables:
        annotation = model.model_fields[table].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return [name for name in model.model_fields if name not in ("project", "tables")]
