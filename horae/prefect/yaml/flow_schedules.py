"""Converts the `schedules` of a deployment to Horae's schedules, if Horae has an equal one."""

import json
import re
import reprlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from horae import clock
from horae.errors import InvalidSchedule, UsageError, unknown
from horae.findings import Finding, Rule
from horae.prefect.rules import (
    FLOATING_INTERVAL,
    FLOW_SCHEDULE,
    SCHEDULE_SLUG,
    TEMPLATE,
    UNFOLLOWED_SCHEDULE,
    YAML_UNKNOWN_KEY,
)
from horae.prefect.yaml import keys, models
from horae.prefect.yaml.deployment import FlowSchedule
from horae.prefect.yaml.document import Entry
from horae.prefect.yaml.shape import SKIPS, Shape, is_template
from horae.schedules.kinds import Schedule
from horae.schedules.making import cron, every

KINDS = ("cron", "interval", "rrule")
PLAIN_CRON = re.compile(r"[\d*/,\- ]+|@[a-z]+")
"""Crons that all dialects read in the same way: numbers, lists, ranges and steps."""


class _Unfollowed(Exception):
    """Prefect fires the schedule, but Horae cannot compute the instants."""

    def __init__(self, message: str, rule: Rule = UNFOLLOWED_SCHEDULE) -> None:
        self.rule = rule
        super().__init__(message)


class _Refused(Exception):
    """Prefect refuses the schedule or never fires it."""


class Schedules:
    """Reads the schedules of one deployment. `raw` is the value of `entry` as Prefect loads it."""

    def __init__(self, shape: Shape, entry: Entry, raw: dict[Any, Any], job: str) -> None:
        self._shape, self._job = shape, job or None
        self._entry, self._raw = entry, raw
        self.found: list[FlowSchedule] = []
        """The schedules that Horae can compute."""
        self.findings: list[Finding] = []
        self._slugs: list[str | None] = []

    def read(self) -> None:
        """Fill `found` and `findings`."""
        old, listed = self._raw.get("schedule"), self._raw.get("schedules")
        place = self._entry.get("schedules")
        if old and "schedules" in self._raw:
            message = "`schedule` and `schedules` are both given, and `prefect deploy` fails on that"
            self._say(
                FLOW_SCHEDULE, message, self._entry.get("schedule"), "Move the schedule into the list `schedules`."
            )
        elif old is not None and old != {} and (entry := self._entry.get("schedule")):
            # Prefect ignores an empty mapping under `schedule`, but refuses one in the list.
            self._one(entry, old)
        if place and isinstance(listed, list):
            for entry, raw in zip(place.list(), listed, strict=True):
                self._one(entry, raw)
        if None in self._slugs and any(self._slugs):
            message = "some schedules have a slug and some have none; Prefect refuses this at the next deploy"
            self._say(SCHEDULE_SLUG, message, place)

    def _one(self, entry: Entry, raw: Any) -> None:
        before = len(self.findings)
        self._check(entry, raw)
        if len(self.findings) > before:
            return
        self._slug(entry)
        try:
            read = self._schedule(entry, raw)
        except _Unfollowed as error:
            self._say(error.rule, str(error), entry)
        except (_Refused, InvalidSchedule) as error:
            self._say(FLOW_SCHEDULE, str(error), entry)
        else:
            self.findings += self._floating(entry, read)
            self.found.append(read)

    def _check(self, entry: Entry, raw: Any) -> None:
        """Check keys and types: whether Prefect accepts the file with this schedule."""
        if not isinstance(raw, dict) or not raw:
            message = f"{reprlib.repr(raw)} is not a schedule. A schedule is a mapping with cron, interval or rrule"
            self._say(FLOW_SCHEDULE, message, entry)
            return
        for key, value in entry.items():
            if key not in keys.SCHEDULE:
                remedy = f"Correct or remove the key. {SKIPS}"
                self._say(YAML_UNKNOWN_KEY, unknown("key of a schedule", key, keys.SCHEDULE), value, remedy)
        if bare(raw):
            return
        anchor, instant = entry.get("anchor_date"), raw.get("anchor_date")
        if anchor and not isinstance(instant, str):
            message = f'anchor_date {instant} is not text. Write "{_quoted(instant)}"'
            self._say(FLOW_SCHEDULE, message, anchor, f"Quote it. {SKIPS}")
            raw = {key: value for key, value in raw.items() if key != "anchor_date"}
        known = {key: value for key, value in raw.items() if str(key) in keys.SCHEDULE}
        self.findings += self._shape.refused(models.Schedule, known, entry, self._job)
        given = [kind for kind in KINDS if raw.get(kind) is not None]
        if len(given) != 1:
            message = (
                "a schedule must have exactly one of cron, interval and rrule, but it has "
                f"{' and '.join(given) or 'none'}"
            )
            self._say(FLOW_SCHEDULE, message, entry)

    def _slug(self, entry: Entry) -> None:
        slug = entry.get("slug")
        if slug is None or not slug.value:
            self._say(SCHEDULE_SLUG, "a schedule has no slug", entry)
        elif slug.value in self._slugs:
            message = f"the slug {slug.value!r} is given twice, which Prefect refuses"
            self._say(FLOW_SCHEDULE, message, slug, "Give each schedule of a deployment its own slug.")
        self._slugs.append(slug.value if slug else None)

    def _schedule(self, entry: Entry, raw: dict[str, Any]) -> FlowSchedule:
        for key in (*KINDS, "timezone", "active", "day_or", "anchor_date"):
            if is_template(raw.get(key)):
                message = f"`{key}` is a template, so Horae cannot know before the deploy when this fires"
                raise _Unfollowed(message, TEMPLATE)
        active, day_or = (models.switch(raw.get(key), default=True) for key in ("active", "day_or"))
        for key, value in (("active", active), ("day_or", day_or)):
            if value is None:
                raise _Refused(f"`{key}` is {raw[key]!r}. Allowed: true, false")
        slug, zone = raw.get("slug"), raw.get("timezone")
        return FlowSchedule(
            schedule=_meant(raw, zone or "UTC", day_or=bool(day_or)),
            cron=raw.get("cron"),
            timezone=zone or "UTC",
            slug=slug or None,
            active=bool(active),
            at=self._shape.at(entry),
        )

    def _floating(self, entry: Entry, read: FlowSchedule) -> Iterator[Finding]:
        if read.cron is not None:
            return
        if entry.get("anchor_date") is None:
            message = "an interval without anchor_date counts from the moment of each deploy, not from the epoch"
            yield FLOATING_INTERVAL.finding(message, job=self._job, at=read.at)
        gap = read.schedule.shortest_gap()
        if read.timezone != "UTC" and gap is not None and gap >= timedelta(days=1):
            message = (
                f"Prefect counts an interval of a day or more by the wall clock of {read.timezone}, not by real time"
            )
            yield FLOATING_INTERVAL.finding(message, job=self._job, at=read.at)

    def _say(self, rule: Rule, message: str, entry: Entry | None, remedy: str = "") -> None:
        self.findings.append(rule.finding(message, job=self._job, at=self._shape.at(entry), remedy=remedy))


def bare(raw: dict[str, Any]) -> bool:
    """Whether the schedule has only the keys of a bare interval; see `models.BareInterval`."""
    try:
        models.BareInterval.model_validate(raw)
    except ValidationError:
        return False
    return True


def _meant(raw: dict[str, Any], zone: str, *, day_or: bool) -> Schedule:
    try:
        cron("0 0 * * *", zone)
    except InvalidSchedule as error:
        raise _Refused(f"timezone: {error.message}") from error
    if raw.get("interval") is not None:
        return _interval(raw)
    if raw.get("rrule") is not None:
        if why := _rrule_refusal(raw["rrule"]):
            raise _Refused(f"Prefect refuses rrule {raw['rrule']!r}: {why}")
        raise _Unfollowed("Prefect fires an rrule, but Horae cannot compute when; Horae can follow a cron")
    return _cron(raw["cron"], zone, day_or=day_or)


def _rrule_refusal(text: str) -> str:
    """Why Prefect refuses an rrule. Also empty if the library that Prefect parses it with is not installed."""
    try:
        given = json.loads(text)
    except ValueError:
        given = {"rrule": text}
    if not isinstance(given, dict) or not isinstance(given.get("rrule"), str) or not given["rrule"]:
        return "it is not a rule, such as FREQ=DAILY"
    try:
        from dateutil.rrule import rrulestr  # type: ignore[import-untyped]
    except ImportError:
        return ""
    try:
        rrulestr(given["rrule"])
    except ValueError as error:
        return str(error)
    return ""


def _cron(text: str, zone: str, *, day_or: bool) -> Schedule:
    if not text:
        raise _Refused("cron is empty")
    if not day_or and "*" not in text.split()[2:5:2]:
        raise _Unfollowed(
            "day_or is false, so Prefect requires both day fields to match; a cron of Horae requires only one"
        )
    try:
        found = cron(text, zone)
    except InvalidSchedule as error:
        if why := _refusal(text, error.message):
            raise _Refused(f"Prefect refuses cron {text!r}: {why}") from error
        raise _Unfollowed(f"Prefect fires cron {text!r}, but Horae cannot follow it: {error.message}") from error
    # Loading Prefect's engine takes a tenth of a second, and most crons are valid in both dialects.
    if not PLAIN_CRON.fullmatch(text) and (why := _refusal(text, "")):
        raise _Refused(f"Prefect refuses cron {text!r}: {why}")
    return found


def _refusal(text: str, otherwise: str) -> str:
    """Why Prefect refuses a cron; `otherwise` if its engine is not installed."""
    from horae.prefect import cron_engine

    try:
        why = cron_engine.refusal(text)
        if not why and cron_engine.never_fires(text, clock.now().replace(tzinfo=None)):
            why = "it never fires"
    except cron_engine.NoEngine:
        return otherwise
    return f"{why} ({otherwise})" if why and otherwise else why


def _interval(raw: dict[str, Any]) -> Schedule:
    span = models.Schedule.model_validate({"interval": raw["interval"]}).interval
    if span is None or span <= timedelta(0):
        raise _Refused(f"interval {raw['interval']!r} is not positive")
    anchor = raw.get("anchor_date")
    try:
        return every(span, anchor=_anchor(anchor) if anchor else None)
    except UsageError as error:
        raise _Unfollowed(f"Prefect fires this interval, but Horae cannot follow it: {error.message}") from error


def _anchor(given: Any) -> datetime:
    """Parse an anchor date. Without a zone it is UTC."""
    if not isinstance(given, str):
        given = models.BareInterval.model_validate({"interval": 1, "anchor_date": given}).anchor_date
    else:
        try:
            given = datetime.fromisoformat(given)
        except ValueError:
            given = _freely(given)
    instant: datetime = given
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _freely(given: str) -> datetime:
    """Parse text that is not ISO 8601 with the library that Prefect uses, if it is installed."""
    try:
        from dateutil.parser import ParserError, parse  # type: ignore[import-untyped]
    except ImportError as error:
        raise _Unfollowed(f"anchor_date {given!r} is not an ISO 8601 instant, such as 2026-01-01T00:00:00Z") from error
    try:
        found: datetime = parse(given)
    except (ParserError, OverflowError) as error:
        raise _Refused(
            f'anchor_date {given!r} is not an instant; write an instant such as "2026-01-01T00:00:00Z"'
        ) from error
    return found


def _quoted(value: object) -> str:
    text = str(value)
    return text if any(part in text for part in ("Z", "+")) else f"{text}Z" if ":" in text else f"{text}T00:00:00Z"
