"""What an optimisation found, read back as it was stored, published or not (B10).

An :class:`~core.outcome.Outcome` that comes from here equals the one that the optimiser assembled, so
that a report can be made again, and a run that another process began can be finished.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import sqlalchemy as sa

from core.billing.tariff import day_classes
from core.domain import BillingCycle, BillingPolicy, SolveStatus, Strategy
from core.errors import StorageError
from core.outcome import (
    ASSIGNMENT_SCHEMA,
    REASON_UNPRICED,
    Cost,
    GroupOutcome,
    Outcome,
    UnitOutcome,
    gather,
)
from core.storage.bulk import in_lists, read_frame
from core.storage.certificates import from_json
from core.storage.engine import reading
from core.storage.instances import Instance, load_instance, require_unchanged
from core.storage.retry import retried
from core.storage.schema import (
    billing_period,
    optimization_comm_group,
    optimization_comm_group_comm_plan,
    optimization_comm_group_rate_plan,
    optimization_m2m_device_result,
    optimization_queue,
    optimization_sim_card,
    optimization_unit,
)
from core.storage.snapshot import require_grouped
from core.storage.unit_results import COST_COLUMNS, NEXT_BEST_COLUMNS


@retried
def load_assignments(engine: sa.Engine, instance_id: int) -> pl.DataFrame:
    """Read the rows of all SIMs that are in a finished solve unit, and of the unpriced ones.

    Returns
    -------
    pl.DataFrame
        Columns of ``ASSIGNMENT_SCHEMA``, sorted by ICCID; published or not.

    Raises
    ------
    StorageError
        If the instance is unknown, or not grouped yet.
    """
    with reading(engine) as connection:
        instance = load_instance(connection, instance_id)
        require_grouped(instance)
        assignments = _read_assignments(connection, instance)
    require_unchanged(engine, instance)
    return assignments


@retried
def load_outcome(engine: sa.Engine, instance_id: int) -> Outcome:
    """Read the whole outcome of an instance, as it was when its units were stored.

    Raises
    ------
    StorageError
        If the instance is unknown, not grouped yet, or a solve unit has no results yet.
    """
    with reading(engine) as connection:
        instance = load_instance(connection, instance_id)
        require_grouped(instance)
        assignments = _read_assignments(connection, instance)
        groups = _read_groups(connection, instance_id)
        units = _read_units(connection, instance_id, groups)
        group = optimization_comm_group.c
        expected = connection.execute(
            sa.select(group.UnitCode).where(group.InstanceId == instance_id).distinct()
        ).scalars()
        unfinished = sorted(set(expected) - {unit.unit_id for unit in units})
    require_unchanged(engine, instance)
    if unfinished:
        msg = (
            f"instance {instance_id} has no results yet of {len(unfinished)} solve units, "
            f"first {unfinished[0]}"
        )
        raise StorageError(msg)
    return gather(assignments, groups, units)


def _read_assignments(connection: sa.Connection, instance: Instance) -> pl.DataFrame:
    snapshot = _read_snapshot(connection, instance)
    results = _read_device_results(connection, instance.id)
    is_unpriced = pl.col("reason") == REASON_UNPRICED
    unpriced = snapshot.filter(is_unpriced)
    days = day_classes(
        unpriced["activated_date"], BillingPolicy(cycle=_cycle(connection, instance))
    )
    parts = [
        results.join(snapshot.drop("reason"), on="iccid"),
        unpriced.with_columns(
            pl.Series("active_days", days),
            pl.col("current_rate_plan").alias("recommended_rate_plan"),
        ),
    ]
    ordered = [
        _with_nulls(part)
        .with_columns(
            savings_micros=pl.col("current_cost_micros") - pl.col("recommended_cost_micros")
        )
        .select(pl.col(name).cast(dtype) for name, dtype in ASSIGNMENT_SCHEMA.items())
        for part in parts
    ]
    return pl.concat(ordered).sort("iccid")


def _with_nulls(part: pl.DataFrame) -> pl.DataFrame:
    """Add what an unpriced SIM has not, and what is not stored: jurisdiction and taxes."""
    absent = [name for name in ASSIGNMENT_SCHEMA if name not in part.columns]
    return part.with_columns(pl.lit(None).alias(name) for name in absent)


def _read_snapshot(connection: sa.Connection, instance: Instance) -> pl.DataFrame:
    """Read what entered the bill of every SIM that is in a group, or unpriced."""
    sim = optimization_sim_card.c
    schema = {
        "iccid": pl.String(),
        "communication_plan": pl.String(),
        "current_rate_plan": pl.String(),
        "usage_bytes": pl.Int64(),
        "sms_count": pl.Int64(),
        "voice_seconds": pl.Int64(),
        "activated_date": pl.Date(),
        "is_usage_reported": pl.Boolean(),
        "reason": pl.String(),
    }
    statement = (
        sa.select(
            sim.ICCID,
            sim.CommunicationPlan,
            sim.CarrierRatePlan,
            sim.UsageBytes,
            sim.SmsCount,
            sim.VoiceSeconds,
            sim.ActivatedDate,
            sim.IsUsageReported,
            sim.ListedReason,
        )
        .where(
            sim.InstanceId == instance.id,
            sa.or_(sim.ListedReason.is_(None), sim.ListedReason == REASON_UNPRICED),
        )
        .order_by(sim.ICCID)
    )
    # No SIM of the database is locked.
    return read_frame(connection, statement, schema, in_bulk=True).with_columns(
        locked=pl.lit(value=False)
    )


def _read_device_results(connection: sa.Connection, instance_id: int) -> pl.DataFrame:
    """Rows of the finished units, with group and unit."""
    queues = _finished_queues(connection, instance_id)
    result = optimization_m2m_device_result.c
    columns = {
        "QueueId": ("queue_id", pl.Int64()),
        "ICCID": ("iccid", pl.String()),
        "AssignedRatePlan": ("recommended_rate_plan", pl.String()),
        "ActiveDays": ("active_days", pl.Int32()),
        "Reason": ("reason", pl.String()),
        **{
            column: (name, ASSIGNMENT_SCHEMA[name])
            for column, name in (COST_COLUMNS | NEXT_BEST_COLUMNS).items()
        },
    }
    schema: dict[str, pl.DataType] = dict(columns.values())
    statement = sa.select(*(result[column] for column in columns))
    parts = [
        read_frame(connection, statement.where(result.QueueId.in_(ids)), schema, in_bulk=True)
        for ids in in_lists(list(queues))
    ]
    # The names are put in here: told by the database, they would come once per SIM.
    group_of = {queue_id: group for queue_id, (group, _) in queues.items()}
    unit_of = {queue_id: unit for queue_id, (_, unit) in queues.items()}
    queue_id = pl.col("queue_id")
    return pl.concat([pl.DataFrame(schema=schema), *parts]).with_columns(
        queue_id.replace_strict(group_of, return_dtype=pl.String).alias("group_id"),
        queue_id.replace_strict(unit_of, return_dtype=pl.String).alias("unit_id"),
    )


def _finished_queues(connection: sa.Connection, instance_id: int) -> dict[int, tuple[str, str]]:
    """Group and unit of each queue whose results are stored completely."""
    queue, group, unit = optimization_queue.c, optimization_comm_group.c, optimization_unit.c
    of_finished_unit = sa.and_(unit.InstanceId == queue.InstanceId, unit.UnitCode == queue.UnitCode)
    statement = (
        sa.select(queue.Id, group.GroupCode, group.UnitCode)
        .select_from(
            optimization_queue.join(
                optimization_comm_group, group.Id == queue.CommPlanGroupId
            ).join(optimization_unit, of_finished_unit)
        )
        .where(queue.InstanceId == instance_id, queue.IsResult == sa.true())
        .order_by(queue.Id)
    )
    return {row.Id: (row.GroupCode, row.UnitCode) for row in connection.execute(statement)}


def _cycle(connection: sa.Connection, instance: Instance) -> BillingCycle:
    period = billing_period.c
    start, end = connection.execute(
        sa.select(period.BillingPeriodStart, period.BillingPeriodEnd).where(
            period.Id == instance.billing_period_id
        )
    ).one()
    return BillingCycle(start_date=start, end_date=end)


def _read_groups(connection: sa.Connection, instance_id: int) -> tuple[GroupOutcome, ...]:
    names = _lists(connection, optimization_comm_group_comm_plan, "CommPlanName", instance_id)
    codes = _lists(connection, optimization_comm_group_rate_plan, "RatePlanCode", instance_id)
    group = optimization_comm_group.c
    rows = connection.execute(
        sa.select(optimization_comm_group)
        .where(group.InstanceId == instance_id, group.Strategy.is_not(None))
        .order_by(group.Id)
    ).mappings()
    return tuple(
        GroupOutcome(
            group_id=row["GroupCode"],
            unit_id=row["UnitCode"],
            communication_plans=names.get(row["Id"], ()),
            rate_plans=codes.get(row["Id"], ()),
            devices=row["DeviceCount"],
            status=row["Status"],
            strategy=Strategy(row["Strategy"]),
            baseline=_cost(row, "Baseline"),
            optimized=_cost(row, "Optimized"),
            plan_changes=row["PlanChanges"],
        )
        for row in rows
    )


def _lists(
    connection: sa.Connection, table: sa.Table, column: str, instance_id: int
) -> dict[int, tuple[str, ...]]:
    """Values of a group's child table by group, ascending."""
    rows = connection.execute(
        sa.select(table.c.CommGroupId, table.c[column]).where(table.c.InstanceId == instance_id)
    )
    found: dict[int, list[str]] = {}
    for group_id, value in rows:
        found.setdefault(group_id, []).append(value)
    return {group_id: tuple(sorted(values)) for group_id, values in found.items()}


def _read_units(
    connection: sa.Connection, instance_id: int, groups: Sequence[GroupOutcome]
) -> tuple[UnitOutcome, ...]:
    unit = optimization_unit.c
    rows = connection.execute(
        sa.select(optimization_unit).where(unit.InstanceId == instance_id)
    ).mappings()
    members: dict[str, list[str]] = {}
    for group in groups:
        members.setdefault(group.unit_id, []).append(group.group_id)
    in_order = sorted(rows, key=lambda row: (len(row["UnitCode"]), row["UnitCode"]))
    return tuple(
        UnitOutcome(
            unit_id=row["UnitCode"],
            group_ids=tuple(members[row["UnitCode"]]),
            devices=row["DeviceCount"],
            status=SolveStatus(row["Status"]),
            strategy=Strategy(row["Strategy"]),
            baseline=_cost(row, "Baseline"),
            optimized=_cost(row, "Optimized"),
            lower_bound_micros=row["LowerBoundMicros"],
            legacy_best_cost_micros=row["LegacyBestCostMicros"],
            certificate=from_json(row["Certificate"]),
        )
        for row in in_order
    )


def _cost(row: sa.RowMapping, prefix: str) -> Cost:
    return Cost(
        objective_micros=row[f"{prefix}CostMicros"],
        rate_micros=row[f"{prefix}RateCostMicros"],
        overage_micros=row[f"{prefix}OverageCostMicros"],
    )
