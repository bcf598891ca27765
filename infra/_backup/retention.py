"""Decides which backups of one database to keep."""

from collections.abc import Callable, Sequence
from datetime import datetime

from infra._backup.artefact import CHECKSUM, Artefact
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


def rotate(backups: Sequence[Artefact], settings: BackupSettings) -> list[str]:
    """Remove the other backups; returns their file names. A checksum is removed after its artefact."""
    gone = sorted(set(backups) - kept(backups, settings), key=lambda backup: backup.at)
    for backup in gone:
        backup.path.unlink(missing_ok=True)
        backup.path.with_name(backup.path.name + CHECKSUM).unlink(missing_ok=True)
    return [backup.path.name for backup in gone]
