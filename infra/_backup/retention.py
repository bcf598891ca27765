"""Decides which backups of one database to keep."""

from collections.abc import Callable, Sequence
from datetime import datetime

from infra._backup.artefact import Artefact
from infra._backup.settings import BackupSettings


def kept(backups: Sequence[Artefact], settings: BackupSettings) -> set[Artefact]:
    """The newest `keep_last`, and the last backup of each of the latest days, weeks and months that have one."""
    newest_first = sorted(backups, key=lambda backup: backup.at, reverse=True)
    stay = set(newest_first[: settings.keep_last])
    periods: list[tuple[int, Callable[[datetime], object]]] = [
        (settings.keep_daily, lambda at: at.date()),
        (settings.keep_weekly, lambda at: at.isocalendar()[:2]),
        (settings.keep_monthly, lambda at: (at.year, at.month)),
    ]
    for number, period in periods:
        last: dict[object, Artefact] = {}
        for backup in newest_first:
            last.setdefault(period(backup.at), backup)
        stay |= set(list(last.values())[:number])
    return stay


def superseded(backups: Sequence[Artefact], newest: Artefact, settings: BackupSettings, now: datetime) -> list[str]:
    """The names of the other backups, the oldest first.

    `newest`, which was just made and proved, always stays. A backup dated after `now` was made while a clock was wrong:
    it takes no place of another one, and stays.
    """
    past = [backup for backup in backups if backup.at <= now]
    stay = kept(past, settings) | {newest}
    return [backup.name for backup in sorted(past, key=lambda backup: backup.at) if backup not in stay]
