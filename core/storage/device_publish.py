"""Publishing a synchronisation run, set by set: what is staged becomes what is known (C5).

The statements are plain UPDATE .. FROM and INSERT .. WHERE NOT EXISTS, so that they mean the same on
every database; a server may offer a procedure that does the same in one call.
"""

from __future__ import annotations

from datetime import date, datetime

import sqlalchemy as sa

from core.carriers.iccid import KEY_DIGITS
from core.storage.schema import (
    billing_period,
    device,
    device_sync_reject,
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
    connection: sa.Connection, run: sa.RowMapping, *, today: date, now: datetime
) -> int:
    """Update the usage that is known, then insert the rest; the number of SIMs with usage.

    Usage that was told under the other form of a SIM's ICCID is stored under that of its device
    (C4), so the devices must be published before. Usage of a SIM's whole cycle counts alone, else
    that of its rate plans and zones adds up.
    """
    staged = jasper_usage_staging.c
    adopt_device_forms(connection, run)
    _drop_parts_of_a_whole(connection, run["Id"])
    sums = (
        sa.select(
            staged.BillingPeriodId,
            sa.func.max(staged.ICCID).label("ICCID"),
            sa.func.sum(staged.UsageBytes).label("UsageBytes"),
            sa.func.sum(staged.SmsCount).label("SmsCount"),
            sa.func.sum(staged.VoiceSeconds).label("VoiceSeconds"),
        )
        .where(staged.DeviceSyncRunId == run["Id"])
        .group_by(staged.BillingPeriodId, staged.MatchKey)
        .subquery()
    )
    usage = device_usage.c
    same_usage = sa.and_(
        usage.ServiceProviderId == run["ServiceProviderId"],
        usage.BillingPeriodId == sums.c.BillingPeriodId,
        usage.ICCID == sums.c.ICCID,
    )
    is_new_day = sa.or_(usage.LastGrowthDate.is_(None), usage.LastGrowthDate < today)
    has_grown = sums.c.UsageBytes > usage.UsageBytes
    updated = connection.execute(
        sa.update(device_usage)
        .where(same_usage)
        .values(
            UsageBytes=sums.c.UsageBytes,
            SmsCount=sums.c.SmsCount,
            VoiceSeconds=sums.c.VoiceSeconds,
            DaysWithUsage=sa.case(
                (sa.and_(has_grown, is_new_day), usage.DaysWithUsage + 1),
                else_=usage.DaysWithUsage,
            ),
            LastGrowthDate=sa.case((has_grown, today), else_=usage.LastGrowthDate),
            ReportedAt=now,
        )
    )
    copied = ("BillingPeriodId", "ICCID", "UsageBytes", "SmsCount", "VoiceSeconds")
    is_current = sums.c.BillingPeriodId == _open_period(connection, run, today)
    is_used = sums.c.UsageBytes > 0
    inserted = connection.execute(
        sa.insert(device_usage).from_select(
            [*copied, "ServiceProviderId", "ReportedAt", "DaysWithUsage", "LastGrowthDate"],
            sa.select(
                *(sums.c[name] for name in copied),
                sa.literal(run["ServiceProviderId"]),
                sa.literal(now, usage.ReportedAt.type),
                # Nobody looked on the days of a past cycle.
                sa.case((is_current, sa.case((is_used, 1), else_=0))),
                sa.case((sa.and_(is_current, is_used), sa.literal(today, sa.Date))),
            ).where(~sa.exists().where(same_usage)),
        )
    )
    return int(updated.rowcount) + int(inserted.rowcount)


def adopt_device_forms(connection: sa.Connection, run: sa.RowMapping) -> None:
    """Give staged usage the ICCID of its device; a period at a time, as the key begins with it."""
    staged = jasper_usage_staging.c
    periods = (
        sa.select(staged.BillingPeriodId).where(staged.DeviceSyncRunId == run["Id"]).distinct()
    )
    for period_id in connection.execute(periods).scalars().all():
        connection.execute(
            sa.update(jasper_usage_staging)
            .where(
                staged.DeviceSyncRunId == run["Id"],
                staged.BillingPeriodId == period_id,
                device.c.ServiceProviderId == run["ServiceProviderId"],
                device.c.IsDeleted == sa.false(),
                staged.MatchKey == _match_key_of_device(),
                staged.ICCID != device.c.ICCID,
            )
            .values(ICCID=device.c.ICCID)
        )


def _open_period(connection: sa.Connection, run: sa.RowMapping, today: date) -> int:
    """Tell the run's period if it holds the day, else 0: of another one nobody saw the days."""
    period = billing_period.c
    found = connection.execute(
        sa.select(period.Id).where(
            period.Id == run["BillingPeriodId"],
            period.BillingPeriodStart <= today,
            period.BillingPeriodEnd >= today,
        )
    ).scalar()
    return found or 0


def _drop_parts_of_a_whole(connection: sa.Connection, run_id: int) -> None:
    """Delete the staged usage by rate plan of SIMs whose whole cycle is staged too."""
    part, whole = jasper_usage_staging.c, jasper_usage_staging.alias().c
    connection.execute(
        sa.delete(jasper_usage_staging).where(
            part.DeviceSyncRunId == run_id,
            part.RatePlan != "",
            sa.exists().where(
                whole.DeviceSyncRunId == run_id,
                whole.BillingPeriodId == part.BillingPeriodId,
                whole.MatchKey == part.MatchKey,
                whole.RatePlan == "",
            ),
        )
    )


def keep_rejected(connection: sa.Connection, run: sa.RowMapping) -> int:
    """Count the known devices whose rows a full run rejected as seen; their number.

    The carrier has them: they are not gone, only what it said of them cannot be used.
    """
    reject = device_sync_reject.c
    result = connection.execute(
        sa.update(device)
        .where(
            device.c.ServiceProviderId == run["ServiceProviderId"],
            device.c.LastSyncRunId != run["Id"],
            device.c.IsDeleted == sa.false(),
            _match_key_of_device().in_(
                sa.select(sa.func.substring(reject.ICCID, 1, KEY_DIGITS)).where(
                    reject.DeviceSyncRunId == run["Id"],
                    reject.Source == "devices",
                    reject.ICCID.is_not(None),
                )
            ),
        )
        .values(LastSyncRunId=run["Id"])
    )
    return int(result.rowcount)


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
