"""The fleet as it was grouped: groups with their plans, and every SIM once (E1, G1).

A grouping goes in slices, each a transaction of its own, and counts from the moment when the last one
sets ``GroupedAt``. Writing it again replaces the former one and everything that was derived from it.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import polars as pl
import sqlalchemy as sa

from core.domain import MAX_USAGE_BYTES
from core.errors import StorageError
from core.fleet import FLEET_SCHEMA
from core.grouping import Grouping, GroupPlan
from core.outcome import REASON_UNPRICED
from core.sequences import max_average_usage
from core.storage.bulk import insert_frame, read_frame, slices
from core.storage.catalogue import rate_plan_ids
from core.storage.engine import reading, writing
from core.storage.instances import (
    Fence,
    Instance,
    load_instance,
    load_unpublished,
    require_unchanged,
    run_fence,
    update_instance,
)
from core.storage.retry import retried
from core.storage.schema import (
    optimization_comm_group,
    optimization_comm_group_comm_plan,
    optimization_comm_group_rate_plan,
    optimization_m2m_device_result,
    optimization_mobility_device_result,
    optimization_queue,
    optimization_queue_rate_plan,
    optimization_sim_card,
    optimization_unit,
)

GROUPED_FLEET_SCHEMA: dict[str, pl.DataType] = {
    **FLEET_SCHEMA,
    "group_id": pl.String(),  # null, as unit_id, for an unpriced SIM (B9)
    "unit_id": pl.String(),
}
"""Columns of a stored fleet, as those of ``Grouping.fleet``; ``jurisdiction`` is not stored, but null."""

LISTED_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "reason": pl.String(),
    "communication_plan": pl.String(),  # null, as all below, where it was not given
    "rate_plan": pl.String(),
    "usage_bytes": pl.Int64(),
    "is_usage_reported": pl.Boolean(),
    "sms_count": pl.Int64(),
    "voice_seconds": pl.Int64(),
    "activated_date": pl.Date(),
}
"""Columns of the stored SIMs that are listed and not optimised (E1)."""

_SIM_COLUMNS = {
    "iccid": "ICCID",
    "communication_plan": "CommunicationPlan",
    "rate_plan": "CarrierRatePlan",
    "usage_bytes": "UsageBytes",
    "is_usage_reported": "IsUsageReported",
    "sms_count": "SmsCount",
    "voice_seconds": "VoiceSeconds",
    "activated_date": "ActivatedDate",
    "reason": "ListedReason",
}
"""Column of the frames to column of OptimizationSimCard."""


@retried
def save_grouping(
    engine: sa.Engine,
    instance_id: int,
    grouping: Grouping,
    listed: pl.DataFrame,
    *,
    now: datetime,
    catalogue_hash: str = "",
    fence: Fence | None = None,
) -> None:
    """Store the groups and the snapshot of the fleet; idempotent.

    Parameters
    ----------
    listed
        SIMs that are not optimised: ``iccid``, ``reason`` and any further column of
        ``LISTED_SCHEMA``.
    catalogue_hash
        Of the plans and the policy behind the grouping, to notice when they are changed.

    Raises
    ------
    StorageError
        If the instance is unknown or published, or the database fails.
    sqlalchemy.exc.IntegrityError
        If a SIM is both in the fleet and listed.
    """
    with writing(engine) as connection:
        run_fence(connection, fence)
        instance = load_unpublished(connection, instance_id)
        update_instance(connection, instance_id, GroupedAt=None, SequencedAt=None)
        delete_grouping(connection, instance_id)
        _insert_groups(connection, instance, grouping, now)
        group_ids = _group_numbers(connection, instance_id)
    sims = _sim_cards(instance_id, grouping.fleet, listed, group_ids)
    for part in slices(sims):
        with writing(engine) as connection:
            run_fence(connection, fence)
            insert_frame(connection, optimization_sim_card, part)
    with writing(engine) as connection:
        run_fence(connection, fence)
        update_instance(
            connection,
            instance_id,
            GroupedAt=now,
            CatalogueHash=catalogue_hash,
            DeviceCount=grouping.fleet.height,
        )


@retried
def load_snapshot(engine: sa.Engine, instance_id: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read the fleet that was grouped, and the SIMs that are only listed.

    Returns
    -------
    tuple of pl.DataFrame
        Columns of ``GROUPED_FLEET_SCHEMA`` and of ``LISTED_SCHEMA``, both sorted by ICCID.

    Raises
    ------
    StorageError
        If the instance is unknown, or not grouped yet.
    """
    sim, group = optimization_sim_card.c, optimization_comm_group.c
    schema = {name: LISTED_SCHEMA[name] for name in _SIM_COLUMNS}
    schema = {**schema, "group_id": pl.String(), "unit_id": pl.String()}
    statement = (
        sa.select(
            *(sim[column] for column in _SIM_COLUMNS.values()), group.GroupCode, group.UnitCode
        )
        .select_from(
            optimization_sim_card.outerjoin(optimization_comm_group, group.Id == sim.CommGroupId)
        )
        .where(sim.InstanceId == instance_id)
        .order_by(sim.ICCID)
    )
    with reading(engine) as connection:
        instance = load_instance(connection, instance_id)
        require_grouped(instance)
        everything = read_frame(connection, statement, schema, in_bulk=True)
    require_unchanged(engine, instance)
    everything = everything.with_columns(jurisdiction=pl.lit(None, dtype=pl.String))
    is_in_fleet = pl.col("reason").is_null() | (pl.col("reason") == REASON_UNPRICED)
    # No SIM of the database is locked.
    fleet = everything.filter(is_in_fleet).with_columns(is_locked=pl.lit(value=False))
    fleet = fleet.select(list(GROUPED_FLEET_SCHEMA))
    return fleet, everything.filter(~is_in_fleet).select(list(LISTED_SCHEMA))


def require_grouped(instance: Instance) -> None:
    """Refuse an instance whose grouping is not complete.

    Raises
    ------
    StorageError
        If it is not.
    """
    if instance.grouped_at is None:
        raise StorageError(f"optimisation instance {instance.id} has not been grouped yet")


def delete_results(connection: sa.Connection, instance_id: int) -> None:
    """Delete everything that was solved in an instance and all its candidates, children first."""
    queue = optimization_queue.c
    queues = sa.select(queue.Id).where(queue.InstanceId == instance_id)
    for child in (
        optimization_m2m_device_result,
        optimization_mobility_device_result,
        optimization_queue_rate_plan,
    ):
        connection.execute(sa.delete(child).where(child.c.QueueId.in_(queues)))
    connection.execute(sa.delete(optimization_queue).where(queue.InstanceId == instance_id))
    unit = optimization_unit.c
    connection.execute(sa.delete(optimization_unit).where(unit.InstanceId == instance_id))


def delete_grouping(connection: sa.Connection, instance_id: int) -> None:
    """Delete the groups, the snapshot and everything derived from them, children first."""
    delete_results(connection, instance_id)
    for table in (
        optimization_sim_card,
        optimization_comm_group_comm_plan,
        optimization_comm_group_rate_plan,
        optimization_comm_group,
    ):
        connection.execute(sa.delete(table).where(table.c.InstanceId == instance_id))


def _insert_groups(
    connection: sa.Connection, instance: Instance, grouping: Grouping, now: datetime
) -> None:
    common = {"InstanceId": instance.id, "CreatedBy": instance.created_by, "CreatedDate": now}
    if not grouping.groups:
        return
    connection.execute(
        sa.insert(optimization_comm_group),
        [
            {
                **common,
                "GroupCode": group.group_id,
                "UnitCode": group.unit_id,
                "DeviceCount": group.devices,
                "IsSkipped": group.is_fixed,
                "Status": "pending",
            }
            for group in grouping.groups
        ],
    )
    numbers = _group_numbers(connection, instance.id)
    plan_ids = rate_plan_ids(connection, instance.service_provider_id)
    names = [
        {**common, "CommGroupId": numbers[group.group_id], "CommPlanName": name}
        for group in grouping.groups
        for name in group.communication_plans
    ]
    plans = [
        {
            **common,
            "CommGroupId": numbers[group.group_id],
            "CarrierRatePlanId": plan_ids.get(code),
            "RatePlanCode": code,
            "MaxAvgUsageBytes": limit,
        }
        for group in grouping.groups
        for code, limit in _max_average_usages(grouping, group).items()
    ]
    for table, rows in (
        (optimization_comm_group_comm_plan, names),
        (optimization_comm_group_rate_plan, plans),
    ):
        if rows:
            connection.execute(sa.insert(table), rows)


def _max_average_usages(grouping: Grouping, group: GroupPlan) -> dict[str, int | None]:
    """Whole bytes of average usage up to which each plan pays against the next dearer one (O4).

    Plans in the order of their codes; null where no usage reaches the limit, as for the dearest.
    """
    tariff = grouping.tariff
    number = tariff.plan_number()
    fees = tariff.fee_micros[:, tariff.full_cycle]
    by_fee = sorted(group.rate_plans, key=lambda code: (int(fees[number[code]]), code))
    limits: dict[str, int | None] = dict.fromkeys(by_fee)
    for code, dearer in pairwise(by_fee):
        limit = max_average_usage(tariff, number[code], number[dearer], grouping.policy.charge_type)
        limits[code] = int(limit) if limit <= MAX_USAGE_BYTES else None
    return {code: limits[code] for code in group.rate_plans}


def _group_numbers(connection: sa.Connection, instance_id: int) -> dict[str, int]:
    group = optimization_comm_group.c
    rows = connection.execute(
        sa.select(group.GroupCode, group.Id).where(group.InstanceId == instance_id)
    )
    return {code: number for code, number in rows}  # noqa: C416


def _sim_cards(
    instance_id: int, fleet: pl.DataFrame, listed: pl.DataFrame, group_ids: dict[str, int]
) -> pl.DataFrame:
    """Every SIM once, as rows of OptimizationSimCard, sorted by ICCID."""
    unpriced = pl.when(pl.col("group_id").is_null()).then(pl.lit(REASON_UNPRICED))
    absent = [
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in LISTED_SCHEMA.items()
        if name not in listed.columns
    ]
    names = list(_SIM_COLUMNS)
    optimised = fleet.with_columns(unpriced.alias("reason")).select([*names, "group_id"])
    others = listed.with_columns(absent).select(
        *(pl.col(name).cast(LISTED_SCHEMA[name]) for name in names),
        pl.lit(None, dtype=pl.String).alias("group_id"),
    )
    return (
        pl.concat([optimised, others])
        .sort("iccid")
        .select(
            pl.lit(instance_id, dtype=pl.Int64).alias("InstanceId"),
            pl.col("group_id")
            .replace_strict(group_ids, default=None, return_dtype=pl.Int64)
            .alias("CommGroupId"),
            **{column: name for name, column in _SIM_COLUMNS.items()},
        )
    )
