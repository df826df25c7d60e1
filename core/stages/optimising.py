"""Stage OPTIMISING: batches of solve units, each finished unit stored at once (S6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from core.assembly import UnitSolution, assignments_of
from core.batches import Batch, split_batches
from core.grouping import Grouping, iter_problems
from core.optimisation import warn_of_stops
from core.optimiser.result import SolveParams
from core.problem import Problem
from core.stages.session import SessionContext
from core.storage.queues import load_sequences
from core.storage.unit_results import finished_units, save_unit_results

Solver = Callable[[Sequence[Problem], SolveParams], list[UnitSolution]]
"""Solves problems, here or in another process."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Workload:
    """What is left to optimise in a session.

    Attributes
    ----------
    grouping, sequences
        As stored for the session's instance.
    batches
        Solve units without a stored result.
    n_units, n_finished
        All units of the session, and those that an earlier attempt has finished.
    """

    grouping: Grouping
    sequences: Mapping[str, Sequence[tuple[str, ...]]]
    batches: tuple[Batch, ...]
    n_units: int
    n_finished: int


def plan_workload(
    engine: sa.Engine,
    context: SessionContext,
    grouping: Grouping,
    *,
    sims_per_batch: int,
    max_units_per_batch: int,
) -> Workload:
    """Split the units that have no result yet into batches."""
    finished = finished_units(engine, context.instance_id)
    sizes: dict[str, int] = dict.fromkeys(grouping.unit_ids, 0)
    for group in grouping.groups:
        sizes[group.unit_id] += group.devices
    todo = [(unit_id, size) for unit_id, size in sizes.items() if unit_id not in finished]
    batches = split_batches(
        todo, sims_per_batch=sims_per_batch, max_units_per_batch=max_units_per_batch
    )
    return Workload(
        grouping=grouping,
        sequences=load_sequences(engine, context.instance_id),
        batches=tuple(batches),
        n_units=len(sizes),
        n_finished=len(sizes) - len(todo),
    )


def optimise_batch(
    engine: sa.Engine,
    context: SessionContext,
    workload: Workload,
    batch: Batch,
    *,
    params: SolveParams,
    solver: Solver,
    now: Callable[[], datetime],
) -> int:
    """Solve a batch and store its units; returns their number.

    Doing it again replaces what the units had.
    """
    problems = list(iter_problems(workload.grouping, workload.sequences, unit_ids=batch.unit_ids))
    solutions = solver(problems, params)
    warn_of_stops(solutions)
    rows = assignments_of(workload.grouping, solutions)
    save_unit_results(
        engine,
        context.instance_id,
        rows,
        [solution.result for solution in solutions],
        now=now(),
        batch_id=batch.batch_id,
        fence=context.fence,
    )
    return len(solutions)
