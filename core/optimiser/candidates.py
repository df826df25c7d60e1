"""The assignments among which a unit's winner is chosen (O7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.billing.bill import total_cost
from core.domain import Strategy
from core.optimiser.individual import (
    cheapest_listed,
    cheapest_per_sim,
    free_sims,
    group_rows,
)
from core.optimiser.result import GroupWalks, SolveParams
from core.problem import INDIVIDUAL, Int32Array, Int64Array, Problem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A feasible assignment, priced at true pool scope.

    Attributes
    ----------
    strategy, group_strategy
        How it was found, for the unit and for each of its groups; a fixed group or one without
        SIMs has ``CURRENT_ASSIGNMENT``.
    assignment
        Shape ``(n,)``: plan numbers.
    changes
        SIMs that get another plan than they have.
    """

    strategy: Strategy
    group_strategy: tuple[Strategy, ...]
    assignment: Int32Array
    cost_micros: int
    changes: int

    def rank(self) -> tuple[int, int, str]:
        """Order of O7: the cheapest, then the one with fewer changes, then by name."""
        return self.cost_micros, self.changes, self.strategy.value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Legacy:
    """The legacy candidate (O4), None where a group cannot be walked, and the walks behind it."""

    candidate: Candidate | None
    walks: tuple[GroupWalks, ...]


def current_assignment(problem: Problem) -> Candidate:
    """Every SIM keeps its plan."""
    return _candidate(problem, Strategy.CURRENT_ASSIGNMENT, problem.current.copy())


def separable(problem: Problem) -> tuple[Candidate, Legacy]:
    """Find an optimum of a separable unit, and its legacy candidate: cheapest listed plans.

    That is what walks over individual plans come to; no walk is run (O11).
    """
    strategy = Strategy.CHEAPEST_PLAN_PER_SIM
    assignment, listed = cheapest_per_sim(problem)
    candidate = None if listed is None else _candidate(problem, strategy, listed)
    return _candidate(problem, strategy, assignment), Legacy(candidate=candidate, walks=())


def best_single_plan(problem: Problem, *, must_change: bool = False) -> Candidate | None:
    """All SIMs of the groups that are not fixed on the one plan that is cheapest; ties as O7.

    Parameters
    ----------
    must_change
        Leave out a plan that all these SIMs have already.

    Returns
    -------
    Candidate or None
        None where the groups' lists have no such plan in common.
    """
    lists = [
        set(group.eligible)
        for group, rows in zip(problem.groups, group_rows(problem), strict=True)
        if len(rows) and not group.is_fixed
    ]
    plans = sorted(set.intersection(*lists)) if lists else []
    is_free = free_sims(problem)
    candidates = (
        _candidate(
            problem,
            Strategy.BEST_SINGLE_PLAN,
            np.where(is_free, np.int32(plan), problem.current),
        )
        for plan in plans
    )
    wanted = (one for one in candidates if one.changes or not must_change)
    return min(wanted, key=Candidate.rank, default=None)


def legacy(problem: Problem, params: SolveParams) -> Legacy:
    """Each group's cheapest walk with private pools, combined and priced at true scope (O4).

    A group whose list holds individual plans only takes each SIM's cheapest plan of the list, which
    is what its walks come to.
    """
    assignment = problem.current.copy()
    strategies = [Strategy.CURRENT_ASSIGNMENT] * len(problem.groups)
    walks: list[GroupWalks] = []
    rows_of_group = group_rows(problem)
    for g, (group, rows) in enumerate(zip(problem.groups, rows_of_group, strict=True)):
        if group.is_fixed or not len(rows):
            continue
        if not group.eligible:
            return Legacy(candidate=None, walks=tuple(walks))
        if (problem.pool_of[group.eligible, g] == INDIVIDUAL).all():
            strategies[g] = Strategy.CHEAPEST_PLAN_PER_SIM
            assignment[rows], _ = cheapest_listed(problem, rows, group.eligible)
            continue
        found = _walked(problem, g, rows, params)
        walks.append(found[0])
        if found[1] is None:
            return Legacy(candidate=None, walks=tuple(walks))
        strategies[g] = found[0].strategies[found[0].best_strategy]
        assignment[rows] = found[1]
    sizes = [
        0 if group.is_fixed else len(rows)
        for group, rows in zip(problem.groups, rows_of_group, strict=True)
    ]
    largest = strategies[sizes.index(max(sizes))] if sizes else Strategy.CURRENT_ASSIGNMENT
    candidate = _candidate(problem, largest, assignment, tuple(strategies))
    return Legacy(candidate=candidate, walks=tuple(walks))


def _walked(
    problem: Problem, g: int, rows: Int64Array, params: SolveParams
) -> tuple[GroupWalks, Int32Array | None]:
    from core.optimiser.walks import walk_group  # compiled code is loaded where a pool needs it

    walked = walk_group(problem, g, rows, params)
    return walked.walks, walked.best


def _candidate(
    problem: Problem,
    strategy: Strategy,
    assignment: Int32Array,
    group_strategy: tuple[Strategy, ...] | None = None,
) -> Candidate:
    if group_strategy is None:
        group_strategy = tuple(
            Strategy.CURRENT_ASSIGNMENT if group.is_fixed or not len(rows) else strategy
            for group, rows in zip(problem.groups, group_rows(problem), strict=True)
        )
    return Candidate(
        strategy=strategy,
        group_strategy=group_strategy,
        assignment=assignment,
        cost_micros=total_cost(problem, assignment),
        changes=int(np.count_nonzero(assignment != problem.current)),
    )
