"""The decorator `@job`, which declares a function as a job."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Unpack

from horae.errors import InvalidJob, InvalidSchedule, unknown
from horae.findings import Source
from horae.jobs.job import Job
from horae.jobs.options import OPTIONS, JobOptions
from horae.jobs.policies import CatchUp, Isolation, Need, Overlap, Scope, Tier, Trait
from horae.schedules.kinds import Schedule


def traits_from(names: Iterable[str]) -> frozenset[Trait]:
    """The traits with these names; raises InvalidJob with the nearest known name."""
    known = {trait.value for trait in Trait}
    for name in names:
        if name not in known:
            raise InvalidJob(unknown("trait", str(name), known))
    return frozenset(Trait(name) for name in names)


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """The data that `@job` attaches to a function: a job without its tier. The folder of the file decides the tier."""

    options: dict[str, Any]
    function: Callable[..., Any]
    line: int

    def job(self, tier: Tier, file: str) -> Job:
        return Job(tier=tier, function=self.function, source=Source(file=file, line=self.line), **self.options)


DECLARATION = "__horae_job__"


def job[F: Callable[..., Any]](name: str | None = None, **options: Unpack[JobOptions]) -> Callable[[F], F]:
    """Declare a plain function, sync or async, as a job. The function can still be called directly.

    `name` defaults to the function's name in kebab-case, `description` to the first line of its docstring; `traits`
    may be names or `Trait`s; every other keyword is a field of `Job`. Raises InvalidJob on an unknown keyword or value.

        @job(schedule=every("30s"), scope="each", time_limit=timedelta(seconds=5))
        async def health_check() -> dict: ...
    """
    for key in options:
        if key not in OPTIONS:
            raise InvalidJob(unknown("job setting", key, OPTIONS))

    def declare(function: F) -> F:
        chosen: dict[str, Any] = dict(options)
        chosen["name"] = name or function.__name__.replace("_", "-")
        chosen["traits"] = traits_from(chosen.get("traits", ()))
        chosen["needs"] = frozenset(_member(Need, "needs", one) for one in chosen.get("needs", ()))
        chosen.setdefault("description", (inspect.getdoc(function) or "").partition("\n")[0])
        for key, kind in (("overlap", Overlap), ("catch_up", CatchUp), ("scope", Scope), ("isolation", Isolation)):
            if key in chosen:
                chosen[key] = _member(kind, key, chosen[key])
        schedule = chosen.get("schedule")
        if schedule is not None and not isinstance(schedule, Schedule):
            raise InvalidSchedule(f"schedule={schedule!r}: give cron(...), every(...) or at(...)")
        written = inspect.unwrap(function)  # not its decorator's wrapper, which may stand in another file
        line = written.__code__.co_firstlineno if hasattr(written, "__code__") else 1
        declaration = Declaration(options=chosen, function=function, line=line)
        declaration.job(
            Tier.APSCHEDULER, ""
        )  # raise here, at the line of the declaration, for values that no tier accepts
        setattr(function, DECLARATION, declaration)
        return function

    return declare


def _member[E: StrEnum](kind: type[E], key: str, value: str) -> E:
    allowed = [member.value for member in kind]
    if value not in allowed:
        raise InvalidJob(unknown(key, str(value), allowed))
    return kind(value)
