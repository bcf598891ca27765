"""The settings of a project: the models, and the code that reads them."""

from horae.settings.loading import FILE, find_project, load, read_table
from horae.settings.tables import (
    FolderSettings,
    PrefectSettings,
    QueueSettings,
    Settings,
    SidecarSettings,
    StoreSettings,
    Table,
    WorkerSettings,
)

__all__ = [
    "FILE",
    "FolderSettings",
    "PrefectSettings",
    "QueueSettings",
    "Settings",
    "SidecarSettings",
    "StoreSettings",
    "Table",
    "WorkerSettings",
    "find_project",
    "load",
    "read_table",
]
