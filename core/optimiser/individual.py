"""The exact answer where SIMs do not depend on each other: the cheapest plan of each (O1, O11).

Without pools the objective of O1 is a sum over SIMs, ``min sum_i c[i, x_i]``, and every SIM's least
``c[i, p]`` over its plans is an optimum. The same holds under ``ChargeType.RATE``, where pools cost
nothing, and for a unit of one SIM, whose pool is its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from core.billing.individual import individual_costs
from core.domain import ChargeType
from core.problem import INDIVIDUAL, Int32Array, Int64Array, Problem


def group_rows(problem: Problem) -> list[Int64Array]:
    """SIMs of each group, ascending; in the order of ``Problem.groups``."""
    if len(problem.groups) == 1:
        return [np.arange(problem.n_sims)]
    order = np.argsort(problem.group, kind="stable")
    sizes = np.bincount(problem.group, minlength=len(problem.groups))
    return np.split(order, np.cumsum(sizes)[:-1])


def free_sims(problem: Problem) -> npt.NDArray[np.bool_]:
    """Whether each SIM may change its plan: it is not locked (O8), nor its group fixed (V3)."""
    is_free: npt.NDArray[np.bool_] = ~problem.is_locked
    is_fixed = np.array([group.is_fixed for group in problem.groups], dtype=bool)
    return is_free & ~is_fixed[problem.group] if is_fixed.any() else is_free


def free_rows(problem: Problem) -> list[Int64Array]:
    """SIMs of each group that may change their plan, ascending; none of a fixed group."""
    if not problem.is_locked.any():
        rows_of_group = zip(problem.groups, group_rows(problem), strict=True)
        return [rows[:0] if group.is_fixed else rows for group, rows in rows_of_group]
    is_free = free_sims(problem)
    return [rows[is_free[rows]] for rows in group_rows(problem)]


def is_separable(problem: Problem) -> bool:
    """Whether :func:`cheapest_per_sim` is an optimum of the unit.

    True where no SIM that has a choice can be in a pool, where pools cost nothing, and with at most
    one SIM. SIMs without a choice are constant, and so is what their pools cost. False under limits
    that count over SIMs (O8), and for one SIM in a pool under a least saving per change, which is
    measured at the pool's multiplier and not by its whole blocks.
    """
    if problem.has_limits:
        return False
    is_alone = problem.n_sims <= 1 and not problem.min_saving_per_change_micros
    if is_alone or problem.charge_type is ChargeType.RATE:
        return True
    for g, (group, rows) in enumerate(zip(problem.groups, free_rows(problem), strict=True)):
        plans = sorted({*group.eligible, *np.unique(problem.current[rows]).tolist()})
        if not len(rows) or len(plans) == 1:
            continue
        if (problem.pool_of[plans, g] != INDIVIDUAL).any():
            return False
    return True


def cheapest_listed(
    problem: Problem, rows: Int64Array, plans: Sequence[int]
) -> tuple[Int32Array, Int64Array]:
    """Each SIM's cheapest plan of a list, and its cost there; ties by plan number.

    Parameters
    ----------
    rows
        The SIMs.
    plans
        Plan numbers, ascending, at least one; each priced as if it were not pooled.

    Returns
    -------
    tuple
        Plan numbers and micro-units, each of shape ``(len(rows),)``.
    """
    costs = _costs_on(problem, rows, plans[0])
    chosen = np.full(len(rows), plans[0], dtype=np.int32)
    for plan in plans[1:]:
        candidate = _costs_on(problem, rows, plan)
        is_cheaper = candidate < costs
        chosen[is_cheaper] = plan
        np.minimum(costs, candidate, out=costs)
    return chosen, costs


def cheapest_per_sim(problem: Problem) -> tuple[Int32Array, Int32Array | None]:
    """Give each SIM its cheapest plan, of its group's list or its own; ties keep its own plan.

    A SIM that would save less than ``min_saving_per_change_micros`` keeps its plan as well (O8).

    Returns
    -------
    tuple
        Assignments of shape ``(n,)``. The first is an optimum with the fewest changes where
        :func:`is_separable` holds. In the second, SIMs take plans of the list only, as walks do;
        None where a group with SIMs has an empty list.
    """
    assignment, listed = problem.current.copy(), problem.current.copy()
    is_listed = True
    least_saving = max(1, problem.min_saving_per_change_micros)
    for group, rows in zip(problem.groups, free_rows(problem), strict=True):
        if not len(rows):
            continue
        if not group.eligible:
            is_listed = False
            continue
        listed[rows], costs = cheapest_listed(problem, rows, group.eligible)
        cheaper = rows[costs <= _current_costs(problem, rows) - least_saving]
        assignment[cheaper] = listed[cheaper]
    return assignment, listed if is_listed else None


def _current_costs(problem: Problem, rows: Int64Array) -> Int64Array:
    """Cost of each SIM alone on the plan that it has."""
    costs = np.empty(len(rows), dtype=np.int64)
    for plan in np.unique(problem.current[rows]).tolist():
        position = np.flatnonzero(problem.current[rows] == plan)
        costs[position] = _costs_on(problem, rows[position], plan)
    return costs


def _costs_on(problem: Problem, rows: Int64Array, plan: int) -> Int64Array:
    return individual_costs(
        problem.tariff,
        plan,
        problem.usage_bytes[rows],
        problem.sms_count[rows],
        problem.voice_seconds[rows],
        problem.day_class[rows],
        problem.charge_type,
    )
