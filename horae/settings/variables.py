"""Settings given as names with a value: `HORAE_*` variables, the lines of `.env`, the files of a secrets directory.

`HORAE_STORE__URL` is `url` in `[store]`: a double underscore separates a table from its key. pydantic-settings turns
the names into tables. It ignores unknown names, so `check_names` refuses them.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, get_origin

from dotenv.parser import parse_stream
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

from horae.errors import InvalidSettings, nearest
from horae.settings.origins import Place

PREFIX = "HORAE_"
DELIMITER = "__"
ENV_FILE = ".env"
DEEPEST = 20
"""The deepest nesting of tables and lists that is accepted."""
SECRETS_VARIABLE = "HORAE_SECRETS_DIR"
SECRETS = Path("/run/secrets")
"""The default directory of secrets. It is read if it exists and no other directory is configured."""
OF_KUBERNETES = (
    (re.compile(r"HORAE_(\w+_)?SERVICE_(HOST|PORT(_\w+)?)"), re.compile(r".*")),
    (re.compile(r"HORAE_(\w+_)?PORT(_\d+_(TCP|UDP|SCTP))?"), re.compile(r"(tcp|udp|sctp)://.*")),
    (re.compile(r"HORAE_(\w+_)?PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)"), re.compile(r".*")),
)
"""Patterns for name and value of the variables that Kubernetes sets for a Service named `horae` or `horae-...`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """A name with its value and its origin."""

    name: str
    """The name as written."""
    value: str = field(repr=False)  # may be a secret
    where: str

    @property
    def place(self) -> Place:
        return tuple(self.name.upper().removeprefix(PREFIX).lower().split(DELIMITER))


def from_environment(environment: Mapping[str, str]) -> list[Given]:
    """The `HORAE_*` variables, without those that Kubernetes sets for a Service."""
    found = [Given(name=name, value=value, where=name) for name, value in environment.items() if is_ours(name)]
    return [one for one in found if not _of_kubernetes(one)]


def is_ours(name: str) -> bool:
    """Whether a name is the name of a setting."""
    return name.upper().startswith(PREFIX) and name != SECRETS_VARIABLE


def _of_kubernetes(given: Given) -> bool:
    return DELIMITER not in given.name and any(
        name.fullmatch(given.name) and value.fullmatch(given.value) for name, value in OF_KUBERNETES
    )


def from_env_file(path: Path) -> list[Given]:
    """Every name of a `.env` file, including names that are not Horae's. `${NAME}` is not expanded.

    Raises InvalidSettings.
    """
    if not path.is_file():  # a virtual environment may have that name
        return []
    found = []
    for binding in parse_stream(StringIO(read_text(path))):
        where, said = f"{path.name}:{binding.original.line}", binding.original.string
        if binding.key and binding.value is not None:
            found.append(Given(name=binding.key, value=binding.value, where=where))
        elif PREFIX in said.upper() and (binding.error or binding.key):
            raise InvalidSettings(
                f"{where}: this line is not of the form NAME=value; put a value with spaces or # in quotes"
            )
    return found


def from_secrets(named: str | None, project: Path) -> list[Given]:
    """Each file of the secrets directory whose name begins with `HORAE_`, in any case; raises InvalidSettings.

    `named`: the configured directory, which must exist. None: the default directory, if it exists.
    """
    folder = project / named if named else SECRETS
    try:
        files = sorted(path for path in folder.iterdir() if is_ours(path.name) and path.is_file())
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if named:
            why = getattr(error, "strerror", None) or error
            raise InvalidSettings(f"{SECRETS_VARIABLE}={named!r}: {why}; give a folder of secrets") from error
        return []
    return [Given(name=path.name, value=read_text(path).strip(), where=str(path)) for path in files]


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark; raises InvalidSettings."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSettings(f"{path}: it is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise InvalidSettings(f"{path}: {error.strerror}") from error


def check_names(settings: type[BaseModel], given: list[Given]) -> None:
    """Raise InvalidSettings for each name that is not a setting, with the nearest known name."""
    tables, values = known_places(settings)
    problems = []
    for one in given:
        if depth_of(_from_json(one.value)) > DEEPEST:
            problems.append(f"{one.name}: lists or objects have more than {DEEPEST} levels of nesting ({one.where})")
            continue
        if one.place in values or (len(one.place) > 2 and _is_open(one.place, tables)):
            continue
        if one.place in tables:
            if not one.value.lstrip().startswith("{"):
                problems.append(
                    f"{one.name} is a table; set {one.name}{DELIMITER}NAME, or give the table as JSON ({one.where})"
                )
            continue
        best = nearest(one.name.upper(), map(variable, values))
        hint = f", did you mean {best!r}?" if best else "."
        problems.append(f"unknown setting {one.name!r}{hint} ({one.where})")
    if problems:
        raise InvalidSettings("; ".join(problems))


def _is_open(place: Place, tables: set[Place]) -> bool:
    """Whether the place is in the table of a job or of a queue provider, which another model parses later."""
    return place[0] == "jobs" or (place[0] == "queue" and place[:2] not in tables)


def variable(place: Place) -> str:
    """The name of the variable for a setting."""
    return PREFIX + DELIMITER.join(place).upper()


def known_places(model: type[BaseModel], above: Place = ()) -> tuple[set[Place], set[Place]]:
    """The places of all tables and of all values in a model."""
    tables, values = set(), set()
    for name, one in model.model_fields.items():
        place, kind = (*above, name), one.annotation
        if place in (("project",), ("queue", "tables")):
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            inner_tables, inner_values = known_places(kind, place)
            tables |= {place, *inner_tables}
            values |= inner_values
        elif name == "jobs":
            tables.add(place)
        else:
            values.add(place)
    return tables, values


class NamedValues(EnvSettingsSource):
    """A source for pydantic-settings that uses `given`. Lists are separated by `:` or written as JSON."""

    def __init__(self, settings: type[BaseSettings], given: list[Given]) -> None:
        self._given = given
        super().__init__(settings, env_prefix=PREFIX, env_nested_delimiter=DELIMITER, case_sensitive=False)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {one.name.lower(): one.value for one in self._given}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Parse JSON. Split any other text into a list if the field is a list; else return it unchanged."""
        if (decoded := _from_json(value)) is not value:
            return decoded
        wants_list = get_origin(getattr(field, "annotation", None)) in (tuple, list)  # no field: inside of a table
        return [part for part in str(value).split(os.pathsep) if part] if wants_list else value

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        for open_table in ("jobs", "queue"):
            if isinstance(found := values.get(open_table), dict):
                values[open_table] = {
                    name: {key: _from_json(value) for key, value in table.items()} if isinstance(table, dict) else table
                    for name, table in found.items()
                }
        return values


def _from_json(value: Any) -> Any:
    """Parse a JSON list or object; return any other value unchanged."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def depth_of(values: Any) -> int:
    """The nesting depth of tables and lists. Counting stops just above the allowed depth."""
    level, depth = ([values] if isinstance(values, dict | list) else []), 0
    while level and depth <= DEEPEST:
        depth += 1
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
    return depth
