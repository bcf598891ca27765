"""Decides which folders are never cleaned up, even if the settings name them."""

from pathlib import Path

from horae import Settings
from internal._cleanup.settings import STATE, Place

PROTECTED_IN_STATE = ("valkey", "backups", "tools", "run")
PROTECTED_IN_PROJECT = (".git", ".venv")


def folder_of(place: Place, settings: Settings) -> Path:
    """The folder with links resolved."""
    path = place.path.replace(STATE, str(settings.state))
    return (settings.project / Path(path).expanduser()).resolve()


def refusal(folder: Path, settings: Settings) -> str:
    """Why nothing may be deleted in the folder; empty if it may be cleaned up.

    A folder is refused if it is, contains or is inside something that is not a cache: the project, the state store,
    backups, a git repository, the home folder.
    """
    project, state = settings.project.resolve(), settings.state.resolve()
    whole = [Path(folder.anchor), Path.home().resolve(), project, state, state / "prefect"]
    protected = [state / name for name in PROTECTED_IN_STATE]
    protected += [project / name for name in (*PROTECTED_IN_PROJECT, *settings.folders.all)]
    for one in whole:
        if folder == one or folder in one.parents:
            return f"{folder} is or contains {one}, which is not a cache"
    for one in protected:
        if folder == one or folder in one.parents or one in folder.parents:
            return f"{folder} is, contains or is inside {one}, which is not a cache"
    if (folder / ".git").exists():
        return f"{folder} is a git repository, not a cache"
    return ""
