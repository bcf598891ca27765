"""Loads rows into the warehouse by dlt.

dlt's own folder is new in each run and lies in the work folder: all state that counts is in the warehouse. So a run
that was killed leaves no pending package that the next run would load twice or without its staging tables.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flows._etl import transforming
from flows._etl.contract import Contract
from flows._etl.errors import LoadFailed, WarehouseRefused, WarehouseUnavailable
from flows._etl.settings import EtlSettings
from flows._etl.transforming import Transformed
from flows._etl.warehouse import Warehouse

NAME = "horae_etl"
CONTRACT = {"tables": "evolve", "columns": "freeze", "data_type": "freeze"}
DELETED = {"deleted": {"data_type": "bool", "hard_delete": True}}
REJECTED = {name: {"data_type": "text"} for name in ("table_name", "source", "row_id", "reasons", "original")}


def load(found: Sequence[Transformed], warehouse: Warehouse, settings: EtlSettings, work: Path) -> None:
    """Merge the rows of all sources into their tables, and the rejected ones into `rejected`.

    A row replaces the row with the same key. To load the same rows again changes nothing. Raises LoadFailed,
    WarehouseRefused or WarehouseUnavailable.
    """
    by_table: dict[str, list[Transformed]] = {}
    for one in found:
        by_table.setdefault(one.contract.table, []).append(one)
    resources = [
        _table(table, ones[0].contract, _all(ones, transforming.rows, settings, work), warehouse)
        for table, ones in by_table.items()
    ]
    bad = _all(found, transforming.rejected_rows, settings, work)
    resources.append(_resource("rejected", bad, REJECTED | DELETED, ("table_name", "source", "row_id")))
    _run(resources, warehouse, work)


def _all(found: Sequence[Transformed], rows: Any, settings: EtlSettings, work: Path) -> Iterator[list[dict[str, Any]]]:
    for one in found:
        yield from rows(one, work, settings.memory_mb, settings.batch_rows)


def _table(table: str, contract: Contract, rows: Iterator[Any], warehouse: Warehouse) -> Any:
    columns: dict[str, Any] = {"repository": {"data_type": "text"}} if contract.repository else {}
    columns |= {column.name: column.hint for column in contract.columns}
    there = warehouse.columns(table)
    # The contract of horae.toml has a new column: it is meant. What the contract does not have never gets here.
    evolves = bool(there) and not set(columns) <= set(there)
    return _resource(table, rows, columns | DELETED, contract.whole_key, evolves=evolves)


def _resource(table: str, rows: Any, columns: Any, key: tuple[str, ...], *, evolves: bool = False) -> Any:
    dlt = _dlt()
    return dlt.resource(
        rows,
        name=table,
        columns={name: dict(hint) for name, hint in columns.items()},
        primary_key=list(key),
        write_disposition={"disposition": "merge", "strategy": "delete-insert"},
        max_table_nesting=0,
        schema_contract=CONTRACT | ({"columns": "evolve"} if evolves else {}),
    )


def _dlt() -> Any:
    """dlt, without telemetry, and without the settings and folders of the user's own dlt projects."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "ERROR")
    import dlt

    return dlt


def _run(resources: list[Any], warehouse: Warehouse, work: Path) -> None:
    import tempfile

    dlt = _dlt()
    from dlt.common.exceptions import DltException

    with tempfile.TemporaryDirectory(prefix="dlt-", dir=work) as folder:
        os.environ["DLT_PROJECT_DIR"] = os.environ["DLT_DATA_DIR"] = folder
        try:
            pipeline = dlt.pipeline(
                NAME, pipelines_dir=folder, destination=warehouse.destination(), dataset_name=warehouse.dataset
            )
            done = pipeline.run(resources)
            done.raise_on_failed_jobs()
        except DltException as error:
            raise _translated(error, warehouse) from error


def _translated(error: Exception, warehouse: Warehouse) -> Exception:
    """Dlt's error as one of the job, with the innermost message."""
    chain: list[BaseException] = [error]
    while (inner := getattr(chain[-1], "exception", None) or chain[-1].__cause__ or chain[-1].__context__) is not None:
        if not isinstance(inner, BaseException) or inner in chain:
            break
        chain.append(inner)
    kinds = {type(one).__name__ for one in chain}
    said = next((line.strip() for line in str(chain[-1]).splitlines() if line.strip()), type(chain[-1]).__name__)
    said = warehouse.cleaned(said)
    if "DataValidationError" in kinds:
        return WarehouseRefused(
            f"the contract does not match a table of {warehouse.dataset} in {warehouse.shown}: {said}. "
            "Rename the source, or drop the table and load it again"
        )
    if kinds & {"DestinationConnectionError", "OperationalError", "InterfaceError"}:
        return WarehouseUnavailable(f"{warehouse.shown} did not take the rows: {said}")
    return LoadFailed(f"{warehouse.shown} did not take the rows: {said}")
