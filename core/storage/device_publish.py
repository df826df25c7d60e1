"""Publishing a synchronisation run, set by set: what is staged becomes what is known (C5).

The statements are plain UPDATE .. FROM and INSERT .. WHERE NOT EXISTS, so that they mean the same on
every database; a server may offer a procedure that does the same in one call.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from core.carriers.iccid import KEY_DIGITS
from core.storage.schema import (
    billing_period,
    device,
    device_usage,
    jasper_device_staging,
    jasper_usage_staging,
)


def adopt_forms(connection: sa.Connection, run: sa.RowMapping, now: datetime) -> None:
    """Bring SIMs that are stored under the other form of their ICCID to the staged form (C4).

    Their usage of every period goes with them, and nothing is lost where both forms are stored: then
    the row of the other form is marked as deleted.
    """
    staged = jasper_device_staging.c
    provider_id = run["ServiceProviderId"]
    statement = sa.select(device.c.ICCID.label("stored"), staged.ICCID.label("told")).where(
        device.c.ServiceProviderId == provider_id,
        staged.DeviceSyncRunId == run["Id"],
        staged.MatchKey == _match_key_of_device(),
        staged.ICCID != device.c.ICCID,
    )
    forms = [dict(row) for row in connection.execute(statement).mappings()]
    if not forms:
        return
    periods = sa.select(billing_period.c.Id).where(
        billing_period.c.ServiceProviderId == provider_id
    )
    connection.execute(
        _adoption(device_usage, provider_id, "BillingPeriodId").where(
            device_usage.c.BillingPeriodId.in_(periods)
        ),
        forms,
    )
    connection.execute(_adoption(device, provider_id), forms)
    iccid = device.c.ICCID
    connection.execute(
        sa.update(device)
        .where(device.c.ServiceProviderId == provider_id, iccid == sa.bindparam("stored"))
        .values(IsActive=sa.false(), IsDeleted=sa.true(), ModifiedDate=now),
        [{"stored": form["stored"]} for form in forms],
    )


def _adoption(table: sa.Table, provider_id: int, *further_keys: str) -> sa.Update:
    """Change the ICCID of a row from ``stored`` to ``told``, unless that row is there already."""
    iccid, there = table.c.ICCID, table.alias().c
    its_iccid = there.ICCID
    is_there = sa.exists().where(
        there.ServiceProviderId == provider_id,
        its_iccid == sa.bindparam("told"),
        *(there[name] == table.c[name] for name in further_keys),
    )
    return (
        sa.update(table)
        .where(
            table.c.ServiceProviderId == provider_id,
            iccid == sa.bindparam("stored"),
            ~is_there,
        )
        .values(ICCID=sa.bindparam("told"))
    )


def _match_key_of_device() -> sa.ColumnElement[str]:
    """Spell :func:`core.carriers.iccid.match_keys` of a device, whose check digit was verified."""
    return sa.func.substring(device.c.ICCID, 1, KEY_DIGITS)


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
    """Update the usage that is known of this period, then insert the rest.

    Usage that was told under the other form of a SIM's ICCID is stored under that of its device
    (C4), so the devices must be published before.
    """
    staged = jasper_usage_staging.c
    connection.execute(
        sa.update(jasper_usage_staging)
        .where(
            staged.DeviceSyncRunId == run["Id"],
            device.c.ServiceProviderId == run["ServiceProviderId"],
            device.c.IsDeleted == sa.false(),
            staged.MatchKey == _match_key_of_device(),
            staged.ICCID != device.c.ICCID,
        )
        .values(ICCID=device.c.ICCID)
    )
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
