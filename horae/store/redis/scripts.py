"""The Lua scripts of the store, and which shared parts each of them begins with."""

from pathlib import Path

FOLDER = Path(__file__).parent
PARTS = ("prelude", "handing_out", "settling")
"""Each part uses those before it."""
LAST_PARTS = {
    "notices": "prelude",
    "dead_letters": "prelude",
    "schema": "handing_out",
    "intake": "handing_out",
    "outbox": "settling",
    "claims": "settling",
    "leases": "settling",
    "cursors": "settling",
    "ledger": "settling",
    "moves": "settling",
    "pauses": "settling",
}
"""By script: the last part that it needs. A server defines all functions of a script again at each call, so a script
does not carry more than that.
"""


def scripts() -> dict[str, str]:
    """The text of each script, with its parts."""
    texts = {name: (FOLDER / f"{name}.lua").read_text() for name in (*PARTS, *LAST_PARTS)}
    return {
        name: "".join(texts[part] for part in (*PARTS[: PARTS.index(last) + 1], name))
        for name, last in LAST_PARTS.items()
    }
