"""Candidate sequences of a group as queues: one queue per sequence, its plans in order (O5).

Sequences go in slices of whole groups and count from the moment when ``SequencedAt`` is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import polars as pl
import sqlalchemy as sa

from core.errors import StorageError
from core.storage.bulk import SLICE_ROWS, in_lists, insert_frame, read_frame
from core.storage.engine import reading, writing
from core.storage.instances import (
    Fence,
    Instance,
    load_instance,
    load_unpublished,
    run_fence,
    update_instance,
)
from core.storage.legacy_ids import RunStatus
from core.storage.retry import retried
from core.storage.schema import (
    optimization_comm_group,
    optimization_comm_group_rate_plan,
    optimization_queue,
    optimization_queue_rate_plan,
)
from core.storage.snapshot import delete_results, require_grouped

Sequences = Mapping[str, Sequence[tuple[str, ...]]]
"""Candidate sequences by group id, each of rate plan codes."""


@retried
def save_sequences(
    engine: sa.Engine,
    instance_id: int,
    sequences: Sequences,
    *,
    now: datetime,
    fence: Fence | None = None,
) -> int:
    """Store the candidate sequences of all groups; idempotent.

    Sequences and results that the instance had are deleted first.

    Returns
    -------
    int
        Number of queues, i.e. of sequences.

    Raises
    ------
    StorageError
        If the instance is unknown, not grouped or published, or a sequence names a plan that its
        group does not have.
    """
    with writing(engine) as connection:
        run_fence(connection, fence)
        instance = load_unpublished(connection, instance_id)
        require_grouped(instance)
        update_instance(connection, instance_id, SequencedAt=None)
        delete_results(connection, instance_id)
        groups = _group_rows(connection, instance_id)
        plans = _plan_rows(connection, instance_id)
    n_queues = 0
    for part in _parts(sequences):
        with writing(engine) as connection:
            run_fence(connection, fence)
            n_queues += _insert_part(connection, instance, part, groups, plans, now)
    with writing(engine) as connection:
        run_fence(connection, fence)
        update_instance(connection, instance_id, SequencedAt=now)
    return n_queues


@retried
def load_sequences(
    engine: sa.Engine, instance_id: int, group_ids: Sequence[str] | None = None
) -> dict[str, list[tuple[str, ...]]]:
    """Read the candidate sequences, as they were given; after publish only those that won.

    Parameters
    ----------
    group_ids
        Only these groups; None for all.

    Returns
    -------
    dict
        By group id; a group without sequences has no entry.

    Raises
    ------
    StorageError
        If the instance is unknown, or its sequences are not complete.
    """
    schema = {"group": pl.String(), "number": pl.Int64(), "code": pl.String()}
    with reading(engine) as connection:
        if load_instance(connection, instance_id).sequenced_at is None:
            raise StorageError(f"optimisation instance {instance_id} has no sequences yet")
        statement = _select_sequences(instance_id)
        if group_ids is None:
            rows = read_frame(connection, statement, schema)
        else:
            code = optimization_comm_group.c.GroupCode
            rows = pl.concat(
                [pl.DataFrame(schema=schema)]
                + [
                    read_frame(connection, statement.where(code.in_(part)), schema)
                    for part in in_lists(list(group_ids))
                ]
            )
    found: dict[str, list[tuple[str, ...]]] = {}
    lists = rows.group_by("group", "number", maintain_order=True).agg("code")
    for group, codes in lists.select("group", "code").iter_rows():
        found.setdefault(group, []).append(tuple(codes))
    return found


def _select_sequences(instance_id: int) -> sa.Select[tuple[str, int, str]]:
    queue, step = optimization_queue.c, optimization_queue_rate_plan.c
    group, plan = optimization_comm_group.c, optimization_comm_group_rate_plan.c
    return (
        sa.select(group.GroupCode, queue.SequenceNumber, plan.RatePlanCode)
        .select_from(
            optimization_queue.join(optimization_comm_group, group.Id == queue.CommPlanGroupId)
            .join(optimization_queue_rate_plan, step.QueueId == queue.Id)
            .join(optimization_comm_group_rate_plan, plan.Id == step.CommGroup_RatePlanId)
        )
        .where(queue.InstanceId == instance_id, queue.SequenceNumber.is_not(None))
        .order_by(group.Id, queue.SequenceNumber, step.SequenceOrder)
    )


def _group_rows(connection: sa.Connection, instance_id: int) -> pl.DataFrame:
    group = optimization_comm_group.c
    return read_frame(
        connection,
        sa.select(group.GroupCode, group.Id, group.UnitCode).where(group.InstanceId == instance_id),
        {"group": pl.String(), "CommPlanGroupId": pl.Int64(), "UnitCode": pl.String()},
    )


def _plan_rows(connection: sa.Connection, instance_id: int) -> pl.DataFrame:
    plan = optimization_comm_group_rate_plan.c
    return read_frame(
        connection,
        sa.select(plan.CommGroupId, plan.RatePlanCode, plan.Id).where(
            plan.InstanceId == instance_id
        ),
        {
            "CommPlanGroupId": pl.Int64(),
            "code": pl.String(),
            "CommGroup_RatePlanId": pl.Int64(),
        },
    )


def _parts(sequences: Sequences) -> Iterator[pl.DataFrame]:
    """Whole groups, each part with about ``SLICE_ROWS`` rows of group, number, order and code."""
    columns: tuple[list[str], list[int], list[int], list[str]] = ([], [], [], [])
    for group, candidates in sequences.items():
        for number, codes in enumerate(candidates):
            columns[0].extend([group] * len(codes))
            columns[1].extend([number] * len(codes))
            columns[2].extend(range(1, len(codes) + 1))
            columns[3].extend(codes)
        if len(columns[0]) >= SLICE_ROWS:
            yield _part(columns)
            columns = ([], [], [], [])
    if columns[0]:
        yield _part(columns)


def _part(columns: tuple[list[str], list[int], list[int], list[str]]) -> pl.DataFrame:
    names = {
        "group": pl.String(),
        "SequenceNumber": pl.Int64(),
        "SequenceOrder": pl.Int64(),
        "code": pl.String(),
    }
    return pl.DataFrame(dict(zip(names, columns, strict=True)), schema=names)


def _insert_part(
    connection: sa.Connection,
    instance: Instance,
    part: pl.DataFrame,
    groups: pl.DataFrame,
    plans: pl.DataFrame,
    now: datetime,
) -> int:
    steps = part.join(groups, on="group", how="left").join(
        plans, on=["CommPlanGroupId", "code"], how="left"
    )
    _refuse_unknown(instance.id, steps)
    queues = steps.select("CommPlanGroupId", "UnitCode", "SequenceNumber").unique(
        maintain_order=True
    )
    insert_frame(
        connection,
        optimization_queue,
        queues.with_columns(
            InstanceId=pl.lit(instance.id, dtype=pl.Int64),
            ServiceProviderId=pl.lit(instance.service_provider_id, dtype=pl.Int64),
            UsesProration=pl.lit(value=instance.uses_proration),
            RunStatusId=pl.lit(int(RunStatus.NOT_STARTED), dtype=pl.Int64),
            CreatedBy=pl.lit(instance.created_by),
            CreatedDate=pl.lit(now).dt.cast_time_unit("us"),
        ),
    )
    numbered = _queue_numbers(connection, queues["CommPlanGroupId"].unique().to_list())
    insert_frame(
        connection,
        optimization_queue_rate_plan,
        steps.join(numbered, on=["CommPlanGroupId", "SequenceNumber"])
        .select("QueueId", "SequenceOrder", "CommGroup_RatePlanId")
        .sort("QueueId", "SequenceOrder"),
    )
    return queues.height


def _refuse_unknown(instance_id: int, steps: pl.DataFrame) -> None:
    unknown = steps.filter(pl.col("CommGroup_RatePlanId").is_null())
    if unknown.height:
        group, code = unknown.select("group", "code").row(0)
        msg = (
            f"a sequence of group {group} of instance {instance_id} names the rate plan {code!r}, "
            "which the group does not have"
        )
        raise StorageError(msg)


def _queue_numbers(connection: sa.Connection, comm_group_ids: list[int]) -> pl.DataFrame:
    queue = optimization_queue.c
    schema = {"CommPlanGroupId": pl.Int64(), "SequenceNumber": pl.Int64(), "QueueId": pl.Int64()}
    statement = sa.select(queue.CommPlanGroupId, queue.SequenceNumber, queue.Id)
    return pl.concat(
        [
            read_frame(connection, statement.where(queue.CommPlanGroupId.in_(ids)), schema)
            for ids in in_lists(comm_group_ids)
        ]
    )
