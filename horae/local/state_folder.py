"""The state folder, `.horae` by default. Only its owner can read it, and git ignores it."""

from pathlib import Path

from horae.files import private_folder

USUAL_NAME = ".horae"
IGNORE_ALL = "*\n"


def state_folder(state: Path) -> Path:
    """Return the folder; create it if it is missing. It has mode 0700 and a `.gitignore` of everything. Raises OSError.

    An existing folder with another name is not changed, because it may contain other files.
    """
    if state.exists() and state.name != USUAL_NAME:
        return state
    private_folder(state)
    ignore = state / ".gitignore"
    if not ignore.exists():
        ignore.write_text(IGNORE_ALL)
    return state
