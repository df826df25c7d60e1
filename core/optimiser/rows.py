"""The SIMs of a unit that have a choice, sorted so that prefix sums price whole stretches of them.

A *class* holds SIMs that see the same plans at the same fees and allowances: one group, one number
of active days and, where it matters, one present plan. Within a class rows are sorted by usage, ties
by ICCID. On a pooled plan a row costs ``fee + multiplier * (usage - included)``, a *line* in its
usage; all individual plans together are one number per row, the cheapest of them.

A class is *general* where that does not hold. It keeps the cost of each row on each plan. General
are classes of SIMs whose SMS or voice cost other amounts on other plans; every class with an
individual plan once any plan of the unit has a limit or ``max_changes`` is set; and all classes
under a least saving per change (O8).
"""

from __future__ import annotations

from dataclasses import dataclass

from core.problem import BoolArray, Int32Array, Int64Array, Problem

CHEAPEST_INDIVIDUAL = -1
"""Choice of a row that takes its cheapest individual plan; every other choice is a line."""

NO_INDIVIDUAL = 1 << 62
"""Cheapest individual cost of a row without individual plans."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lines:
    """The plans of every class; those of class ``k`` are ``start[k]`` to ``start[k + 1] - 1``.

    Attributes
    ----------
    start
        Shape ``(n_classes + 1,)``.
    plan, pool
        Shape ``(n_lines,)``: plan number, and pool number or ``INDIVIDUAL``. Only general classes
        have lines of individual plans.
    fee_micros, included_bytes
        Shape ``(n_lines,)``; fees are 0 where they are not part of the objective (B7).
    is_change
        Shape ``(n_lines,)``: whether the plan is another one than the SIM has. Meaningful only
        where classes were split by present plan.
    """

    start: Int64Array
    plan: Int32Array
    pool: Int32Array
    fee_micros: Int64Array
    included_bytes: Int64Array
    is_change: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """SIMs with a choice in class order, and what the others amount to.

    Attributes
    ----------
    sim
        Shape ``(n,)``: row of the problem.
    usage_bytes
        Shape ``(n,)``: ascending within a class.
    prefix_usage
        Shape ``(n + 1,)``: sums of usage before each row.
    class_start
        Shape ``(n_classes + 1,)``.
    individual_micros, individual_plan
        Shape ``(n,)``: cost of the cheapest individual plan and its number, ``NO_INDIVIDUAL`` and
        -1 without one; unused for general classes. These and the next two are empty where no class
        has such plans.
    prefix_individual
        Shape ``(n + 1,)``: sums of ``individual_micros``, without rows that have none.
    run_end
        Shape ``(n,)``: first later row of another class or ``individual_micros``.
    has_individual
        Shape ``(n_classes,)``.
    own_row
        Shape ``(n_classes,)``: first row of a general class in ``own_micros``, -1 for the others.
    own_micros
        Shape ``(n_general_rows, longest)``: cost on each line of the class, without the overage
        of a pool.
    fixed_pool_bytes
        Shape ``(n_pools,)``: usage less allowance of the SIMs without a choice.
    fixed_sims
        Shape ``(n_plans,)``: how many of them are on each plan.
    """

    sim: Int64Array
    usage_bytes: Int64Array
    prefix_usage: Int64Array
    class_start: Int64Array
    lines: Lines
    individual_micros: Int64Array
    individual_plan: Int32Array
    prefix_individual: Int64Array
    run_end: Int64Array
    has_individual: BoolArray
    own_row: Int64Array
    own_micros: Int64Array
    fixed_pool_bytes: Int64Array
    fixed_sims: Int64Array

    @property
    def n_rows(self) -> int:
        """Number of SIMs with a choice."""
        return len(self.sim)


def is_limited(problem: Problem) -> bool:
    """Whether anything but the plan lists limits the assignment (O8)."""
    return bool(
        problem.max_changes is not None
        or problem.min_saving_per_change_micros > 0
        or limited_plans(problem).any()
    )


def limited_plans(problem: Problem) -> BoolArray:
    """Plans with a least or most number of SIMs that some assignment could miss, shape ``(n_plans,)``."""
    limited: BoolArray = (problem.min_sims > 0) | (problem.max_sims < problem.n_sims)
    return limited
