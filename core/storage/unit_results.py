"""Results of solve units: stored unit by unit while a run goes on, invisible until published (O11).

Until they are published, results stand under queues without ``IsWinner``. A unit counts as finished
from the moment when its ``OptimizationUnit`` row is there, which is written last; storing a unit
again replaces what it had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl
import sqlalchemy as sa

from core.domain import WALK_STRATEGIES, Strategy
from core.errors import StorageError
from core.optimiser.result import Result
from core.storage.bulk import in_lists, insert_frame, slices
from core.storage.catalogue import rate_plan_ids
from core.storage.certificates import to_json
from core.storage.engine import reading, writing
from core.storage.instances import Fence, load_unpublished, run_fence
from core.storage.result_queues import SolvedGroup, open_result_queues, store_walk_costs
from core.storage.retry import retried
from core.storage.schema import (
    optimization_comm_group,
    optimization_m2m_device_result,
    optimization_mobility_device_result,
    optimization_queue,
    optimization_unit,
)
from core.storage.snapshot import require_grouped

COST_COLUMNS = {
    "CurrentCostMicros": "current_cost_micros",
    "CurrentRateMicros": "current_rate_micros",
    "CurrentOverageMicros": "current_overage_micros",
    "RecommendedCostMicros": "recommended_cost_micros",
    "RecommendedRateMicros": "recommended_rate_micros",
    "RecommendedOverageMicros": "recommended_overage_micros",
}
"""Cost column of a device result to column of ``ASSIGNMENT_SCHEMA``."""

NEXT_BEST_COLUMNS = {
    "NextBestRatePlan": "next_best_rate_plan",
    "NextBestReducedCostMicros": "next_best_reduced_cost_micros",
}
"""The same for the next best plan (O9)."""

TOTAL_COLUMNS = {
    "BaselineCostMicros": "current_cost_micros",
    "BaselineRateCostMicros": "current_rate_micros",
    "BaselineOverageCostMicros": "current_overage_micros",
    "OptimizedCostMicros": "recommended_cost_micros",
    "OptimizedRateCostMicros": "recommended_rate_micros",
    "OptimizedOverageCostMicros": "recommended_overage_micros",
}
"""Total of a group, unit or instance to the column of ``ASSIGNMENT_SCHEMA`` that adds up to it."""


@retried
def save_unit_results(
    engine: sa.Engine,
    instance_id: int,
    assignments: pl.DataFrame,
    results: Sequence[Result],
    *,
    now: datetime,
    batch_id: str | None = None,
    fence: Fence | None = None,
) -> None:
    """Store finished solve units; idempotent per unit.

    Parameters
    ----------
    assignments
        Columns of ``ASSIGNMENT_SCHEMA``: every SIM of these units, and of no other.
    results
        One per unit.

    Raises
    ------
    StorageError
        If the instance is unknown, not grouped or published, or rows and results are not those of
        whole units of it.
    """
    if not results:
        return
    with writing(engine) as connection:
        run_fence(connection, fence)
        instance = load_unpublished(connection, instance_id)
        require_grouped(instance)
        groups = _stored_groups(connection, instance_id, results)
        totals = _group_totals(assignments)
        _require_whole_units(instance_id, groups, totals)
        _delete_unit_results(connection, instance_id, [result.unit_id for result in results])
        store_walk_costs(connection, groups, results, batch_id, now)
        queues = open_result_queues(connection, instance, groups, totals, batch_id, now)
        plan_ids = rate_plan_ids(connection, instance.service_provider_id)
    rows = _device_results(assignments, queues, plan_ids)
    for part in slices(rows):
        with writing(engine) as connection:
            run_fence(connection, fence)
            insert_frame(connection, optimization_m2m_device_result, part)
    with writing(engine) as connection:
        run_fence(connection, fence)
        _close_groups(connection, groups, totals)
        _close_units(connection, instance_id, groups, totals, results, now)


@retried
def finished_units(engine: sa.Engine, instance_id: int) -> set[str]:
    """Read the ids of the solve units whose results are stored completely."""
    unit = optimization_unit.c
    with reading(engine) as connection:
        statement = sa.select(unit.UnitCode).where(unit.InstanceId == instance_id)
        return set(connection.execute(statement).scalars())


def _stored_groups(
    connection: sa.Connection, instance_id: int, results: Sequence[Result]
) -> list[SolvedGroup]:
    """Read the groups of these units, in order, with what the optimiser chose for them."""
    group = optimization_comm_group.c
    by_unit: dict[str, list[sa.RowMapping]] = {result.unit_id: [] for result in results}
    for units in in_lists(list(by_unit)):
        statement = (
            sa.select(group.Id, group.GroupCode, group.UnitCode, group.IsSkipped)
            .where(group.InstanceId == instance_id, group.UnitCode.in_(units))
            .order_by(group.Id)
        )
        for row in connection.execute(statement).mappings():
            by_unit[row["UnitCode"]].append(row)
    found = []
    for result in results:
        rows = by_unit[result.unit_id]
        if len(rows) != len(result.group_strategy):
            msg = (
                f"solve unit {result.unit_id} of instance {instance_id} has {len(rows)} groups in "
                f"the database and {len(result.group_strategy)} in its result"
            )
            raise StorageError(msg)
        sequences = result.group_sequence or (-1,) * len(rows)
        for row, strategy, sequence in zip(rows, result.group_strategy, sequences, strict=True):
            found.append(_stored_group(row, strategy, sequence))
    return found


def _stored_group(row: sa.RowMapping, strategy: Strategy, sequence: int) -> SolvedGroup:
    return SolvedGroup(
        id=row["Id"],
        code=row["GroupCode"],
        unit=row["UnitCode"],
        is_skipped=row["IsSkipped"],
        strategy=strategy,
        winning_sequence=sequence if strategy in WALK_STRATEGIES and sequence >= 0 else None,
    )


def _group_totals(assignments: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Totals of each group by column of the tables, with ``devices`` and ``PlanChanges``."""
    is_changed = pl.col("recommended_rate_plan") != pl.col("current_rate_plan")
    totals = assignments.group_by("group_id").agg(
        *(pl.col(name).sum().alias(column) for column, name in TOTAL_COLUMNS.items()),
        is_changed.sum().alias("PlanChanges"),
        pl.len().alias("devices"),
    )
    return {row.pop("group_id"): row for row in totals.to_dicts()}


def _require_whole_units(
    instance_id: int, groups: Sequence[SolvedGroup], totals: Mapping[str, Mapping[str, int]]
) -> None:
    stored = {group.code for group in groups}
    if stored != totals.keys():
        msg = (
            f"results of instance {instance_id} need rows of the groups {sorted(stored)} and of no "
            f"other: got those of {sorted(totals, key=str)}"
        )
        raise StorageError(msg)


def _delete_unit_results(
    connection: sa.Connection, instance_id: int, unit_ids: Sequence[str]
) -> None:
    """Forget what these units had; queues of sequences stay as candidates."""
    queue, unit = optimization_queue.c, optimization_unit.c
    for units in in_lists(unit_ids):
        of_units = sa.and_(queue.InstanceId == instance_id, queue.UnitCode.in_(units))
        with_results = sa.select(queue.Id).where(of_units, queue.IsResult == sa.true())
        for table in (optimization_m2m_device_result, optimization_mobility_device_result):
            connection.execute(sa.delete(table).where(table.c.QueueId.in_(with_results)))
        connection.execute(
            sa.delete(optimization_queue).where(of_units, queue.SequenceNumber.is_(None))
        )
        connection.execute(
            sa.update(optimization_queue)
            .where(of_units, queue.IsResult == sa.true())
            .values(IsResult=sa.false())
        )
        connection.execute(
            sa.delete(optimization_unit).where(
                unit.InstanceId == instance_id, unit.UnitCode.in_(units)
            )
        )


def _device_results(
    assignments: pl.DataFrame, queues: Mapping[str, int], plan_ids: Mapping[str, int]
) -> pl.DataFrame:
    """Rows of OptimizationM2MDeviceResult, in the order of its key."""
    assigned = pl.col("recommended_rate_plan")
    return assignments.select(
        pl.col("group_id").replace_strict(queues, return_dtype=pl.Int64).alias("QueueId"),
        assigned.replace_strict(plan_ids, default=None, return_dtype=pl.Int64).alias(
            "AssignedCarrierRatePlanId"
        ),
        ICCID="iccid",
        CurrentRatePlan="current_rate_plan",
        AssignedRatePlan="recommended_rate_plan",
        ActiveDays="active_days",
        Reason="reason",
        **COST_COLUMNS,
        **NEXT_BEST_COLUMNS,
    ).sort("QueueId", "ICCID")


def _close_groups(
    connection: sa.Connection,
    groups: Sequence[SolvedGroup],
    totals: Mapping[str, Mapping[str, int]],
) -> None:
    row_id = optimization_comm_group.c.Id
    columns = [*TOTAL_COLUMNS, "PlanChanges", "Status", "Strategy"]
    connection.execute(
        sa.update(optimization_comm_group)
        .where(row_id == sa.bindparam("group_id"))
        .values({column: sa.bindparam(f"new_{column}") for column in columns}),
        [
            {
                "group_id": group.id,
                "new_Status": _status(group, totals[group.code]["PlanChanges"]),
                "new_Strategy": group.strategy.value,
                **{
                    f"new_{column}": totals[group.code][column]
                    for column in [*TOTAL_COLUMNS, "PlanChanges"]
                },
            }
            for group in groups
        ],
    )


def _status(group: SolvedGroup, plan_changes: int) -> str:
    if group.is_skipped:
        return "skipped"
    return "optimised" if plan_changes else "unchanged"


def _close_units(
    connection: sa.Connection,
    instance_id: int,
    groups: Sequence[SolvedGroup],
    totals: Mapping[str, Mapping[str, int]],
    results: Sequence[Result],
    now: datetime,
) -> None:
    sums: dict[str, dict[str, int]] = {}
    for group in groups:
        unit = sums.setdefault(group.unit, dict.fromkeys([*TOTAL_COLUMNS, "devices"], 0))
        for name in unit:
            unit[name] += totals[group.code][name]
    connection.execute(
        sa.insert(optimization_unit),
        [
            {
                "InstanceId": instance_id,
                "UnitCode": result.unit_id,
                "DeviceCount": sums[result.unit_id].pop("devices"),
                "Status": result.status.value,
                "Strategy": result.strategy.value,
                "LowerBoundMicros": result.lower_bound_micros,
                "LegacyBestCostMicros": result.legacy_best_cost_micros,
                "SolvedAt": now,
                "Certificate": to_json(result.certificate),
                **sums[result.unit_id],
            }
            for result in results
        ],
    )
