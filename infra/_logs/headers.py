"""Reads text lines: timestamp, level and logger before the message, as servers and logging libraries write them."""

import re
from datetime import datetime, tzinfo

from infra._logs import times
from infra._logs.entry import Entry
from infra._logs.levels import SYSLOG, UNKNOWN, WORDS, level_of

WORD = "|".join(sorted((word.upper() for word in WORDS), key=len, reverse=True))
STAMPS = (re.compile(rf"\[?{times.ISO}\]?"), re.compile(rf"\[?{times.CLOCK}\]?(?=\s)"))
VALKEY = re.compile(rf"(?P<pid>\d+):[XCSM] (?P<at>{times.DAY_FIRST}) (?P<sign>[.\-*#]) (?P<message>.*)", re.DOTALL)
VALKEY_SIGNS = {".": "debug", "-": "debug", "*": "info", "#": "warning"}
KLOG = re.compile(
    rf"(?P<sign>[DIWEF])(?P<month>\d\d)(?P<day>\d\d) {times.CLOCK}\s+\d+ (?P<logger>[\w./-]+:\d+)\] (?P<message>.*)"
)
KLOG_SIGNS = {"D": "debug", "I": "info", "W": "warning", "E": "error", "F": "critical"}
SYSLOG_3164 = re.compile(
    rf"(?:<(?P<priority>\d{{1,3}})>)?(?P<at>{times.SYSLOG}) (?P<host>\S+) "
    r"(?P<logger>[^\s:\[]+)(?:\[\d+\])?: (?P<message>.*)"
)
SYSLOG_5424 = re.compile(
    rf"<(?P<priority>\d{{1,3}})>1 (?P<at>{times.ISO}) (?P<host>\S+) (?P<logger>\S+) \S+ \S+ "
    r"(?:-|(?:\[[^\]]*\])+) ?(?P<message>.*)"
)
LEVEL_FIRST = re.compile(rf"\[?(?P<level>{WORD})\]?(?::(?P<logger>[\w.]+):|:\s+|\]\s*|\s+(?=\S))(?P<message>.*)")
"""`ERROR:shop.cart:text` (Python), `INFO:     text` (uvicorn), `[WARN] text`."""
LEVEL_WITHIN = re.compile(
    rf"(?P<before>.{{0,100}}?)(?:^|[\s\[|(<])(?:(?P<level>{WORD})|(?P<small>\[(?:{WORD.lower()})\]))(?=[\s\]|:)>,-]|$)(?P<message>.*)"
)
NAME = re.compile(r"[\s\-|\[:]*(?P<name>[A-Za-z_][\w./-]*)[\s\-|\]:]*")
NAME_AFTER = re.compile(r"\|\s*(?P<name>[\w.\s/'()-]{1,80}?) - (?P<message>.*)")
"""Prefect: `12:00:01.123 | ERROR   | prefect.worker - text`."""
EXCEPTION = re.compile(
    r"Traceback \(most recent call last\):|Exception in thread |panic: |"
    r"(?:[\w$]+\.)*[A-Z][\w$]*(?:Error|Exception)\b(?::|$)"
)


def read(line: str, zone: tzinfo, near: datetime) -> Entry:
    """Read a line as text. The format is `plain` if the line has no timestamp and no level."""
    for reader in (_valkey, _syslog, _klog, _stamped, _level_first):
        if found := reader(line, zone, near):
            return found
    return Entry(format="plain", message=line, level="error" if EXCEPTION.match(line) else UNKNOWN)


def _valkey(line: str, zone: tzinfo, near: datetime) -> Entry | None:
    found = VALKEY.fullmatch(line) if line[:1].isdigit() else None
    if found is None:
        return None
    at = times.moment(found, zone, near)
    return Entry(format="text", at=at, level=VALKEY_SIGNS[found["sign"]], message=found["message"])


def _klog(line: str, zone: tzinfo, near: datetime) -> Entry | None:
    found = KLOG.fullmatch(line) if line[:1] in KLOG_SIGNS else None
    if found is None:
        return None
    at = times.moment(found, zone, near)
    return Entry(
        format="text", at=at, level=KLOG_SIGNS[found["sign"]], logger=found["logger"], message=found["message"]
    )


def _syslog(line: str, zone: tzinfo, near: datetime) -> Entry | None:
    found = SYSLOG_5424.fullmatch(line) or SYSLOG_3164.fullmatch(line)
    if found is None:
        return None
    level = SYSLOG[int(found["priority"]) % 8] if found["priority"] else _within(found["message"])[0]
    return Entry(
        format="syslog",
        at=times.moment(found, zone, near),
        level=level,
        logger=found["logger"],
        message=found["message"],
        fields={"host": found["host"]},
    )


def _stamped(line: str, zone: tzinfo, near: datetime) -> Entry | None:
    for stamp in STAMPS:
        if found := stamp.match(line):
            level, logger, message = _within(line[found.end() :])
            at = times.moment(found, zone, near)
            return Entry(format="text", at=at, level=level, logger=logger, message=message)
    return None


def _level_first(line: str, zone: tzinfo, near: datetime) -> Entry | None:
    found = LEVEL_FIRST.fullmatch(line)
    if found is None:
        return None
    return Entry(
        format="text", level=level_of(found["level"]), logger=found["logger"] or "", message=found["message"].strip()
    )


def _within(text: str) -> tuple[str, str, str]:
    """Level, logger and message in the text after a timestamp."""
    found = LEVEL_WITHIN.match(text)
    if found is None:
        return UNKNOWN, "", text.strip(" -|:\t")
    level = level_of((found["level"] or found["small"]).strip("[]"))
    named = NAME.fullmatch(found["before"])
    message = found["message"].lstrip("])>,")
    if after := NAME_AFTER.match(message.strip()):
        return level, after["name"], after["message"]
    return level, named["name"] if named else "", message.strip(" -|:\t")
