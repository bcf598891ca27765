"""Structured logs of the long-running processes: JSON lines, or plain text on a terminal."""

import json
import logging
import sys

from horae.clock import from_millis, isoformat
from horae.terminal import escaped

OWN = set(vars(logging.makeLogRecord({}))) | {"message", "taskName"}


class JsonFormatter(logging.Formatter):
    """`at`, `level`, `logger`, `message`, and the fields of the event: a stable `action`, `job`, `run_id`, …"""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": isoformat(from_millis(int(record.created * 1000))),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in OWN}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class PlainFormatter(logging.Formatter):
    """Plain text for people. Control characters in texts of jobs are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return escaped(super().format(record))


def configure(process: str) -> None:
    """Log to stderr: INFO and above from Horae, WARNING and above from libraries."""
    handler = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty():
        handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    else:
        handler.setFormatter(JsonFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("horae").setLevel(logging.INFO)
