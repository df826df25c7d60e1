"""Which SIMs a synchronisation run still has to ask the carrier about (C7, B2).

An incremental run has staged the SIMs that were modified; usage concerns all of them, so the published
ones are counted in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import sqlalchemy as sa

from core.carriers.iccid import KEY_DIGITS, match_keys
from core.storage.engine import reading
from core.storage.retry import retried
from core.storage.schema import (
    device,
    device_sync_reject,
    jasper_device_staging,
    jasper_usage_staging,
)
from core.storage.sync_runs import last_published, lists_whole_account, load_run
from core.sync.validation import NO_DETAILS

ICCID_SLICE = 5_000
"""ICCIDs that are handed out at once."""


def used_rate_plans(connection: sa.Connection, run: sa.RowMapping) -> list[str]:
    """Distinct rate plans of the staged SIMs and of those that are published, ascending."""
    staged = jasper_device_staging.c
    plans = set(
        connection.execute(
            sa.select(staged.RatePlan)
            .where(staged.DeviceSyncRunId == run["Id"], staged.RatePlan.is_not(None))
            .distinct()
        ).scalars()
    )
    plans.update(
        connection.execute(
            sa.select(device.c.RatePlan)
            .where(
                device.c.ServiceProviderId == run["ServiceProviderId"],
                device.c.IsDeleted == sa.false(),
                device.c.RatePlan.is_not(None),
            )
            .distinct()
        ).scalars()
    )
    return sorted(plans)


def stage_unanswered(connection: sa.Connection, run: sa.RowMapping) -> int:
    """Stage SIMs as they are known, whose activation date the last run asked for in vain; their number."""
    copied = ("ICCID", "Status", "RatePlan", "CommunicationPlan")
    staged, known, reject = jasper_device_staging.c, device.c, device_sync_reject.c
    key = sa.func.substring(known.ICCID, 1, KEY_DIGITS)
    asked_in_vain = sa.select(reject.ICCID).where(
        reject.DeviceSyncRunId == last_published(connection, run["ServiceProviderId"]),
        reject.Source == "devices",
        reject.Reason == NO_DETAILS,
    )
    rows = sa.select(
        *(known[name] for name in copied),
        sa.literal(run["Id"], sa.BigInteger),
        key,
        sa.literal(0, sa.BigInteger),
        sa.true(),
    ).where(
        known.ServiceProviderId == run["ServiceProviderId"],
        known.IsDeleted == sa.false(),
        known.ActivatedDate.is_(None),
        known.ICCID.in_(asked_in_vain),
        ~sa.exists().where(staged.DeviceSyncRunId == run["Id"], staged.MatchKey == key),
    )
    columns = [*copied, "DeviceSyncRunId", "MatchKey", "Position", "AsksActivation"]
    return connection.execute(sa.insert(jasper_device_staging).from_select(columns, rows)).rowcount


def iccids_to_ask(engine: sa.Engine, run_id: int) -> Iterator[list[str]]:
    """ICCIDs of the staged SIMs whose activation date is needed, in slices."""
    staged = jasper_device_staging.c
    statement = sa.select(staged.MatchKey, staged.ICCID).where(
        staged.DeviceSyncRunId == run_id, staged.AsksActivation == sa.true()
    )
    yield from _in_slices(engine, statement, staged.MatchKey)


def iccids_without_usage(
    engine: sa.Engine, run_id: int, rate_plan: str, period_id: int
) -> Iterator[list[str]]:
    """ICCIDs of the SIMs on a rate plan whose whole usage of a period is not staged, in slices."""
    staged, usage = jasper_device_staging.c, jasper_usage_staging.c
    run = _load_run(engine, run_id)

    def is_told(key: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        return sa.exists().where(
            usage.DeviceSyncRunId == run_id,
            usage.BillingPeriodId == period_id,
            usage.MatchKey == key,
            usage.RatePlan == "",
        )

    statement = sa.select(staged.MatchKey, staged.ICCID).where(
        staged.DeviceSyncRunId == run_id,
        staged.RatePlan == rate_plan,
        ~is_told(staged.MatchKey),
    )
    yield from _in_slices(engine, statement, staged.MatchKey)
    if lists_whole_account(run):
        return
    key = sa.func.substring(device.c.ICCID, 1, KEY_DIGITS)
    unchanged = sa.select(device.c.ICCID.label("MatchKey"), device.c.ICCID).where(
        device.c.ServiceProviderId == run["ServiceProviderId"],
        device.c.IsDeleted == sa.false(),
        device.c.RatePlan == rate_plan,
        ~is_told(key),
        ~sa.exists().where(staged.DeviceSyncRunId == run_id, staged.MatchKey == key),
    )
    yield from _in_slices(engine, unchanged, device.c.ICCID)


def without_whole_usage(
    connection: sa.Connection, run_id: int, iccids: Sequence[str], period_id: int
) -> list[str]:
    """Leave out the SIMs whose usage of the whole cycle is staged; some dozen at a time."""
    usage = jasper_usage_staging.c
    keys = match_keys(pl.Series(iccids, dtype=pl.String)).to_list()
    is_whole = sa.and_(
        usage.DeviceSyncRunId == run_id, usage.BillingPeriodId == period_id, usage.RatePlan == ""
    )
    told = connection.execute(
        sa.select(usage.MatchKey).where(is_whole, usage.MatchKey.in_(keys))
    ).scalars()
    whole = set(told)
    return [iccid for iccid, key in zip(iccids, keys, strict=True) if key not in whole]


def iccids_unlisted(engine: sa.Engine, run_id: int, period_id: int) -> Iterator[list[str]]:
    """ICCIDs with staged usage of a period and no SIM, staged, published or rejected, in slices."""
    staged, usage = jasper_device_staging.c, jasper_usage_staging.c
    reject = device_sync_reject.c
    run = _load_run(engine, run_id)
    is_rejected = sa.exists().where(
        reject.DeviceSyncRunId == run_id,
        reject.Source == "devices",
        sa.or_(
            sa.func.substring(reject.ICCID, 1, KEY_DIGITS) == usage.MatchKey,
            sa.and_(reject.ColumnName == "iccid", reject.Value == usage.ICCID),
        ),
    )
    is_published = sa.exists().where(
        device.c.ServiceProviderId == run["ServiceProviderId"],
        device.c.IsDeleted == sa.false(),
        device.c.ICCID.between(usage.MatchKey, usage.MatchKey + "9"),
        sa.func.substring(device.c.ICCID, 1, KEY_DIGITS) == usage.MatchKey,
    )
    statement = (
        sa.select(usage.MatchKey, sa.func.max(usage.ICCID))
        .where(
            usage.DeviceSyncRunId == run_id,
            usage.BillingPeriodId == period_id,
            ~sa.exists().where(staged.DeviceSyncRunId == run_id, staged.MatchKey == usage.MatchKey),
            ~is_rejected,
            ~is_published,
        )
        .group_by(usage.MatchKey)
    )
    yield from _in_slices(engine, statement, usage.MatchKey)


@retried
def _load_run(engine: sa.Engine, run_id: int) -> sa.RowMapping:
    with reading(engine) as connection:
        return load_run(connection, run_id)


@retried
def _slice(engine: sa.Engine, statement: sa.Select[Any]) -> list[tuple[str, str]]:
    with reading(engine) as connection:
        return [(row[0], row[1]) for row in connection.execute(statement)]


def _in_slices(
    engine: sa.Engine, statement: sa.Select[Any], key: sa.ColumnElement[str]
) -> Iterator[list[str]]:
    """Read by key, each slice in a transaction of its own, so that writers need not wait."""
    statement = statement.order_by(key).limit(ICCID_SLICE)
    last = ""
    while True:
        part = _slice(engine, statement.where(key > last))
        if part:
            yield [iccid for _, iccid in part]
            last, _ = part[-1]
        if len(part) < ICCID_SLICE:
            return
