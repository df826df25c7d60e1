"""From lines of rows to plans of SIMs, with as few changes as the same cost allows."""

from __future__ import annotations

import numpy as np
from numba import njit

from core.billing.individual import individual_costs
from core.optimiser.rows import CHEAPEST_INDIVIDUAL, Rows
from core.optimiser.state import plans_of
from core.problem import INDIVIDUAL, Int32Array, Int64Array, Problem


def expand(problem: Problem, rows: Rows, choice: Int32Array) -> Int32Array:
    """Plan of every SIM, shape ``(n_sims,)``.

    A SIM whose present individual plan costs no more than its cheapest one keeps it, and the plans
    of equal rows go first to those that have them.
    """
    plans = plans_of(rows, choice).copy()
    _keep_equal_individual(problem, rows, choice, plans)
    is_first = np.ones(rows.n_rows, dtype=bool)
    is_first[1:] = rows.usage_bytes[1:] != rows.usage_bytes[:-1]
    is_first[rows.class_start[:-1]] = True
    is_first |= np.repeat(rows.own_row >= 0, np.diff(rows.class_start))
    starts = np.append(np.flatnonzero(is_first), rows.n_rows)
    _deal(starts, problem.current[rows.sim], plans, len(problem.tariff.codes))
    assignment = problem.current.copy()
    assignment[rows.sim] = plans
    return assignment


def _keep_equal_individual(
    problem: Problem, rows: Rows, choice: Int32Array, plans: Int32Array
) -> None:
    """Put rows back on their present individual plan where it is as cheap as the cheapest."""
    alone = np.flatnonzero(choice == CHEAPEST_INDIVIDUAL)
    sims = rows.sim[alone]
    current = problem.current[sims]
    nothing = np.zeros(0, dtype=np.int64)
    for plan in np.flatnonzero(np.bincount(current)).tolist():
        here = np.flatnonzero(current == plan)
        here = here[problem.pool_of[plan, problem.group[sims[here]]] == INDIVIDUAL]
        empty = np.resize(nothing, len(here))
        cost = individual_costs(
            problem.tariff,
            plan,
            problem.usage_bytes[sims[here]],
            empty,
            empty,
            problem.day_class[sims[here]],
            problem.charge_type,
        )
        same = here[cost == rows.individual_micros[alone[here]]]
        plans[alone[same]] = plan


@njit(cache=True, error_model="numpy")
def _deal(starts: Int64Array, current: Int32Array, plans: Int32Array, n_plans: int) -> None:
    """Deal the plans of equal rows out anew: first to rows that have them today."""
    left = np.zeros(n_plans, dtype=np.int64)
    for run in range(len(starts) - 1):
        low, high = starts[run], starts[run + 1]
        if high - low < 2:
            continue
        for i in range(low, high):
            left[plans[i]] += 1
        for i in range(low, high):
            if left[current[i]] > 0:
                left[current[i]] -= 1
                plans[i] = current[i]
            else:
                plans[i] = -1
        plan = 0
        for i in range(low, high):
            if plans[i] < 0:
                while left[plan] == 0:
                    plan += 1
                left[plan] -= 1
                plans[i] = plan
