"""Checks the keys and types of prefect.yaml at every level of Prefect's schema."""

import reprlib
from collections.abc import Iterator, Set
from typing import Any

from pydantic import BaseModel, ValidationError

from horae.errors import nearest, unknown
from horae.findings import Finding, Rule, Source
from horae.prefect.rules import YAML_IGNORED, YAML_UNKNOWN_KEY, YAML_UNREADABLE
from horae.prefect.yaml import keys, models
from horae.prefect.yaml.document import Document, Entry

FILE = "prefect.yaml"
SKIPS = "For such a value, `prefect deploy` skips the whole file."
MAPPING, TEXT, NUMBER, SWITCH = "a mapping", "text", "a whole number", "true or false"
EXPECTED = {
    "string_type": TEXT,
    "dict_type": MAPPING,
    "model_type": MAPPING,
    "model_attributes_type": MAPPING,
    "list_type": "a list",
    "bool_type": SWITCH,
    "bool_parsing": SWITCH,
    "int_type": NUMBER,
    "int_parsing": NUMBER,
    "int_from_float": NUMBER,
    "time_delta_type": "a duration",
    "time_delta_parsing": "a duration",
    "missing": "there",
}
"""The expected value for each type of pydantic error, in words."""
SLIP = 0.7
"""The least similarity, from 0 to 1, at which an unknown key counts as a misspelled known key."""
STRATEGIES = frozenset(one.value for one in models.CollisionStrategy)
VERSION_TYPES = frozenset(one.value for one in models.VersionType)
NAME_BANNED = "/%&<>"
"""Characters that a deployment's name must not have."""


def is_template(value: object) -> bool:
    """Whether the value has {{ ... }}. Prefect fills it in when it deploys, so the value is unknown before."""
    return isinstance(value, str) and "{{" in value


class Shape:
    """Findings on one file. `file` is its path in the project, for messages."""

    def __init__(self, file: str = FILE) -> None:
        self.file = file

    def at(self, entry: Entry | None) -> Source:
        return Source(file=self.file, line=entry.line if entry else 1)

    def document(self, document: Document) -> Iterator[Finding]:
        """Findings on the whole file, without its deployments."""
        for key, line in document.repeated:
            message = f"the key {key!r} is given twice; the later one applies"
            at = Source(file=self.file, line=line)
            yield YAML_IGNORED.finding(message, at=at, remedy="Remove one of them.")
        root = document.root
        if not isinstance(root.value, dict):
            what = "the file is empty" if root.value is None else "the file is not a mapping with the key `deployments`"
            yield YAML_UNREADABLE.finding(what, at=self.at(root), remedy="Write `deployments:` and a list below it.")
            return
        yield from self._unknown(root, keys.TOP, "key", None)
        yield from self.refused(models.File, document.raw, root, None)

    def deployment(self, entry: Entry, raw: Any, job: str | None) -> Iterator[Finding]:
        """Findings on the keys and types of one deployment, without its schedules."""
        if not isinstance(raw, dict):
            yield YAML_UNREADABLE.finding("a deployment is not a mapping", job=job, at=self.at(entry), remedy=SKIPS)
            return
        yield from self._unknown(entry, keys.DEPLOYMENT, "key of a deployment", job)
        yield from self.refused(models.Deployment, raw, entry, job)
        yield from self._deployed(entry, raw, job)
        if pool := entry.get("work_pool"):
            yield from self._unknown(pool, keys.WORK_POOL, "key of work_pool", job)
        if limit := entry.get("concurrency_limit"):
            yield from self._unknown(limit, keys.CONCURRENCY_LIMIT, "key of concurrency_limit", job)
        for item in ((listed := entry.get("triggers")) and listed.list()) or ():
            yield from self._unknown(item, keys.TRIGGER, "key of a trigger", job)
        listed, slas = entry.get("sla"), raw.get("sla")
        for item, value in zip(listed.list() if listed else (), slas if isinstance(slas, list) else (), strict=False):
            yield from self._unknown(item, keys.SLA, "key of an sla", job)
            yield from self._sla(item, value, job)

    def refused(self, model: type[BaseModel], raw: Any, entry: Entry, job: str | None) -> Iterator[Finding]:
        """One finding for each place at which Prefect's model refuses a value."""
        try:
            model.model_validate(raw)
        except ValidationError as error:
            wanted: dict[str, tuple[Entry, Any, list[str]]] = {}
            for item in error.errors(include_url=False):
                path, place = _place(entry, item["loc"])
                kind = EXPECTED.get(item["type"], "")
                found = wanted.setdefault(path, (place, item["input"], []))
                # pydantic reports an error for each member of a union.
                if kind not in found[2]:
                    found[2].append(kind)
            for path, (place, value, kinds) in wanted.items():
                if any(other.startswith((f"{path}.", f"{path}[")) for other in wanted):
                    continue  # a part of this value is refused, and has its own error
                yield self._refusal(path, place, value, [kind for kind in kinds if kind], job)

    def _refusal(self, path: str, place: Entry, value: Any, kinds: list[str], job: str | None) -> Finding:
        expected = " or ".join(kinds) or "a value that Prefect accepts here"
        message = f"`{path}` is {reprlib.repr(value)}, not {expected}"
        if kinds == ["there"]:
            message = f"`{path}` is missing"
        remedy = f"Correct the value. {SKIPS}"
        if value is None:
            remedy = f"Remove the key, or give it {expected}. {SKIPS}"
        elif TEXT in kinds and isinstance(value, bool | int | float):
            remedy = f'Quote it: "{str(value).lower()}". {SKIPS}'
        elif is_template(value):
            remedy = f"Prefect checks types before it fills in templates, so a template can only replace text. {SKIPS}"
        return YAML_UNREADABLE.finding(message, job=job, at=self.at(place), remedy=remedy)

    def _deployed(self, entry: Entry, raw: dict[Any, Any], job: str | None) -> Iterator[Finding]:
        """Values that the schema allows but `prefect deploy` fails at. It exits 1 after deploying the items before."""
        for key in ("tags", "work_pool"):
            if key in raw and raw[key] is None:
                message = f"`{key}` is null, and `prefect deploy` fails on that with a traceback"
                line = entry.value[key]
                yield YAML_UNREADABLE.finding(message, job=job, at=self.at(line), remedy="Remove the key.")
        tags, kind = raw.get("tags"), raw.get("version_type")
        if isinstance(tags, str) and len(tags.strip()) > 1 and not is_template(tags):
            message = f"`tags` is the text {tags!r}, and Prefect makes a tag of each letter"
            yield YAML_UNREADABLE.finding(message, job=job, at=self.at(entry.get("tags")), remedy="Write a list.")
        if isinstance(kind, str) and not is_template(kind) and kind not in VERSION_TYPES:
            message = unknown("version_type", kind, VERSION_TYPES)
            yield YAML_UNREADABLE.finding(message, job=job, at=self.at(entry.get("version_type")))
        if limit := entry.get("concurrency_limit"):
            yield from self._concurrency(limit, raw["concurrency_limit"], job)

    def _concurrency(self, limit: Entry, raw: Any, job: str | None) -> Iterator[Finding]:
        try:
            given = models.Deployment.model_validate({"concurrency_limit": raw}).concurrency_limit
        except ValidationError:
            return  # reported already
        if isinstance(given, models.ConcurrencyLimit):
            strategy, grace, known = given.collision_strategy, given.grace_period_seconds, STRATEGIES
            if strategy is None:
                message = f"`concurrency_limit` has no collision_strategy. Allowed: {', '.join(sorted(known))}"
                yield YAML_UNREADABLE.finding(message, job=job, at=self.at(limit), remedy="Write the strategy.")
            elif strategy not in known and not is_template(strategy):
                message = unknown("collision_strategy", strategy, known)
                at = self.at(limit.get("collision_strategy"))
                yield YAML_UNREADABLE.finding(message, job=job, at=at, remedy="Correct the value.")
            if grace is not None and grace not in models.GRACE_SECONDS:
                message = f"`grace_period_seconds` is {grace}. Allowed: 60 to 86400"
                at = self.at(limit.get("grace_period_seconds"))
                yield YAML_UNREADABLE.finding(message, job=job, at=at, remedy="Correct the value.")
            if given.limit is None:
                message = "`concurrency_limit` has no `limit`, so it limits nothing"
                yield YAML_IGNORED.finding(message, job=job, at=self.at(limit), remedy="Write the limit.")
        number = given.limit if isinstance(given, models.ConcurrencyLimit) else given
        if number is not None and number < 1:
            at = self.at(limit.get("limit") or limit)
            message = f"a concurrency limit of {number} prevents every run"
            yield YAML_UNREADABLE.finding(message, job=job, at=at, remedy="Write 1 or more.")

    def _sla(self, entry: Entry, raw: Any, job: str | None) -> Iterator[Finding]:
        for model in models.SLAS:
            try:
                model.model_validate(raw)
            except ValidationError:
                continue
            return
        message = "an sla needs a name, and one of duration, within and stale_after"
        yield YAML_UNREADABLE.finding(message, job=job, at=self.at(entry), remedy=f"Correct the sla. {SKIPS}")

    def _unknown(self, entry: Entry, known: Set[str], kind: str, job: str | None) -> Iterator[Finding]:
        """Findings on keys that Prefect ignores. A key that is similar to a known one is an error."""
        for key, value in entry.items():
            if key not in known:
                rule: Rule = YAML_UNKNOWN_KEY if _is_slip(key, known) else YAML_IGNORED
                yield rule.finding(unknown(kind, key, known), job=job, at=self.at(value))


def _is_slip(key: str, known: Set[str]) -> bool:
    part = len(key) >= 4 and any(key in one for one in known)
    return not key.startswith(("x-", "_", ".")) and (part or nearest(key, known, SLIP) is not None)


def _place(entry: Entry, loc: tuple[int | str, ...]) -> tuple[str, Entry]:
    """The path and the entry in the file for pydantic's location. Names of types in the location are skipped."""
    path = ""
    for part in loc:
        if isinstance(part, int) and isinstance(entry.value, list) and part < len(entry.value):
            entry, path = entry.value[part], f"{path}[{part}]"
        elif isinstance(entry.value, dict) and str(part) in entry.value:
            entry, path = entry.value[str(part)], f"{path}.{part}" if path else str(part)
    return path or "this", entry
