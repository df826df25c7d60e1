"""The queues that results stand under: what the walks of a group cost, and which one it took (O4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from core.domain import Strategy
from core.optimiser.result import Result
from core.storage.bulk import in_lists
from core.storage.instances import Instance
from core.storage.legacy_ids import RunStatus
from core.storage.schema import optimization_queue


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvedGroup:
    """A group of the units at hand, with what the optimiser chose for it."""

    id: int
    code: str
    unit: str
    is_skipped: bool
    strategy: Strategy
    winning_sequence: int | None


def store_walk_costs(
    connection: sa.Connection,
    groups: Sequence[SolvedGroup],
    results: Sequence[Result],
    batch_id: str | None,
    now: datetime,
) -> None:
    """Write the cheapest walk of each sequence into its queue.

    The queue of a pruned sequence (O5) gets neither cost nor strategy: it ends as ``CANCELLED``.
    """
    number = {group.code: group.id for group in groups}
    costs = [
        {
            "group_id": number[walks.group_id],
            "sequence": sequence,
            "cost": None if is_pruned else int(walks.cost_micros[sequence, best]),
            "strategy": None if is_pruned else walks.strategies[best].value,
            "status": int(RunStatus.CANCELLED if is_pruned else RunStatus.COMPLETE_WITH_SUCCESS),
        }
        for result in results
        for walks in result.walks
        if walks.strategies
        for sequence, (best, is_pruned) in enumerate(
            zip(walks.cost_micros.argmin(axis=1), walks.is_pruned, strict=True)
        )
    ]
    if not costs:
        return
    queue = optimization_queue.c
    group_id, sequence_number = queue.CommPlanGroupId, queue.SequenceNumber
    connection.execute(
        sa.update(optimization_queue)
        .where(group_id == sa.bindparam("group_id"), sequence_number == sa.bindparam("sequence"))
        .values(
            TotalCostMicros=sa.bindparam("cost"),
            Strategy=sa.bindparam("strategy"),
            RunStatusId=sa.bindparam("status"),
            RunEndTime=now,
            BatchId=batch_id,
        ),
        costs,
    )


def open_result_queues(
    connection: sa.Connection,
    instance: Instance,
    groups: Sequence[SolvedGroup],
    totals: Mapping[str, Mapping[str, int]],
    batch_id: str | None,
    now: datetime,
) -> dict[str, int]:
    """Choose or make the queue that each group's results stand under; its id by group code."""
    found = _sequence_queues(connection, groups)
    common = {
        "InstanceId": instance.id,
        "ServiceProviderId": instance.service_provider_id,
        "UsesProration": instance.uses_proration,
        "RunStatusId": int(RunStatus.NOT_STARTED),
        "IsResult": True,
        "CreatedBy": instance.created_by,
        "CreatedDate": now,
    }
    new = [
        {**common, "CommPlanGroupId": group.id, "UnitCode": group.unit}
        for group in groups
        if group.code not in found
    ]
    if new:
        connection.execute(sa.insert(optimization_queue), new)
        found |= _new_queues(connection, [group for group in groups if group.code not in found])
    queue = optimization_queue.c
    row_id = queue.Id
    connection.execute(
        sa.update(optimization_queue)
        .where(row_id == sa.bindparam("queue_id"))
        .values(
            IsResult=sa.true(),
            Strategy=sa.bindparam("strategy"),
            BaselineCostMicros=sa.bindparam("baseline"),
            TotalCostMicros=sa.bindparam("total"),
            RunStatusId=int(RunStatus.COMPLETE_WITH_SUCCESS),
            RunEndTime=now,
            BatchId=batch_id,
        ),
        [
            {
                "queue_id": found[group.code],
                "strategy": group.strategy.value,
                "baseline": totals[group.code]["BaselineCostMicros"],
                "total": totals[group.code]["OptimizedCostMicros"],
            }
            for group in groups
        ],
    )
    return found


def _sequence_queues(connection: sa.Connection, groups: Sequence[SolvedGroup]) -> dict[str, int]:
    """Queue of the winning sequence, for groups that a walk won and whose sequence is stored."""
    wanted = {group.id: group for group in groups if group.winning_sequence is not None}
    queue = optimization_queue.c
    found: dict[str, int] = {}
    for ids in in_lists(list(wanted)):
        numbers = {wanted[number].winning_sequence for number in ids}
        statement = sa.select(queue.CommPlanGroupId, queue.SequenceNumber, queue.Id).where(
            queue.CommPlanGroupId.in_(ids), queue.SequenceNumber.in_(numbers)
        )
        for group_id, sequence, queue_id in connection.execute(statement):
            if wanted[group_id].winning_sequence == sequence:
                found[wanted[group_id].code] = queue_id
    return found


def _new_queues(connection: sa.Connection, groups: Sequence[SolvedGroup]) -> dict[str, int]:
    queue = optimization_queue.c
    code = {group.id: group.code for group in groups}
    found: dict[str, int] = {}
    for ids in in_lists(list(code)):
        statement = sa.select(queue.CommPlanGroupId, queue.Id).where(
            queue.CommPlanGroupId.in_(ids), queue.SequenceNumber.is_(None)
        )
        found |= {code[group_id]: queue_id for group_id, queue_id in connection.execute(statement)}
    return found
