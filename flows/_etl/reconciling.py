"""Compares the rows of the warehouse with the rows of the sources."""

from dataclasses import dataclass

from flows._etl.transforming import Transformed
from flows._etl.warehouse import Warehouse


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciled:
    """The counts of one table of one source after the load."""

    source: str
    table: str
    full: bool
    source_rows: int
    extracted: int
    loaded: int
    removed: int
    warehouse_rows: int
    rejected: int
    """Rows in `rejected`, of this run and of earlier ones."""
    outdated: int
    """Rejected rows whose last good version is still in the table."""
    doubled: int
    """Rows of the warehouse with the key of another row."""
    absent: int
    """Rows of the source whose keys are neither in the table nor among the rejected."""

    @property
    def missing(self) -> int:
        """Rows that the warehouse lacks; negative: it has more than the source."""
        return self.source_rows - self.warehouse_rows - self.rejected + self.outdated

    @property
    def sound(self) -> bool:
        return not self.missing and not self.doubled and not self.absent

    @property
    def problem(self) -> str:
        """A sentence on the difference; empty if there is none."""
        found = []
        if self.doubled:
            found.append(f"{self.doubled:,} rows are double")
        if self.missing > 0:
            found.append(f"{self.missing:,} of {self.source_rows:,} rows are missing")
        elif self.missing < 0:
            found.append(f"it has {-self.missing:,} rows that the source does not have")
        elif self.absent:
            found.append(f"{self.absent:,} rows of the source came too late for the lag")
        return " and ".join(found)


def reconcile(found: Transformed, warehouse: Warehouse) -> Reconciled:
    """Count the rows of the source in the warehouse. Every row of the source must be there or among the rejected."""
    contract, table = found.contract, warehouse.table(found.contract.table)
    where = warehouse.where(contract, found.source)
    key = ", ".join(f'"{name}"' for name in contract.key)
    rows, keys = _counts(
        warehouse,
        f"SELECT count(*), (SELECT count(*) FROM (SELECT DISTINCT {key} FROM {table} WHERE {where}) AS k) "
        f"FROM {table} WHERE {where}",
    )
    mine = warehouse.rejected_where(contract, found.source)
    rejected, outdated = _counts(
        warehouse,
        f"SELECT count(*), count(CASE WHEN row_id IN (SELECT {warehouse.key_text(contract)} FROM {table} "
        f"WHERE {where}) THEN 1 END) FROM {warehouse.table('rejected')} WHERE {mine}",
    )
    return Reconciled(
        source=found.source,
        table=contract.table,
        full=found.full,
        source_rows=found.source_rows,
        extracted=found.extracted,
        loaded=found.good,
        removed=found.gone,
        warehouse_rows=rows,
        rejected=rejected,
        outdated=outdated,
        doubled=rows - keys,
        absent=found.absent,
    )


def _counts(warehouse: Warehouse, query: str) -> tuple[int, int]:
    found = warehouse.query(query)
    return (int(found[0][0]), int(found[0][1])) if found else (0, 0)
