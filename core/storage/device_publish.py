"""Publishing a synchronisation run, set by set: what is staged becomes what is known (C5).

The statements are plain UPDATE .. FROM and INSERT .. WHERE NOT EXISTS, so that they mean the same on
every database; a server may offer a procedure that does the same in one call.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from core.storage.schema import (
    device,
    device_usage,
    jasper_device_staging,
    jasper_usage_staging,
)


def publish_devices(connection: sa.Connection, run: sa.RowMapping, now: datetime) -> None:
    """Update the devices that are known, then insert the others; both set-based."""
    staged = jasper_device_staging.c
    provider_id = run["ServiceProviderId"]
    same_device = sa.and_(device.c.ServiceProviderId == provider_id, device.c.ICCID == staged.ICCID)
    connection.execute(
        sa.update(device)
        .where(same_device, staged.DeviceSyncRunId == run["Id"])
        .values(
            Status=staged.Status,
            RatePlan=staged.RatePlan,
            CommunicationPlan=staged.CommunicationPlan,
            ActivatedDate=sa.func.coalesce(staged.ActivatedDate, device.c.ActivatedDate),
            IsActive=sa.true(),
            IsDeleted=sa.false(),
            LastSyncRunId=run["Id"],
            ModifiedDate=now,
        )
    )
    is_known = sa.exists().where(same_device)
    copied = ("ICCID", "Status", "RatePlan", "CommunicationPlan", "ActivatedDate")
    connection.execute(
        sa.insert(device).from_select(
            [*copied, "ServiceProviderId", "LastSyncRunId", "ModifiedDate"],
            sa.select(
                *(staged[name] for name in copied),
                sa.literal(provider_id),
                sa.literal(run["Id"]),
                sa.literal(now, device.c.ModifiedDate.type),
            ).where(staged.DeviceSyncRunId == run["Id"], ~is_known),
        )
    )


def publish_usage(
    connection: sa.Connection, run: sa.RowMapping, period_id: int, now: datetime
) -> None:
    """Update the usage that is known of this period, then insert the rest."""
    staged = jasper_usage_staging.c
    usage = device_usage.c
    same_usage = sa.and_(
        usage.ServiceProviderId == run["ServiceProviderId"],
        usage.BillingPeriodId == period_id,
        usage.ICCID == staged.ICCID,
    )
    connection.execute(
        sa.update(device_usage)
        .where(same_usage, staged.DeviceSyncRunId == run["Id"])
        .values(
            UsageBytes=staged.UsageBytes,
            SmsCount=staged.SmsCount,
            VoiceSeconds=staged.VoiceSeconds,
            ReportedAt=now,
        )
    )
    copied = ("ICCID", "UsageBytes", "SmsCount", "VoiceSeconds")
    connection.execute(
        sa.insert(device_usage).from_select(
            [*copied, "ServiceProviderId", "BillingPeriodId", "ReportedAt"],
            sa.select(
                *(staged[name] for name in copied),
                sa.literal(run["ServiceProviderId"]),
                sa.literal(period_id),
                sa.literal(now, usage.ReportedAt.type),
            ).where(staged.DeviceSyncRunId == run["Id"], ~sa.exists().where(same_usage)),
        )
    )


def remove_unseen(connection: sa.Connection, run: sa.RowMapping, now: datetime) -> int:
    """Mark the devices that a full run did not see; their number."""
    result = connection.execute(
        sa.update(device)
        .where(
            device.c.ServiceProviderId == run["ServiceProviderId"],
            device.c.LastSyncRunId != run["Id"],
            device.c.IsDeleted == sa.false(),
        )
        .values(IsActive=sa.false(), IsDeleted=sa.true(), ModifiedDate=now)
    )
    return int(result.rowcount)
