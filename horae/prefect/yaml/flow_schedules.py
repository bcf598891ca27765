"""The `schedules` of a deployment as our own schedules, where they mean the same."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from horae import clock
from horae.errors import InvalidSchedule
from horae.findings import Finding
from horae.prefect.rules import FLOATING_INTERVAL, FLOW_SCHEDULE, SCHEDULE_SLUG
from horae.prefect.yaml import keys
from horae.prefect.yaml.deployment import FlowSchedule
from horae.prefect.yaml.document import Entry
from horae.prefect.yaml.shape import at, check_schedule_keys, is_template
from horae.schedules.kinds import Schedule
from horae.schedules.making import cron, every

KINDS = ("cron", "interval", "rrule")


def read_schedules(deployment: Entry, job: str) -> tuple[tuple[FlowSchedule, ...], tuple[Finding, ...]]:
    """The schedules of a deployment that can be read, and findings on all."""
    found: list[FlowSchedule] = []
    findings: list[Finding] = []
    if legacy := deployment.get("schedule"):
        message = "`schedule` is the old spelling, which has no slug"
        findings.append(FLOW_SCHEDULE.finding(message, job=job, at=at(legacy), remedy="Use the list `schedules`."))
    listed = deployment.get("schedules")
    slugs: set[str] = set()
    for entry in listed.list() if listed else ():
        if not isinstance(entry.value, dict) or not entry.value:
            findings.append(FLOW_SCHEDULE.finding(f"{entry.plain()!r} is no schedule", job=job, at=at(entry)))
            continue
        findings += [*check_schedule_keys(entry, job), *_slug(entry, slugs, job)]
        try:
            read = _read(entry)
        except InvalidSchedule as error:
            findings.append(FLOW_SCHEDULE.finding(error.message, job=job, at=at(entry)))
        else:
            findings += _floating(entry, read, job)
            found.append(read)
    return tuple(found), tuple(findings)


def _slug(entry: Entry, seen: set[str], job: str) -> Iterator[Finding]:
    slug = entry.get("slug")
    if slug is None:
        yield SCHEDULE_SLUG.finding("a schedule has no slug", job=job, at=at(entry))
    elif str(slug.value) in seen:
        yield SCHEDULE_SLUG.finding(f"the slug {slug.value!r} is there twice", job=job, at=at(slug))
    else:
        seen.add(str(slug.value))


def _read(entry: Entry) -> FlowSchedule:
    values: dict[str, Any] = {key: value.plain() for key, value in entry.items() if key in keys.SCHEDULE}
    given = [kind for kind in KINDS if values.get(kind) is not None]
    if len(given) != 1:
        raise InvalidSchedule(f"a schedule has exactly one of cron, interval and rrule, not {given or 'none'}")
    for key in (given[0], "timezone", "active"):
        if is_template(values.get(key)):
            raise InvalidSchedule(f"`{key}` is a template: nobody can tell before it is deployed when this fires")
    zone = values.get("timezone")
    if zone is not None and not isinstance(zone, str):
        raise InvalidSchedule(f"timezone {zone!r} is not the name of a zone, such as Europe/Berlin")
    if given == ["rrule"]:
        raise InvalidSchedule("rrule is not a schedule that Horae can follow; write it as cron, or several of them")
    slug = values.get("slug")
    return FlowSchedule(
        schedule=_cron(values) if given == ["cron"] else _interval(values),
        cron=values.get("cron"),
        timezone=zone or "UTC",
        slug=None if slug is None else str(slug),
        active=values.get("active") is not False,
        at=at(entry),
    )


def _cron(values: dict[str, Any]) -> Schedule:
    if not isinstance(values["cron"], str):
        raise InvalidSchedule(f'cron {values["cron"]!r} is not text; quote it, such as "0 2 * * *"')
    if values.get("day_or") is False:
        raise InvalidSchedule(
            "day_or: false makes Prefect require both day fields; here as in cron either one suffices. "
            "Leave one of them `*`, and test the other in the flow"
        )
    return cron(values["cron"], values.get("timezone") or "UTC")


def _interval(values: dict[str, Any]) -> Schedule:
    anchor = values.get("anchor_date")
    if isinstance(anchor, date):
        meant = anchor if isinstance(anchor, datetime) else datetime(anchor.year, anchor.month, anchor.day, tzinfo=UTC)
        meant = meant if meant.tzinfo else meant.replace(tzinfo=UTC)
        raise InvalidSchedule(
            f"anchor_date {anchor} is not quoted; Prefect then skips the whole file. "
            f'Write anchor_date: "{clock.isoformat(meant)}"'
        )
    if anchor is not None and not isinstance(anchor, str):
        raise InvalidSchedule(f'anchor_date {anchor!r} is no instant; write one such as "2026-01-01T00:00:00Z"')
    try:
        instant = clock.parse_instant(anchor) if anchor else None
    except ValueError as error:
        raise InvalidSchedule(f"anchor_date: {error}") from error
    if values.get("timezone"):
        cron("0 0 * * *", values["timezone"])  # refuses an unknown zone, with the nearest
    return every(_duration(values["interval"]), anchor=instant)


def _duration(value: Any) -> timedelta:
    """Seconds, ISO 8601 or HH:MM:SS: what Prefect takes, read by what Prefect reads it with."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(timedelta).validate_python(value)
    except ValidationError as error:
        raise InvalidSchedule(f'interval {value!r} is neither seconds nor a duration such as "PT1H"') from error


def _floating(entry: Entry, read: FlowSchedule, job: str) -> Iterator[Finding]:
    if read.cron is not None:
        return
    if entry.get("anchor_date") is None:
        message = "an interval without anchor_date is counted from the moment of each deploy, not from the epoch"
        yield FLOATING_INTERVAL.finding(message, job=job, at=read.at)
    gap = read.schedule.shortest_gap()
    if read.timezone != "UTC" and gap is not None and gap >= timedelta(days=1):
        message = (
            f"an interval of a day or more keeps to the wall clock of {read.timezone} in Prefect, not to real time"
        )
        yield FLOATING_INTERVAL.finding(message, job=job, at=read.at)
