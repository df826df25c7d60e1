"""Publishing: the stored results of an instance begin to count, in one step (R1).

Until then they stand under queues without ``IsWinner``, where views and the operators' queries do not
look. Storing them unit by unit is :mod:`core.storage.unit_results`, reading them back
:mod:`core.storage.outcomes`.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from core.errors import StorageError
from core.outcome import Outcome
from core.storage.engine import writing
from core.storage.instances import Fence, load_instance, run_fence, update_instance
from core.storage.legacy_ids import RunStatus
from core.storage.retry import retried
from core.storage.schema import (
    optimization_comm_group,
    optimization_m2m_device_result,
    optimization_mobility_device_result,
    optimization_queue,
    optimization_queue_rate_plan,
    optimization_unit,
)
from core.storage.snapshot import require_grouped


@retried
def publish(
    engine: sa.Engine,
    instance_id: int,
    outcome: Outcome,
    *,
    now: datetime,
    status: RunStatus = RunStatus.COMPLETE_WITH_SUCCESS,
    fence: Fence | None = None,
) -> None:
    """Make the stored results count, in one transaction (:func:`publish_in` has the rest)."""
    with writing(engine) as connection:
        run_fence(connection, fence)
        publish_in(connection, instance_id, outcome, now=now, status=status)


def publish_in(
    connection: sa.Connection,
    instance_id: int,
    outcome: Outcome,
    *,
    now: datetime,
    status: RunStatus = RunStatus.COMPLETE_WITH_SUCCESS,
) -> None:
    """Make the stored results count, within the caller's transaction; idempotent.

    Totals go into the instance, each group's result becomes its winning queue, and the losing
    queues with their rows are removed, children first. An instance that is published already stays
    as it is.

    Raises
    ------
    StorageError
        If the instance is unknown, or the totals are not those of the stored results.
    """
    instance = load_instance(connection, instance_id)
    if instance.published_at is not None:
        return
    require_grouped(instance)
    _require_same_totals(connection, instance_id, outcome)
    queue, group = optimization_queue.c, optimization_comm_group.c
    of_instance = queue.InstanceId == instance_id
    connection.execute(
        sa.update(optimization_queue)
        .where(of_instance, queue.IsResult == sa.true())
        .values(IsWinner=sa.true())
    )
    winner = (
        sa.select(queue.Id)
        .where(queue.CommPlanGroupId == group.Id, queue.IsWinner == sa.true())
        .scalar_subquery()
    )
    connection.execute(
        sa.update(optimization_comm_group)
        .where(group.InstanceId == instance_id)
        .values(WinningQueueId=winner)
    )
    losers = sa.select(queue.Id).where(of_instance, queue.IsWinner == sa.false())
    for child in (
        optimization_m2m_device_result,
        optimization_mobility_device_result,
        optimization_queue_rate_plan,
    ):
        connection.execute(sa.delete(child).where(child.c.QueueId.in_(losers)))
    connection.execute(
        sa.delete(optimization_queue).where(of_instance, queue.IsWinner == sa.false())
    )
    update_instance(
        connection,
        instance_id,
        **_totals(outcome),
        RunStatusId=int(status),
        RunEndTime=now,
        PublishedAt=now,
    )


def _totals(outcome: Outcome) -> dict[str, int | None]:
    """Columns of OptimizationInstance (R1)."""
    return {
        "DeviceCount": outcome.devices,
        "UnpricedCount": outcome.unpriced,
        "BaselineCostMicros": outcome.baseline.objective_micros,
        "BaselineRateCostMicros": outcome.baseline.rate_micros,
        "BaselineOverageCostMicros": outcome.baseline.overage_micros,
        "OptimizedCostMicros": outcome.optimized.objective_micros,
        "OptimizedRateCostMicros": outcome.optimized.rate_micros,
        "OptimizedOverageCostMicros": outcome.optimized.overage_micros,
        "LowerBoundMicros": outcome.lower_bound_micros,
        "LegacyBestCostMicros": outcome.legacy_best_cost_micros,
        "PlanChanges": outcome.plan_changes,
    }


def _require_same_totals(connection: sa.Connection, instance_id: int, outcome: Outcome) -> None:
    """Refuse totals that the SIMs below them do not add up to (B10)."""
    unit = optimization_unit.c
    stored = connection.execute(
        sa.select(
            sa.func.coalesce(sa.func.sum(unit.BaselineCostMicros), 0),
            sa.func.coalesce(sa.func.sum(unit.OptimizedCostMicros), 0),
        ).where(unit.InstanceId == instance_id)
    ).one()
    given = (outcome.baseline.objective_micros, outcome.optimized.objective_micros)
    if tuple(stored) != given:
        msg = (
            f"the outcome of instance {instance_id} has baseline and optimised cost {given}, the "
            f"stored results add up to {tuple(stored)} micro-units: nothing was published"
        )
        raise StorageError(msg)
