"""Reads one line: JSON, logfmt, access logs, syslog, and text that begins with a timestamp or a level."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import Any

from infra._logs import headers, times
from infra._logs.entry import Entry
from infra._logs.levels import UNKNOWN, level_of

TIME_KEYS = ("at", "timestamp", "@timestamp", "time", "ts", "datetime", "asctime", "date", "t")
LEVEL_KEYS = ("level", "levelname", "severity", "log.level", "loglevel", "lvl", "levelno", "priority", "l")
MESSAGE_KEYS = ("message", "msg", "event", "text", "MESSAGE", "log")
LOGGER_KEYS = ("logger", "log.logger", "logger_name", "name", "component", "module")
TRACEBACK_KEYS = ("traceback", "exc_info", "exception", "stack", "stacktrace", "stack_trace", "error.stack_trace")
PAIR = r'[A-Za-z_@][\w.@/-]*=(?:"(?:[^"\\]|\\.)*"|[^\s"]*)'
LOGFMT = re.compile(rf"{PAIR}(?:\s+{PAIR})+\s*")
PAIRS = re.compile(r'([A-Za-z_@][\w.@/-]*)=("(?:[^"\\]|\\.)*"|[^\s"]*)')
ACCESS = re.compile(
    r'(?P<client>\S+) \S+ (?P<user>\S+) \[(?P<at>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) '
    r'(?P<bytes>\d+|-)(?: "(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?(?P<more>.*)'
)


def read(line: str, zone: tzinfo, near: datetime) -> Entry:
    """The entry that begins with this line; `near` is an instant just after it was written."""
    if line.startswith("{") and (found := _json(line, zone, near)):
        return found
    if "=" in line and LOGFMT.fullmatch(line) and (found := _logfmt(line, zone, near)):
        return found
    if '] "' in line and (found := _access(line, zone, near)):
        return found
    return headers.read(line, zone, near)


def _json(line: str, zone: tzinfo, near: datetime) -> Entry | None:
    try:
        values = json.loads(line, parse_constant=str)  # NaN is no JSON
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not values:
        return None
    if set(values) >= {"log", "stream", "time"}:  # Docker's json-file: the line that the container wrote is inside
        inner = read(str(values["log"]).rstrip("\n"), zone, near)
        at = inner.at or times.parse(values["time"], zone, near)
        more = {**inner.fields, "stream": values["stream"]}
        return replace(inner, format="json", at=at, fields=more)
    return _structured("json", values, zone, near)


def _logfmt(line: str, zone: tzinfo, near: datetime) -> Entry | None:
    values = {key: _unquoted(value) for key, value in PAIRS.findall(line)}
    if not values.keys() & {*TIME_KEYS, *LEVEL_KEYS, *MESSAGE_KEYS}:
        return None
    return _structured("logfmt", values, zone, near)


def _structured(name: str, values: dict[str, Any], zone: tzinfo, near: datetime) -> Entry:
    left = dict(values)

    def take(keys: tuple[str, ...], good: type | tuple[type, ...] = (str, int, float)) -> tuple[str, Any]:
        for key in keys:
            if isinstance(left.get(key), good) and left[key] != "":
                return key, left.pop(key)
        return "", None

    _, when = take(TIME_KEYS)
    key, level = take(LEVEL_KEYS)
    _, message = take(MESSAGE_KEYS)
    _, logger = take(LOGGER_KEYS, str)
    _, traceback = take(TRACEBACK_KEYS, str)
    found = level_of(level, key)
    if found == UNKNOWN and traceback:
        found = "error"
    return Entry(
        format=name,
        at=times.parse(when, zone, near),
        level=found,
        message=str(message) if message is not None else json.dumps(values, default=str),
        logger=logger or "",
        traceback=traceback or "",
        fields=left,
    )


def _access(line: str, zone: tzinfo, near: datetime) -> Entry | None:
    found = ACCESS.fullmatch(line)
    if found is None:
        return None
    status = int(found["status"])
    fields: Mapping[str, Any] = {
        key: value for key, value in found.groupdict().items() if value not in (None, "-", "") and key != "at"
    }
    return Entry(
        format="access",
        at=times.parse(found["at"], zone, near),
        level="error" if status >= 500 else "warning" if status >= 400 else "info",
        message=f"{found['request']} {status}",
        fields={**fields, "status": status},
    )


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value[1:-1]
