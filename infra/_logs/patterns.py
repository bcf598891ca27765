"""Reduces an error to its pattern: its text without numbers, ids, times and quoted names."""

import re

from infra._logs.entry import Entry

LIMIT = 300
"""Characters of a pattern that are kept."""
MASKS = tuple(
    (re.compile(pattern), shown)
    for pattern, shown in (
        (r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b", "<uuid>"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?", "<time>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", "<address>"),
        (r"'[^']*'|\"[^\"]*\"", "<text>"),
        (r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b", "<hex>"),
        (r"\d+(?:\.\d+)?", "<n>"),
        (r"\s+", " "),
    )
)
FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line \d+, in (?P<function>\S+)', re.MULTILINE)


def pattern_of(entry: Entry) -> str:
    """The pattern of an error. Entries of one cause have the same pattern. For a Python traceback it names the function
    that raised."""
    text = entry.message
    if entry.traceback:
        lines = [line for line in entry.traceback.splitlines() if line.strip()]
        raised = next((line for line in reversed(lines) if line[0] not in " \t"), "")
        frames = list(FRAME.finditer(entry.traceback))
        place = f" in {'/'.join(frames[-1]['file'].split('/')[-2:])}:{frames[-1]['function']}" if frames else ""
        text = raised + place if not text or text == raised else f"{text}: {raised}{place}"
    text = text[: 4 * LIMIT]
    for mask, shown in MASKS:
        text = mask.sub(shown, text)
    return text.strip()[:LIMIT]
