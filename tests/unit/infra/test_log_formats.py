"""What one line says: its time, level, logger and message, in every format that is read."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from infra._logs import formats, times
from infra._logs.entry import Entry
from infra._logs.grouping import Grouper
from infra._logs.levels import level_of
from infra._logs.patterns import pattern_of

BERLIN = timezone(timedelta(hours=1))
NEAR = datetime(2026, 11, 26, 1, 30, tzinfo=UTC)
AT = datetime(2026, 11, 26, 0, 13, 49, tzinfo=UTC)
MILLIS = timedelta(milliseconds=123)


def read(line: str) -> Entry:
    return formats.read(line, BERLIN, NEAR)


@pytest.mark.parametrize(
    ("line", "format", "level", "at", "logger", "message"),
    [
        (
            '{"at": "2026-11-26T00:13:49Z", "level": "error", "logger": "horae.x", "message": "boom"}',
            *("json", "error", AT, "horae.x", "boom"),
        ),
        ('{"level": 50, "time": 1795652029123, "msg": "x"}', "json", "error", AT + MILLIS, "", "x"),
        ('{"levelno": 50, "created": 1, "message": "x"}', "json", "critical", None, "", "x"),
        (
            '{"log": "INFO:     up\\n", "stream": "stderr", "time": "2026-11-26T00:13:49Z"}',
            "json",
            "info",
            AT,
            "",
            "up",
        ),
        ('ts=2026-11-26T00:13:49Z level=warn msg="disk \\"a\\" is full" free=3', "logfmt", "warning", AT, "", None),
        ('1.2.3.4 - bob [26/Nov/2026:01:13:49 +0100] "GET /a HTTP/1.1" 503 12', "access", "error", AT, "", None),
        ('1.2.3.4 - - [26/Nov/2026:01:13:49 +0100] "GET / HTTP/1.1" 404 1 "-" "c"', "access", "warning", AT, "", None),
        ("2026-11-26 01:13:49,123 ERROR shop: failed", "text", "error", AT + MILLIS, "", "shop: failed"),
        ("2026-11-26 01:13:49,123 - a.b - WARNING - careful", "text", "warning", AT + MILLIS, "a.b", "careful"),
        ("[2026-11-26 01:13:49 +0100] [7] [INFO] Listening", "text", "info", AT, "", "Listening"),
        ("01:13:49.123 | INFO    | prefect.worker - up", "text", "info", AT + MILLIS, "prefect.worker", "up"),
        ("2026/11/26 01:13:49 [error] 12#0: open() failed", "text", "error", AT, "", "12#0: open() failed"),
        ("2026-11-26 00:13:49.123 UTC [33] LOG:  ready", "text", "info", AT + MILLIS, "", "ready"),
        ("1234:M 26 Nov 2026 01:13:49.123 # no memory", "text", "warning", AT + MILLIS, "", "no memory"),
        ("E1126 01:13:49.123000   12 a/b.go:12] oh", "text", "error", AT + MILLIS, "a/b.go:12", "oh"),
        ("Nov 26 01:13:49 host sshd[12]: bad key", "syslog", "unknown", AT, "sshd", "bad key"),
        ("<34>1 2026-11-26T00:13:49Z host su - ID47 - denied", "syslog", "critical", AT, "su", "denied"),
        ("ERROR:root:boom", "text", "error", None, "root", "boom"),
        ("INFO:     Started server process [1]", "text", "info", None, "", "Started server process [1]"),
        ("2026-11-26T00:13:49Z INFO no error here", "text", "info", AT, "", "no error here"),
        ("a=b c=d", "plain", "unknown", None, "", "a=b c=d"),
        ("{not json", "plain", "unknown", None, "", "{not json"),
        ("ValueError: 3", "plain", "error", None, "", "ValueError: 3"),
    ],
)
def test_a_line_of_each_format(
    line: str, format: str, level: str, at: datetime | None, logger: str, message: str | None
) -> None:
    found = read(line)
    assert (found.format, found.level, found.at, found.logger) == (format, level, at, logger)
    assert message is None or found.message == message


def test_what_a_structured_entry_holds_beside_is_kept() -> None:
    assert read('ts=1795652029 msg="a \\"b\\"" free=3').fields == {"free": "3"}
    assert read('ts=1795652029 msg="a \\"b\\"" free=3').message == 'a "b"'
    assert read('{"msg": "x", "job": "sweep", "n": [1]}').fields == {"job": "sweep", "n": [1]}
    assert read('{"msg": "x", "load": NaN}').fields == {"load": "NaN"}  # Parquet's JSON has no NaN


def test_a_time_without_a_year_or_a_date_is_the_latest_before_the_log_was_written() -> None:
    new_year = datetime(2027, 1, 1, 0, 5, tzinfo=UTC)
    assert times.parse("Dec 31 23:59:00", UTC, new_year) == datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    assert times.parse("23:59:00", UTC, new_year) == datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    assert times.parse("2026-02-30 01:00:00", UTC, new_year) is None
    assert times.parse("2026-06-30 23:59:60", UTC, new_year) == datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("epoch", [1795652029, 1795652029.0, 1795652029000, 1795652029000000, "1795652029000000000"])
def test_an_epoch_of_any_precision(epoch: object) -> None:
    assert times.parse(epoch, UTC, NEAR) == AT


def test_numbers_of_levels() -> None:
    assert [level_of(n) for n in (10, 30, 60, 3)] == ["debug", "info", "critical", "error"]
    assert [level_of(n, "levelno") for n in (10, 30)] == ["debug", "warning"]
    assert level_of("gibberish") == level_of(None) == level_of(True) == "unknown"


def grouped(text: str) -> list[Entry]:
    grouper = Grouper(read, 65_536)
    found = []
    for number, line in enumerate(text.splitlines()):
        if group := grouper.feed(number, line, len(line) + 1):
            found.append(group.entry)
    return found + ([grouper.pending.entry] if grouper.pending else [])


PYTHON = """\
2026-11-26 01:13:49,123 ERROR shop: order failed
Traceback (most recent call last):
  File "/srv/shop/cart.py", line 3, in add
    stock[item] -= 1
KeyError: 'tea'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/shop/cart.py", line 9, in order
    add(item)
shop.errors.OutOfStock: 3 left
2026-11-26 01:13:50,000 INFO shop: next"""
JAVA = """\
2026-11-26 01:13:49.123 ERROR order failed
java.lang.IllegalStateException: no stock
\tat shop.Cart.add(Cart.java:3)
Caused by: java.io.IOException: closed
\t... 12 more
2026-11-26 01:13:50.000 INFO next"""
CRASH = """\
INFO:     started
print without a level
Traceback (most recent call last):
  File "/srv/main.py", line 1, in <module>
ValueError: bad
print after it"""


@pytest.mark.parametrize("text", [PYTHON, JAVA])
def test_a_traceback_belongs_to_the_line_above_it(text: str) -> None:
    first, second = grouped(text)
    assert first.message.endswith("order failed")
    assert first.traceback == "\n".join(text.splitlines()[1:-1])
    assert (second.level, second.traceback) == ("info", "")


def test_a_crash_is_an_entry_of_its_own() -> None:
    started, printed, crash, after = grouped(CRASH)
    assert (started.message, printed.message, after.message) == ("started", "print without a level", "print after it")
    assert (crash.level, crash.message) == ("error", "ValueError: bad")
    assert crash.traceback.splitlines()[-1] == "ValueError: bad"


def test_a_json_line_claims_nothing_of_what_follows() -> None:
    found = grouped('{"msg": "a"}\nTraceback (most recent call last):\n  File "x", line 1, in y\nOSError\n{"msg": "b"}')
    assert [one.message for one in found] == ["a", "OSError", "b"]


def test_indented_lines_belong_to_the_message() -> None:
    (only,) = grouped("INFO:     config\n  a: 1\n  b: 2")
    assert only.message == "config\n  a: 1\n  b: 2"


def test_errors_of_one_cause_have_one_pattern() -> None:
    def pattern(message: str) -> str:
        return pattern_of(read(f"2026-11-26 01:13:49 ERROR {message}"))

    one = pattern("order 17 of 'bob' at 10.0.0.1:80 failed after 3.2 s: id 0aaf6a34-1111-4222-8333-0123456789ab")
    two = pattern("order 18 of 'eve' at 10.0.0.2:80 failed after 9 s: id 1baf6a34-1111-4222-8333-0123456789ab")
    assert one == two == "order <n> of <text> at <address> failed after <n> s: id <uuid>"
    assert pattern("no memory") != pattern("no disk")
    first, _ = grouped(PYTHON)
    assert pattern_of(first) == "shop: order failed: shop.errors.OutOfStock: <n> left in shop/cart.py:order"
