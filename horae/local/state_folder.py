"""The state folder, `.horae` unless it is set elsewhere: for its owner alone, and nothing that git should see."""

from pathlib import Path

from horae.files import private_folder

USUAL_NAME = ".horae"
IGNORE_ALL = "*\n"


def state_folder(state: Path) -> Path:
    """The folder, made if need be, with mode 0700 and a `.gitignore` of everything. Raises OSError.

    Of a folder that was there under a name of its own neither is changed: it may hold other things.
    """
    if state.exists() and state.name != USUAL_NAME:
        return state
    private_folder(state)
    ignore = state / ".gitignore"
    if not ignore.exists():
        ignore.write_text(IGNORE_ALL)
    return state
