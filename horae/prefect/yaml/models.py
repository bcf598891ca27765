"""Models of prefect.yaml: copies of Prefect's own models, so that reading the file does not import Prefect.

pydantic converts values in the same way (`'no'` is false, `"3600"` is an interval, `5` is not a text), so both accept
the same files. A test compares them with the models of the installed Prefect. Prefect ignores unknown keys, except in
a schedule.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

type Mapping = dict[str, Any]
type Steps = list[Mapping] | Mapping
ACTIONS = ("build", "push", "pull")


def _one_step_is_a_list(data: Any) -> Any:
    """Put a single step into a list."""
    if not isinstance(data, dict):
        return data
    wrapped = {key: [data[key]] for key in ACTIONS if isinstance(data.get(key), dict) and data[key]}
    return {**data, **wrapped}


class _Actions(BaseModel):
    build: Steps | None = None
    push: Steps | None = None
    pull: Steps | None = None

    @model_validator(mode="before")
    @classmethod
    def _wrap(cls, data: Any) -> Any:
        return _one_step_is_a_list(data)


class WorkPool(BaseModel):
    name: str | None = None
    work_queue_name: str | None = None
    job_variables: Mapping = Field(default_factory=dict)


class ConcurrencyLimit(BaseModel):
    limit: int | None = None
    collision_strategy: str | None = None
    grace_period_seconds: int | None = None


class CollisionStrategy(StrEnum):
    ENQUEUE = "ENQUEUE"
    CANCEL_NEW = "CANCEL_NEW"


class VersionType(StrEnum):
    SIMPLE = "prefect:simple"
    GITHUB = "vcs:github"
    GITLAB = "vcs:gitlab"
    BITBUCKET = "vcs:bitbucket"
    AZUREDEVOPS = "vcs:azuredevops"
    GIT = "vcs:git"


class Deployment(_Actions):
    """An item of `deployments`. Its schedules and slas are checked separately: see `Schedule` and `SLAS`."""

    name: str | None = None
    version: str | None = None
    version_type: str | None = None
    tags: str | list[Any] | None = None
    description: str | None = None
    schedule: Any = None
    schedules: list[Any] | None = None
    paused: bool | None = None
    concurrency_limit: int | ConcurrencyLimit | None = None
    flow_name: str | None = None
    entrypoint: str | None = None
    parameters: Mapping = Field(default_factory=dict)
    enforce_parameter_schema: bool | None = None
    work_pool: WorkPool | None = None
    triggers: list[Mapping] | None = None
    sla: list[Any] | None = None


class File(_Actions):
    """The whole file. Its deployments are checked separately."""

    model_config = ConfigDict(populate_by_name=True)

    prefect_version: str | None = Field(default=None, alias="prefect-version")
    name: str | None = None
    deployments: list[Any] = Field(default_factory=list)


class Schedule(BaseModel):
    """An item of `schedules`. `active` and `day_or` may be text, because of templates: see `switch`."""

    model_config = ConfigDict(extra="forbid")

    cron: str | None = None
    interval: timedelta | None = None
    rrule: str | None = None
    timezone: str | None = None
    anchor_date: str | None = None
    active: bool | str | None = None
    parameters: Mapping = Field(default_factory=dict)
    slug: str | None = None
    replaces: str | None = None
    day_or: bool | str | None = None


class BareInterval(BaseModel):
    """Only an interval. Prefect accepts its anchor without quotes if the schedule has no other key."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    interval: Annotated[timedelta, Field(gt=timedelta(0))]
    anchor_date: datetime | None = None
    timezone: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _anchored(cls, data: Any) -> Any:
        if isinstance(data, dict) and "anchor_date" in data and data["anchor_date"] is None:
            raise ValueError("anchor_date is null")
        return data


class _Sla(BaseModel):
    model_config = ConfigDict(defer_build=True)

    name: str
    severity: Literal["minor", "low", "moderate", "high", "critical"] = "moderate"
    enabled: bool | None = True


class TimeToCompletion(_Sla):
    duration: int


class Lateness(_Sla):
    within: timedelta


class Frequency(_Sla):
    stale_after: timedelta


SLAS: tuple[type[BaseModel], ...] = (TimeToCompletion, Lateness, Frequency)

GRACE_SECONDS = range(60, 86_401)
"""The allowed values of `grace_period_seconds`."""
_SWITCH: TypeAdapter[bool] = TypeAdapter(bool)


def switch(value: bool | str | None, default: bool) -> bool | None:
    """Prefect's value for `active` or `day_or`: text such as 'no' and '0' is false. None if Prefect refuses it."""
    if value is None:
        return default
    try:
        return _SWITCH.validate_python(value)
    except ValidationError:
        return None


def keys_of(model: type[BaseModel]) -> frozenset[str]:
    """The keys that a model knows, by name and by alias."""
    fields = model.model_fields
    return frozenset(fields) | {field.alias for field in fields.values() if field.alias}
