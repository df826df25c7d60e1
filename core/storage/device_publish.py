"""Publishing a synchronisation run, set by set: what is staged becomes what is known (C5).

Every step is one statement with named parameters, so that the steps mean the same on every database,
and one definition serves both the store, which runs them one after the other, and the procedure
``usp_Update_Jasper_Device`` of SQL Server (:mod:`core.storage.device_procedure`). They are plain UPDATE
.. FROM and INSERT .. WHERE NOT EXISTS.

Parameters: ``run_id``, ``provider_id`` and ``period_id`` of the run, ``day`` (the local day of the
account) and ``now``.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.carriers.iccid import KEY_DIGITS
from core.storage.column_types import UtcDateTime
from core.storage.schema import (
    billing_period,
    device,
    device_sync_reject,
    device_sync_run,
    device_usage,
    jasper_device_staging,
    jasper_usage_staging,
)

_RUN = sa.bindparam("run_id", type_=sa.BigInteger)
_PROVIDER = sa.bindparam("provider_id", type_=sa.Integer)
_PERIOD = sa.bindparam("period_id", type_=sa.Integer)
_DAY = sa.bindparam("day", type_=sa.Date)
_NOW = sa.bindparam("now", type_=UtcDateTime)

_ZERO, _ONE = sa.literal_column("0", sa.Integer), sa.literal_column("1", sa.Integer)
_EMPTY = sa.literal_column("''", sa.Unicode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A statement of the publish.

    Attributes
    ----------
    counts_as
        Which count its rows add to: ``usage_rows``, ``kept``, ``removed``; None: none.
    only_full
        Whether only a full run takes it.
    """

    statement: sa.UpdateBase
    counts_as: str | None = None
    only_full: bool = False


def _match_key(iccid: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Spell :func:`core.carriers.iccid.match_keys` of an ICCID whose check digit was verified."""
    return sa.func.substring(iccid, _ONE, sa.literal_column(str(KEY_DIGITS), sa.Integer))


def other_forms() -> sa.Select[tuple[str]]:
    """SIMs that are stored under the other form of their ICCID than the staged one (C4)."""
    return sa.select(device.c.ICCID).where(_is_other_form())


def _is_other_form() -> sa.ColumnElement[bool]:
    staged = jasper_device_staging.c
    return sa.and_(
        device.c.ServiceProviderId == _PROVIDER,
        staged.DeviceSyncRunId == _RUN,
        staged.MatchKey == _match_key(device.c.ICCID),
        staged.ICCID != device.c.ICCID,
    )


def form_steps() -> list[Step]:
    """Bring SIMs that are stored under the other form of their ICCID to the staged form (C4).

    Their usage of every period goes with them, and nothing is lost where both forms are stored: then
    the row of the other form is marked as deleted.
    """
    staged = jasper_device_staging.c
    usage, its_usage, its_device = device_usage.c, device_usage.alias().c, device.alias().c
    has_usage = sa.exists().where(
        its_usage.ServiceProviderId == _PROVIDER,
        its_usage.BillingPeriodId == usage.BillingPeriodId,
        its_usage.ICCID == staged.ICCID,
    )
    is_known = sa.exists().where(
        its_device.ServiceProviderId == _PROVIDER, its_device.ICCID == staged.ICCID
    )
    return [
        Step(
            statement=sa.update(device_usage)
            .where(
                usage.ServiceProviderId == _PROVIDER,
                staged.DeviceSyncRunId == _RUN,
                staged.MatchKey == _match_key(usage.ICCID),
                staged.ICCID != usage.ICCID,
                usage.ICCID.in_(other_forms().correlate(None)),
                ~has_usage,
            )
            .values(ICCID=staged.ICCID)
        ),
        Step(
            statement=sa.update(device)
            .where(_is_other_form(), ~is_known)
            .values(ICCID=staged.ICCID)
        ),
        Step(
            statement=sa.update(device)
            .where(_is_other_form())
            .values(IsActive=sa.false(), IsDeleted=sa.true(), ModifiedDate=_NOW)
        ),
    ]


def steps() -> list[Step]:
    """Every further step, in order."""
    return [
        *_device_steps(),
        Step(statement=adopt_device_forms()),
        Step(statement=drop_parts_of_a_whole()),
        *_usage_steps(),
        Step(statement=_keep_rejected(), counts_as="kept", only_full=True),
        Step(statement=_remove_unseen(), counts_as="removed", only_full=True),
    ]


def _device_steps() -> list[Step]:
    """Update the devices that are known, then insert the others."""
    staged = jasper_device_staging.c
    same_device = sa.and_(device.c.ServiceProviderId == _PROVIDER, device.c.ICCID == staged.ICCID)
    update = (
        sa.update(device)
        .where(same_device, staged.DeviceSyncRunId == _RUN)
        .values(
            Status=staged.Status,
            RatePlan=staged.RatePlan,
            CommunicationPlan=staged.CommunicationPlan,
            ActivatedDate=sa.func.coalesce(staged.ActivatedDate, device.c.ActivatedDate),
            IsActive=sa.true(),
            IsDeleted=sa.false(),
            LastSyncRunId=_RUN,
            ModifiedDate=_NOW,
        )
    )
    copied = ("ICCID", "Status", "RatePlan", "CommunicationPlan", "ActivatedDate")
    insert = sa.insert(device).from_select(
        [*copied, "ServiceProviderId", "LastSyncRunId", "ModifiedDate"],
        sa.select(*(staged[name] for name in copied), _PROVIDER, _RUN, _NOW).where(
            staged.DeviceSyncRunId == _RUN, ~sa.exists().where(same_device)
        ),
    )
    return [Step(statement=update), Step(statement=insert)]


def adopt_device_forms() -> sa.Update:
    """Give staged usage the ICCID of its device (C4).

    Both forms of a number begin with the key and have at most one digit more, so that the device is
    looked up by a range of its own key.
    """
    staged = jasper_usage_staging.c
    longest = staged.MatchKey + sa.literal_column("'9'", sa.Unicode)
    return (
        sa.update(jasper_usage_staging)
        .where(
            staged.DeviceSyncRunId == _RUN,
            device.c.ServiceProviderId == _PROVIDER,
            device.c.ICCID.between(staged.MatchKey, longest),
            device.c.IsDeleted == sa.false(),
            staged.MatchKey == _match_key(device.c.ICCID),
            staged.ICCID != device.c.ICCID,
        )
        .values(ICCID=device.c.ICCID)
    )


def drop_parts_of_a_whole() -> sa.Delete:
    """Delete the staged usage by rate plan of SIMs whose whole cycle is staged too."""
    part, whole = jasper_usage_staging.c, jasper_usage_staging.alias().c
    return sa.delete(jasper_usage_staging).where(
        part.DeviceSyncRunId == _RUN,
        part.RatePlan != _EMPTY,
        sa.exists().where(
            whole.DeviceSyncRunId == _RUN,
            whole.BillingPeriodId == part.BillingPeriodId,
            whole.MatchKey == part.MatchKey,
            whole.RatePlan == _EMPTY,
        ),
    )


def _usage_steps() -> list[Step]:
    """Update the usage that is known, then insert the rest.

    Usage that was told under the other form of a SIM's ICCID is stored under that of its device
    (C4), so the devices must be published before. Usage of a SIM's whole cycle counts alone, else
    that of its rate plans and zones adds up.
    """
    staged = jasper_usage_staging.c
    sums = (
        sa.select(
            staged.BillingPeriodId,
            sa.func.max(staged.ICCID).label("ICCID"),
            sa.func.sum(staged.UsageBytes).label("UsageBytes"),
            sa.func.sum(staged.SmsCount).label("SmsCount"),
            sa.func.sum(staged.VoiceSeconds).label("VoiceSeconds"),
        )
        .where(staged.DeviceSyncRunId == _RUN)
        .group_by(staged.BillingPeriodId, staged.MatchKey)
        .subquery("Sums")
    )
    usage = device_usage.c
    same_usage = sa.and_(
        usage.ServiceProviderId == _PROVIDER,
        usage.BillingPeriodId == sums.c.BillingPeriodId,
        usage.ICCID == sums.c.ICCID,
    )
    is_new_day = sa.or_(usage.LastGrowthDate.is_(None), usage.LastGrowthDate < _DAY)
    has_grown = sums.c.UsageBytes > usage.UsageBytes
    # Nobody looked on the days of a past cycle.
    is_watched = sums.c.BillingPeriodId.in_(_open_period())
    was_used_today = sa.and_(is_watched, has_grown)
    update = (
        sa.update(device_usage)
        .where(same_usage)
        .values(
            UsageBytes=sums.c.UsageBytes,
            SmsCount=sums.c.SmsCount,
            VoiceSeconds=sums.c.VoiceSeconds,
            DaysWithUsage=sa.case(
                (sa.and_(was_used_today, is_new_day), usage.DaysWithUsage + _ONE),
                else_=usage.DaysWithUsage,
            ),
            LastGrowthDate=sa.case((was_used_today, _DAY), else_=usage.LastGrowthDate),
            ReportedAt=_NOW,
        )
    )
    is_used = sums.c.UsageBytes > _ZERO
    copied = ("BillingPeriodId", "ICCID", "UsageBytes", "SmsCount", "VoiceSeconds")
    insert = sa.insert(device_usage).from_select(
        [*copied, "ServiceProviderId", "ReportedAt", "DaysWithUsage", "LastGrowthDate"],
        sa.select(
            *(sums.c[name] for name in copied),
            _PROVIDER,
            _NOW,
            sa.case((sa.and_(is_watched, is_used), _ONE), (is_watched, _ZERO)),
            sa.case((sa.and_(is_watched, is_used), _DAY)),
        ).where(~sa.exists().where(same_usage)),
    )
    return [
        Step(statement=update, counts_as="usage_rows"),
        Step(statement=insert, counts_as="usage_rows"),
    ]


def _open_period() -> sa.Select[tuple[int]]:
    """Find the run's period if it holds the day."""
    period = billing_period.c
    return sa.select(period.Id).where(
        period.Id == _PERIOD, period.BillingPeriodStart <= _DAY, period.BillingPeriodEnd >= _DAY
    )


def _keep_rejected() -> sa.Update:
    """Count the known devices whose rows a full run rejected as seen.

    The carrier has them: they are not gone, only what it said of them cannot be used.
    """
    reject = device_sync_reject.c
    rejected = sa.select(_match_key(reject.ICCID)).where(
        reject.DeviceSyncRunId == _RUN,
        reject.Source == sa.literal_column("'devices'", sa.Unicode),
        reject.ICCID.is_not(None),
    )
    return (
        sa.update(device)
        .where(
            device.c.ServiceProviderId == _PROVIDER,
            device.c.LastSyncRunId != _RUN,
            device.c.IsDeleted == sa.false(),
            _match_key(device.c.ICCID).in_(rejected),
        )
        .values(LastSyncRunId=_RUN)
    )


def _remove_unseen() -> sa.Update:
    """Mark the devices that a full run did not see."""
    return (
        sa.update(device)
        .where(
            device.c.ServiceProviderId == _PROVIDER,
            device.c.LastSyncRunId != _RUN,
            device.c.IsDeleted == sa.false(),
        )
        .values(IsActive=sa.false(), IsDeleted=sa.true(), ModifiedDate=_NOW)
    )


def clearing_steps() -> list[Step]:
    """Delete what the run has staged."""
    return [
        Step(statement=sa.delete(staging).where(staging.c.DeviceSyncRunId == _RUN))
        for staging in (jasper_device_staging, jasper_usage_staging)
    ]


def listed_from() -> sa.ColumnElement[object]:
    """When the run's list was begun; an incremental one that met no SIM leaves that of the last."""
    run, other = device_sync_run.c, device_sync_run.alias().c
    last = (
        sa.select(other.ListedFrom)
        .where(
            other.ServiceProviderId == _PROVIDER,
            other.Status == sa.literal_column("'published'", sa.Unicode),
        )
        .order_by(other.StartedAt.desc(), other.Id.desc())
        .limit(sa.literal_column("1", sa.Integer))
        .scalar_subquery()
    )
    is_carried_on = sa.and_(
        run.ListedFrom.is_(None), run.Kind == sa.literal_column("'incremental'", sa.Unicode)
    )
    return sa.case((is_carried_on, last), else_=run.ListedFrom)
