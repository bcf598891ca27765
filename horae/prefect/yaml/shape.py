"""Is prefect.yaml what Prefect will read? Keys and types at every level that its schema knows."""

from collections.abc import Iterator, Set

from horae.errors import unknown
from horae.findings import Finding, Source
from horae.prefect.rules import YAML_UNKNOWN_KEY, YAML_UNREADABLE
from horae.prefect.yaml import keys
from horae.prefect.yaml.document import Document, Entry

FILE = "prefect.yaml"
SPOKEN = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a mapping"}


def at(entry: Entry | None) -> Source:
    return Source(file=FILE, line=entry.line if entry else 1)


def is_template(value: object) -> bool:
    """Prefect fills in {{ ... }} when it deploys; nothing can be said of such a value before."""
    return isinstance(value, str) and "{{" in value


def check_document(document: Document) -> Iterator[Finding]:
    """Findings on the whole file; the deployments are checked one by one with `check_deployment`."""
    for key, line in document.repeated:
        message = f"the key {key!r} is written twice; the later one wins"
        yield YAML_UNREADABLE.finding(message, at=Source(file=FILE, line=line), remedy="Remove one of them.")
    root = document.root
    if root.value is not None and not isinstance(root.value, dict):
        yield YAML_UNREADABLE.finding("the file is not a mapping with `deployments`", at=at(root))
        return
    yield from _keys(root, keys.TOP, "key", None)
    deployments = root.get("deployments")
    if deployments is not None and not isinstance(deployments.value, list):
        yield YAML_UNREADABLE.finding("`deployments` is not a list", at=at(deployments))
    for action in sorted(keys.ACTIONS):
        yield from _actions(root.get(action), action, None)


def check_deployment(entry: Entry, job: str | None) -> Iterator[Finding]:
    """Findings on the keys and types of one deployment."""
    if not isinstance(entry.value, dict):
        yield YAML_UNREADABLE.finding("a deployment is not a mapping", at=at(entry))
        return
    yield from _keys(entry, keys.DEPLOYMENT, "key of a deployment", job)
    for key, kinds in keys.HOLDS.items():
        yield from _holds(entry.get(key), key, kinds, job)
    for action in sorted(keys.ACTIONS):
        yield from _actions(entry.get(action), action, job)
    if pool := entry.get("work_pool"):
        yield from _keys(pool, keys.WORK_POOL, "key of work_pool", job)
    if limit := entry.get("concurrency_limit"):
        yield from _concurrency(limit, job)
    for name, known, label in (("triggers", keys.TRIGGER, "a trigger"), ("sla", keys.SLA, "an sla")):
        for item in ((listed := entry.get(name)) and listed.list()) or ():
            yield from _keys(item, known, f"key of {label}", job)


def _keys(entry: Entry, known: Set[str], kind: str, job: str | None, remedy: str = "") -> Iterator[Finding]:
    for key, value in entry.items():
        if key not in known:
            yield YAML_UNKNOWN_KEY.finding(unknown(kind, key, known), job=job, at=at(value), remedy=remedy)


def check_schedule_keys(entry: Entry, job: str | None) -> Iterator[Finding]:
    remedy = "Correct or remove the key: for it, `prefect deploy` skips the whole file."
    yield from _keys(entry, keys.SCHEDULE, "key of a schedule", job, remedy)


def _holds(entry: Entry | None, key: str, kinds: tuple[type, ...], job: str | None) -> Iterator[Finding]:
    if entry is None or is_template(entry.value):
        return
    wrong_bool = isinstance(entry.value, bool) and bool not in kinds
    if wrong_bool or not isinstance(entry.value, kinds):
        expected = " or ".join(SPOKEN[kind] for kind in kinds)
        yield YAML_UNREADABLE.finding(f"`{key}` is {entry.plain()!r}, not {expected}", job=job, at=at(entry))


def _actions(entry: Entry | None, action: str, job: str | None) -> Iterator[Finding]:
    if entry is None or is_template(entry.value):
        return
    if not isinstance(entry.value, list | dict) or not all(isinstance(step.value, dict) for step in entry.list()):
        yield YAML_UNREADABLE.finding(f"`{action}` is not a list of steps", job=job, at=at(entry))


def _concurrency(limit: Entry, job: str | None) -> Iterator[Finding]:
    yield from _keys(limit, keys.CONCURRENCY_LIMIT, "key of concurrency_limit", job)
    strategy = limit.get("collision_strategy")
    if strategy and strategy.value not in keys.COLLISION_STRATEGIES and not is_template(strategy.value):
        message = unknown("collision_strategy", str(strategy.value), keys.COLLISION_STRATEGIES)
        yield YAML_UNREADABLE.finding(message, job=job, at=at(strategy))
    number = limit.get("limit") if isinstance(limit.value, dict) else limit
    if isinstance(limit.value, dict) and number is None:
        yield YAML_UNREADABLE.finding("`concurrency_limit` says no `limit`", job=job, at=at(limit))
    elif number is not None and isinstance(number.value, int) and number.value < 1:
        yield YAML_UNREADABLE.finding(f"a concurrency limit of {number.value} lets nothing run", job=job, at=at(number))
