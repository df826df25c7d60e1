"""Rows of the carrier that were not taken over, or flagged as unusual, and why (C4)."""

from __future__ import annotations

import polars as pl
import sqlalchemy as sa

from core.storage.bulk import insert_frame, read_frame
from core.storage.engine import reading
from core.storage.retry import retried
from core.storage.schema import device_sync_reject
from core.sync.store import REJECT_SCHEMA

_COLUMNS = {
    "source": "Source",
    "page": "Page",
    "row": "RowNumber",
    "column": "ColumnName",
    "value": "Value",
    "reason": "Reason",
    "raw": "Raw",
    "iccid": "ICCID",
}
"""Column of ``REJECT_SCHEMA`` to column of DeviceSyncReject."""


@retried
def load_rejects(engine: sa.Engine, run_id: int) -> pl.DataFrame:
    """Read the rejected and flagged rows of a run, in the order in which they were found.

    Returns
    -------
    pl.DataFrame
        Columns of :data:`core.sync.store.REJECT_SCHEMA`.
    """
    table = device_sync_reject.c
    statement = _select().where(table.DeviceSyncRunId == run_id).order_by(table.Id)
    with reading(engine) as connection:
        return read_frame(connection, statement, REJECT_SCHEMA)


def add_rejects(connection: sa.Connection, run_id: int, rejects: pl.DataFrame) -> int:
    """Keep rejected rows, each once, also where a page is read again; the number of new ones."""
    if rejects.is_empty():
        return 0
    table = device_sync_reject.c
    pages = rejects["page"].unique().to_list()
    known = read_frame(
        connection,
        _select().where(
            table.DeviceSyncRunId == run_id,
            table.Source.in_(rejects["source"].unique().to_list()),
            table.Page.between(min(pages), max(pages)),
        ),
        REJECT_SCHEMA,
    )
    new = rejects.unique(maintain_order=True).join(
        known, on=list(REJECT_SCHEMA), how="anti", nulls_equal=True, maintain_order="left"
    )
    insert_frame(
        connection,
        device_sync_reject,
        new.select(
            pl.lit(run_id, dtype=pl.Int64).alias("DeviceSyncRunId"),
            **{column: name for name, column in _COLUMNS.items()},
        ),
    )
    return new.height


def count_rejects(connection: sa.Connection, run_id: int) -> dict[tuple[str, str], int]:
    """Count a run's rows by source and reason."""
    table = device_sync_reject.c
    rows = connection.execute(
        sa.select(table.Source, table.Reason, sa.func.count())
        .where(table.DeviceSyncRunId == run_id)
        .group_by(table.Source, table.Reason)
        .order_by(table.Source, table.Reason)
    )
    return {(source, reason): number for source, reason, number in rows}


def _select() -> sa.Select[tuple[object, ...]]:
    return sa.select(*(device_sync_reject.c[name] for name in _COLUMNS.values()))
