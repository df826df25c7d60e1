"""Cuts a grouped fleet into its solve units, and numbers what the rows name (O11).

The fleet is sorted by unit once and sliced, so that the work does not grow with units times SIMs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from core.billing.tariff import Int32Array, Int64Array
from core.problem import BoolArray


def sort_by_unit(
    fleet: pl.DataFrame, unit_ids: Sequence[str], wanted: Collection[str] | None
) -> pl.DataFrame:
    """Rows of the wanted units, in the order of ``unit_ids``, within a unit as in the fleet.

    Parameters
    ----------
    fleet
        With a column ``unit_id``; rows where it is null are left out.
    wanted
        Some of ``unit_ids``; None means all.

    Raises
    ------
    KeyError
        If there is no such unit.
    """
    unknown = sorted(set(wanted or ()) - set(unit_ids))
    if unknown:
        msg = f"there is no solve unit {unknown[0]!r}"
        raise KeyError(msg)
    rows = fleet.filter(
        pl.col("unit_id").is_not_null()
        if wanted is None
        else pl.col("unit_id").is_in(list(wanted)).fill_null(value=False)
    )
    if rows["unit_id"].n_unique() > 1:
        rows = rows.sort(pl.col("unit_id").cast(pl.Enum(unit_ids)), maintain_order=True)
    return rows.rechunk()


def unit_slices(rows: pl.DataFrame) -> Iterator[tuple[str, slice]]:
    """Each unit with its rows, for rows that are sorted by unit."""
    start = 0
    runs = rows["unit_id"].rle().struct.unnest()
    for unit_id, length in zip(runs["value"], runs["len"], strict=True):
        yield unit_id, slice(start, start + length)
        start += length


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimNumbers:
    """Rows of a fleet as arrays of shape ``(n,)``; a slice of it is again one.

    Attributes
    ----------
    group, comm_plan, plan
        Position of the SIM's group, communication plan and present rate plan in the orders given
        to :meth:`of`.
    """

    usage_bytes: Int64Array
    sms_count: Int64Array
    voice_seconds: Int64Array
    group: Int32Array
    comm_plan: Int32Array
    plan: Int32Array
    is_locked: BoolArray

    @classmethod
    def of(
        cls, rows: pl.DataFrame, *, group_ids: Sequence[str], plan_codes: Sequence[str]
    ) -> SimNumbers:
        """Give every row its numbers; communication plans go by name among those that occur.

        Raises
        ------
        polars.exceptions.InvalidOperationError
            If a row names a group or plan that is not in its order.
        """
        names = rows["communication_plan"].unique().sort()
        return cls(
            usage_bytes=rows["usage_bytes"].to_numpy(),
            sms_count=rows["sms_count"].to_numpy(),
            voice_seconds=rows["voice_seconds"].to_numpy(),
            group=_positions(rows["group_id"], group_ids),
            comm_plan=_positions(rows["communication_plan"], names),
            plan=_positions(rows["rate_plan"], plan_codes),
            is_locked=rows["is_locked"].to_numpy(),
        )

    def of_unit(self, part: slice) -> SimNumbers:
        """Take the rows of one unit; groups and communication plans are ranked within it."""
        return SimNumbers(
            usage_bytes=self.usage_bytes[part],
            sms_count=self.sms_count[part],
            voice_seconds=self.voice_seconds[part],
            group=_dense(self.group[part]),
            comm_plan=_dense(self.comm_plan[part]),
            plan=self.plan[part],
            is_locked=self.is_locked[part],
        )


def _positions(values: pl.Series, order: Sequence[str] | pl.Series) -> Int32Array:
    return values.cast(pl.Enum(order)).to_physical().cast(pl.Int32).to_numpy()


def _dense(numbers: Int32Array) -> Int32Array:
    """Rank of each number among those that occur."""
    lowest = int(numbers.min())
    offset = numbers - lowest
    width = int(offset.max()) + 1
    if width > 4 * len(numbers):
        return np.unique(numbers, return_inverse=True)[1].astype(np.int32)
    occurs = np.zeros(width, dtype=np.int32)
    occurs[offset] = 1
    return (np.cumsum(occurs, dtype=np.int32) - 1)[offset]
