"""SIMs with their usage, as the last synchronisation published them: what a flow reads."""

from __future__ import annotations

import polars as pl
import sqlalchemy as sa

from core.storage.bulk import read_frame
from core.storage.engine import reading
from core.storage.retry import retried
from core.storage.schema import device, device_usage

DEVICE_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "status": pl.String(),
    "rate_plan": pl.String(),
    "communication_plan": pl.String(),
    "usage_bytes": pl.Int64(),  # null, as the two below, where no usage was reported (U1)
    "sms_count": pl.Int64(),
    "voice_seconds": pl.Int64(),
    "activated_date": pl.Date(),
    "is_usage_reported": pl.Boolean(),
}
"""Columns of :func:`load_devices`."""


@retried
def load_devices(engine: sa.Engine, provider_id: int, period_id: int) -> pl.DataFrame:
    """Read a provider's SIMs with their usage of a billing period.

    Returns
    -------
    pl.DataFrame
        Columns of ``DEVICE_SCHEMA``, sorted by ICCID; deleted SIMs are left out. Usage, SMS and
        voice are null where the carrier reported none.

    Raises
    ------
    StorageError
        If the database fails.
    """
    usage = device_usage.c
    joined = device.outerjoin(
        device_usage,
        sa.and_(
            usage.ServiceProviderId == device.c.ServiceProviderId,
            usage.BillingPeriodId == period_id,
            usage.ICCID == device.c.ICCID,
        ),
    )
    statement = (
        sa.select(
            device.c.ICCID,
            device.c.Status,
            device.c.RatePlan,
            device.c.CommunicationPlan,
            usage.UsageBytes,
            usage.SmsCount,
            usage.VoiceSeconds,
            device.c.ActivatedDate,
        )
        .select_from(joined)
        .where(device.c.ServiceProviderId == provider_id, device.c.IsDeleted == sa.false())
        .order_by(device.c.ICCID)
    )
    stored = {name: dtype for name, dtype in DEVICE_SCHEMA.items() if name != "is_usage_reported"}
    with reading(engine) as connection:
        frame = read_frame(connection, statement, stored, in_bulk=True)
    return frame.with_columns(is_usage_reported=pl.col("usage_bytes").is_not_null())


@retried
def any_iccid(engine: sa.Engine, provider_id: int) -> str | None:
    """Read the ICCID of one SIM of a provider; None where none is known."""
    statement = (
        sa.select(device.c.ICCID)
        .where(device.c.ServiceProviderId == provider_id, device.c.IsDeleted == sa.false())
        .limit(1)
    )
    with reading(engine) as connection:
        return connection.execute(statement).scalar()
