"""Write the generated tables of the docs: `python scripts/reference.py` rewrites the pages that differ.

A table is between `<!-- generated: name -->` and `<!-- end -->`; the rest of these pages is written by hand.
"""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from horae.jobs.job import Job  # noqa: E402
from horae.jobs.options import OPTIONS  # noqa: E402
from horae.jobs.policies import CatchUp, Isolation, Need, Overlap, Retry, Scope, Tier, Trait  # noqa: E402
from horae.matrix import STEPS  # noqa: E402
from horae.messages import Message  # noqa: E402
from horae.metrics.process import Metrics  # noqa: E402
from horae.project.loading import load as load_registry  # noqa: E402
from horae.project.loading import own_packages  # noqa: E402
from horae.queues.base import ALWAYS  # noqa: E402
from horae.queues.providers import names as provider_names  # noqa: E402
from horae.queues.providers import provider  # noqa: E402
from horae.reasons import Reason  # noqa: E402
from horae.runs import new_run_id  # noqa: E402
from horae.schedules.durations import format_duration  # noqa: E402
from horae.settings import Settings  # noqa: E402

own_packages(ROOT, [tier.folder for tier in Tier])  # another project may have been loaded in this process

MARKED = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
ELSEWHERE = {"project", "folders", "store", "prefect", "queue", "redis", "worker", "sidecar", "check", "jobs", "tables"}
"""Tables of `Settings` and in them, and what is no setting."""


def attributes(kind: type) -> dict[str, tuple[str, str]]:
    """Return type (as written) and docstring of each attribute of a class, in order; inherited attributes come last."""
    [body] = ast.parse(dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, tuple[str, str]] = {}
    for statement, following in zip(body.body, [*body.body[1:], None], strict=True):
        says = following.value if isinstance(following, ast.Expr) else None
        text = str(says.value) if isinstance(says, ast.Constant) else ""
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found[statement.target.id] = (ast.unparse(statement.annotation), text)
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            found[statement.targets[0].id] = ("", text)
    for base in kind.__bases__:
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= {name: one for name, one in attributes(base).items() if name not in found}
    return found


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |\n" for row in lines
    )


def spoken(annotation: str) -> str:
    """Name a type as authors of TOML or JSON know it."""
    plain = annotation.replace(" | None", "")
    words = {
        "str": "text",
        "SecretStr": "text, shown nowhere",
        "RedisUrl": "text, shown nowhere",
        "HttpUrl": "text, shown nowhere",
        "Folder": "path of Python names",
        "int": "whole number",
        "float": "number",
        "Path": "path",
        "bool": "true or false",
        "tuple[str, ...]": "list of texts",
        "tuple[Rule, ...]": "list of tables",
        "tuple[Place, ...]": "list of tables",
        "dict[str, str]": "table of texts",
        "BucketSettings": "table",
    }
    if plain.startswith("Literal["):
        return "one of " + plain.removeprefix("Literal[").removesuffix("]").replace("'", "`")
    return words.get(plain, plain)


def shown(value: Any) -> str:
    """Format a default as a user would write it."""
    if value is None or value is MISSING or value is PydanticUndefined:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    if isinstance(value, StrEnum):
        return f'`"{value.value}"`'
    if isinstance(value, Retry):
        return "`Retry()`: no retry"
    if value == {}:
        return "none"
    if isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in value):
        return "see there"
    if isinstance(value, (tuple, frozenset)):
        return f"`{list(value)}`".replace("'", '"') if value else "none"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def limits(model: type[BaseModel], name: str) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = []
    for constraint in model.model_fields[name].metadata:
        found += [f"{sign} {getattr(constraint, key)}" for key, sign in signs.items() if hasattr(constraint, key)]
    return ", " + " and ".join(found) if found else ""


def settings_of(model: type[BaseModel], prefix: str | None) -> str:
    """Table of a settings model. `prefix` begins the names of its variables; None leaves out the variables."""
    rows = []
    for name, (annotation, text) in attributes(model).items():
        if name in model.model_fields and (name not in ELSEWHERE or (name == "project" and model is not Settings)):
            variable = [f"`{prefix}{name.upper()}`"] if prefix is not None else []
            field = model.model_fields[name]
            default = "must be given" if field.is_required() else shown(field.default)
            rows.append([f"`{name}`", *variable, spoken(annotation) + limits(model, name), default, text])
    return table(["name", *(["variable"] if prefix is not None else []), "type", "default", "meaning"], iter(rows))


def nested(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The settings of a model that are a table of their own, or none."""
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield name, kind


def job_fields() -> str:
    rows = []
    for one in fields(Job):
        annotation, text = attributes(Job)[one.name]
        if one.name in OPTIONS | {"name"}:
            written = re.sub(r"frozenset\[\w+\]", "names", annotation).replace(" | None", "")
            rows.append([f"`{one.name}`", f"`{written}`", shown(one.default), text])
    return table(["field", "type", "default", "meaning"], iter(rows))


def retry_fields() -> str:
    texts = attributes(Retry)
    return table(
        ["field", "default", "meaning"],
        ([f"`{one.name}`", shown(one.default), texts[one.name][1]] for one in fields(Retry)),
    )


def choices(kind: type[StrEnum]) -> str:
    texts = attributes(kind)
    return table(["value", "meaning"], ([f'`"{one.value}"`', texts[one.name][1]] for one in kind))


def reasons() -> str:
    return table(["reason", "meaning"], ([f"`{one.value}`", one.sentence] for one in Reason))


def traits() -> str:
    step_of = {trait: step for step in STEPS for trait in step.yes_traits}
    return table(
        ["trait", "means", "says yes to", "and leads to"],
        (
            [f"`{one.value}`", one.sentence, f"{step_of[one].number}. {step_of[one].question}", step_of[one].yes]
            for one in Trait
        ),
    )


def tiers() -> str:
    return table(
        ["tier", "scheduler", "folder", "for"],
        ([f"`{one.value}`", one.label, f"`{one.folder}/`", one.sentence] for one in Tier),
    )


def message_fields() -> str:
    texts, rows = attributes(Message), []
    for name, one in Message.model_fields.items():
        default = "must be given" if one.is_required() else MADE.get(one.default_factory, shown(one.default))
        rows.append([f"`{name}`", JSON_TYPES[name], default, texts[name][1]])
    return table(["key", "JSON", "default", "meaning"], iter(rows))


def providers() -> str:
    rows = []
    for name in provider_names():
        found = provider(name)
        can = found.capabilities
        schedules = {None: "no: the outbox keeps times", ALWAYS: "built in"}.get(can.native_schedules)
        schedules = schedules or f"from version {can.native_schedules}"
        ahead = f"; used up to {format_duration(can.schedules_ahead)} ahead" if can.schedules_ahead else ""
        rows.append(
            [
                f"`{name}`",
                found.title,
                found.use_when,
                "8:3:1" if can.priorities else "all alike",
                can.ordering.value,
                f"{can.largest_bytes:,} bytes" if can.largest_bytes else "512 MiB",
                schedules + ahead,
                format_duration(can.redelivers_for),
                "workers poll" if found.open_consumer else "it calls the receiver",
                "can be asked" if found.backlog else "unknown",
                f"`horae[{found.extra}]`" if found.extra else "always there",
            ]
        )
    head = ["name", "broker", "use when", "priorities", "order", "largest message", "schedules", "redelivers for"]
    return table([*head, "delivery", "backlog", "client library"], iter(rows))


def provider_settings() -> str:
    """Return the table `[queue.NAME]` of each provider."""
    parts = []
    for name in provider_names():
        prefix = f"HORAE_QUEUE__{name.upper()}__"
        parts.append(f"## [queue.{name}]\n\n{settings_of(provider(name).settings, prefix)}")
    return "\n".join(parts)


MADE: dict[Any, str] = {new_run_id: "a new UUIDv7", dict: "empty"}

JSON_TYPES = {
    "job": "string",
    "run_id": "string of 1 to 64 letters, digits, `-`, `_`",
    "generation": "number from 1",
    "scheduled_for": "string, ISO 8601 with an offset",
    "priority": '`"high"`, `"normal"` or `"low"`',
    "context": "object",
    "metadata": "object",
    "signature": "string, `sha256:` and 64 hex digits",
}


def metrics() -> str:
    counted = Metrics()
    collectors = [one for one in vars(counted).values() if hasattr(one, "collect") and one is not counted.registry]
    labels = {
        family.name: getattr(family, "_labelnames", None) or getattr(collector, "_labelnames", ())
        for collector in collectors
        for family in collector.describe()
    }
    endings = {"counter": "_total", "histogram": "_bucket, _sum, _count"}
    return table(
        ["metric", "type", "labels", "meaning"],
        (
            [
                f"`{family.name}`" + (f" + `{endings[family.type]}`" if family.type in endings else ""),
                family.type,
                ", ".join(f"`{label}`" for label in labels[family.name]) or "none",
                family.documentation,
            ]
            for collector in collectors
            for family in collector.describe()
        ),
    )


TABLES: dict[str, Callable[[], str]] = {
    "settings": lambda: settings_of(Settings, "HORAE_"),
    **{
        f"settings-{name}": lambda name=name: settings_of(  # type: ignore[misc]
            type(Settings.model_fields[name].default), f"HORAE_{name.upper()}__"
        )
        for name in ("folders", "store", "prefect", "queue", "worker", "sidecar", "check")
    },
    "providers": providers,
    "provider-settings": provider_settings,
    **{
        f"settings-{job.name}": lambda model=job.settings: settings_of(model, None)  # type: ignore[misc]
        for job in load_registry(Settings(project=ROOT))
        if job.settings
    },
    **{
        f"settings-{job.name}-{name}": lambda inner=inner: settings_of(inner, None)  # type: ignore[misc]
        for job in load_registry(Settings(project=ROOT))
        if job.settings
        for name, inner in nested(job.settings)
    },
    "job": job_fields,
    "retry": retry_fields,
    "overlap": lambda: choices(Overlap),
    "catch-up": lambda: choices(CatchUp),
    "scope": lambda: choices(Scope),
    "needs": lambda: choices(Need),
    "isolation": lambda: choices(Isolation),
    "tiers": tiers,
    "traits": traits,
    "reasons": reasons,
    "message": message_fields,
    "metrics": metrics,
}


def rewritten(text: str) -> str:
    """Return the page with its generated tables up to date."""
    return MARKED.sub(_made, text)


def _made(found: re.Match[str]) -> str:
    name = found[2]
    if name.startswith("settings-") and name not in TABLES:
        return found[0]  # of a bundled job that was deleted
    return f"{found[1]}\n{TABLES[name]()}\n{found[3]}"


def pages() -> list[Path]:
    """List the pages with generated tables: reference pages, and how-to pages of jobs with settings."""
    return [path for path in sorted((ROOT / "docs").glob("*/*.md")) if MARKED.search(path.read_text())]


if __name__ == "__main__":
    for page in pages():
        if (new := rewritten(page.read_text())) != page.read_text():
            page.write_text(new)
            print(f"rewrote {page.relative_to(ROOT)}")
