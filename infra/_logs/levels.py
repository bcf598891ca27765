"""The five levels, and the names that logs use for them."""

UNKNOWN = "unknown"
LEVELS = ("critical", "error", "warning", "info", "debug", UNKNOWN)
"""The worst first."""
BAD = ("critical", "error")
WORDS = {
    word: level
    for level, words in {
        "debug": "trace debug verbose fine finer finest dbg",
        "info": "info inf information informational notice log",
        "warning": "warning warn wrn",
        "error": "error err eror severe fail failed",
        "critical": "critical crit fatal panic alert emerg emergency",
    }.items()
    for word in words.split()
}
PYTHON = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}
PINO = {10: "debug", 20: "debug", 30: "info", 40: "warning", 50: "error", 60: "critical"}
"""Also of bunyan: what Node.js writes as `level`."""
SYSLOG = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")
"""By severity, from 0."""


def level_of(value: object, key: str = "level") -> str:
    """The level that a field of that name holds, as a word or a number."""
    if isinstance(value, bool) or value is None:
        return UNKNOWN
    if isinstance(value, str) and not value.strip().isdecimal():
        return WORDS.get(value.strip().lower(), UNKNOWN)
    number = int(float(str(value)))
    if key == "levelno":
        return PYTHON.get(number, UNKNOWN)
    if 0 <= number < len(SYSLOG):
        return SYSLOG[number]
    return PINO.get(number, UNKNOWN)
