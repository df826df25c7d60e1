"""What SIMs used in the last billing periods, for :mod:`core.usage.metrics` (U1)."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import sqlalchemy as sa

from core.storage.bulk import read_frame
from core.storage.engine import reading
from core.storage.retry import retried
from core.storage.schema import billing_period, device_usage
from core.usage.metrics import HISTORY_SCHEMA


@retried
def load_usage_history(
    engine: sa.Engine, provider_id: int, periods: int, *, until: date | None = None
) -> pl.DataFrame:
    """Read the reported usage of a provider's SIMs in its last billing periods.

    Parameters
    ----------
    periods
        How many, at least 1: the newest of those that have any usage.
    until
        Only periods that start on this date or before; None: all.

    Returns
    -------
    pl.DataFrame
        Columns of ``HISTORY_SCHEMA``, sorted by ICCID and period. A SIM has no row of a period for
        which the carrier reported none (U1); SIMs that were removed since are among them.

    Raises
    ------
    ValueError
        If ``periods`` is below 1.
    StorageError
        If the database fails.
    """
    if periods < 1:
        msg = f"a history has at least one period, not {periods}"
        raise ValueError(msg)
    usage, period = device_usage.c, billing_period.c
    with reading(engine) as connection:
        chosen = connection.execute(_newest(provider_id, periods, until)).scalars().all()
        statement = (
            sa.select(usage.ICCID, period.BillingPeriodStart, usage.UsageBytes, usage.DaysWithUsage)
            .join_from(device_usage, billing_period, period.Id == usage.BillingPeriodId)
            .where(usage.ServiceProviderId == provider_id, usage.BillingPeriodId.in_(chosen))
            .order_by(usage.ICCID, period.BillingPeriodStart)
        )
        return read_frame(connection, statement, HISTORY_SCHEMA)


def _newest(provider_id: int, periods: int, until: date | None) -> sa.Select[Any]:
    """Ids of the newest periods with usage."""
    usage, period = device_usage.c, billing_period.c
    has_usage = (
        sa.select(sa.literal(1))
        .where(usage.ServiceProviderId == provider_id, usage.BillingPeriodId == period.Id)
        .exists()
    )
    chosen = sa.select(period.Id).where(
        period.ServiceProviderId == provider_id, period.IsDeleted == sa.false(), has_usage
    )
    if until is not None:
        chosen = chosen.where(period.BillingPeriodStart <= until)
    return chosen.order_by(period.BillingPeriodStart.desc()).limit(periods)
