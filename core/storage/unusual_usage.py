"""Staged usage that is impossible or unusual, found by the database (C4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import sqlalchemy as sa

from core.domain import MAX_COUNT, MAX_USAGE_BYTES
from core.storage import sync_runs
from core.storage.bulk import read_frame
from core.storage.schema import device_usage, jasper_usage_staging
from core.sync.store import USAGE_PROBLEMS, USAGE_SUM_SCHEMA

SPIKE_FACTOR, SPIKE_BYTES = 10, 1 << 30
"""Usage is unusual that is over 1 GiB and over 10 times that of the cycle before (C4)."""

UNUSUAL_ROWS = 50_000
"""Unusual SIMs that are handed out at once."""


def load_unusual(
    connection: sa.Connection, run: sa.RowMapping, last: Mapping[str, Any] | None = None
) -> pl.DataFrame:
    """Read SIMs with a problem in their staged usage, in the order of ``USAGE_PROBLEMS``.

    Parameters
    ----------
    last
        Row after which to go on; None: from the first one.

    Returns
    -------
    pl.DataFrame
        Columns of ``USAGE_SUM_SCHEMA``, at most ``UNUSUAL_ROWS`` rows.
    """
    staged = jasper_usage_staging.c
    total = sa.func.sum(staged.UsageBytes)
    sums = (
        sa.select(
            staged.BillingPeriodId.label("period_id"),
            staged.MatchKey.label("match_key"),
            sa.func.max(staged.ICCID).label("iccid"),
            total.label("usage_bytes"),
            sa.func.sum(staged.SmsCount).label("sms_count"),
            sa.func.sum(staged.VoiceSeconds).label("voice_seconds"),
            sa.func.min(staged.UsageBytes).label("least_bytes"),
        )
        .where(staged.DeviceSyncRunId == run["Id"])
        .group_by(staged.BillingPeriodId, staged.MatchKey)
        .subquery()
    )
    provider_id = run["ServiceProviderId"]
    known, before = device_usage.alias("known"), device_usage.alias("before")

    def same_sim(table: sa.FromClause, period: Any) -> sa.ColumnElement[bool]:
        return sa.and_(
            table.c.ServiceProviderId == provider_id,
            table.c.BillingPeriodId == period,
            sums.c.iccid == table.c.ICCID,
        )

    unreadable = sums.c.least_bytes < 0
    impossible = sa.or_(
        sums.c.usage_bytes > MAX_USAGE_BYTES,
        sums.c.sms_count > MAX_COUNT,
        sums.c.voice_seconds > MAX_COUNT,
    )
    spike = sa.and_(
        sums.c.period_id == run["BillingPeriodId"],
        sums.c.usage_bytes > SPIKE_BYTES,
        sums.c.usage_bytes > before.c.UsageBytes * SPIKE_FACTOR,
    )
    fell = sums.c.usage_bytes < known.c.UsageBytes
    is_problem = (unreadable, impossible, fell, spike)
    rank = sa.case(*((is_it, n) for n, is_it in enumerate(is_problem)))
    previous = sync_runs.previous_period(connection, run)
    statement = (
        sa.select(
            *(column for column in sums.c if column.name != "least_bytes"),
            known.c.UsageBytes.label("known_bytes"),
            before.c.UsageBytes.label("before_bytes"),
            sa.case(*zip(is_problem, USAGE_PROBLEMS, strict=True)).label("problem"),
        )
        .select_from(
            sums.outerjoin(known, same_sim(known, sums.c.period_id)).outerjoin(
                before, same_sim(before, previous)
            )
        )
        .where(sa.or_(*is_problem))
        .order_by(rank, sums.c.period_id, sums.c.match_key)
        .limit(UNUSUAL_ROWS)
    )
    if last is not None:
        keys = (rank, sums.c.period_id, sums.c.match_key)
        after = (USAGE_PROBLEMS.index(last["problem"]), last["period_id"], last["match_key"])
        statement = statement.where(_is_after(keys, after))
    return read_frame(connection, statement, USAGE_SUM_SCHEMA)


def _is_after(
    keys: tuple[sa.ColumnElement[Any], ...], values: tuple[Any, ...]
) -> sa.ColumnElement[bool]:
    """Compare rows in the order of several keys."""
    (key, *keys_left), (value, *values_left) = keys, values
    if not keys_left:
        return sa.and_(key > value)
    is_same: sa.ColumnElement[bool] = key == value
    return sa.or_(key > value, is_same & _is_after(tuple(keys_left), tuple(values_left)))
