"""The assignments among which a unit's winner is chosen (O7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from core.billing.bill import total_cost
from core.billing.tariff import NO_CAP
from core.domain import ChargeType, Strategy
from core.optimiser.certificate import Certificate
from core.optimiser.individual import (
    cheapest_listed,
    cheapest_per_sim,
    free_rows,
    free_sims,
)
from core.optimiser.limits import violations
from core.optimiser.result import GroupWalks, SolveParams
from core.problem import INDIVIDUAL, Int32Array, Int64Array, Problem

if TYPE_CHECKING:
    from core.optimiser.certified import Certified
    from core.optimiser.walks import Walked


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """An assignment, priced at true pool scope.

    The present one (:func:`current_assignment`) need not keep the constraints;
    :func:`cheapest_feasible` looks.

    Attributes
    ----------
    strategy, group_strategy
        How it was found, for the unit and for each of its groups; a group without SIMs that may
        change has ``CURRENT_ASSIGNMENT``.
    assignment
        Shape ``(n,)``: plan numbers.
    changes
        SIMs that get another plan than they have.
    group_sequence
        Of a combination of walks: see :attr:`core.optimiser.result.Result.group_sequence`.
    """

    strategy: Strategy
    group_strategy: tuple[Strategy, ...]
    assignment: Int32Array
    cost_micros: int
    changes: int
    group_sequence: tuple[int, ...] = ()

    def rank(self) -> tuple[int, int, str]:
        """Order of O7: the cheapest, then the one with fewer changes, then by name."""
        return self.cost_micros, self.changes, self.strategy.value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Legacy:
    """The legacy candidate (O4), and the walks behind it.

    Attributes
    ----------
    candidate
        From the sequences that are always walked (O5); None where a group cannot be walked, and
        where it violates a constraint (O8).
    later
        The same over all sequences, where a later one is better for some group.
    """

    candidate: Candidate | None
    walks: tuple[GroupWalks, ...]
    later: Candidate | None = None


def cheapest_feasible(problem: Problem, found: Iterable[Candidate]) -> Candidate | None:
    """First of the candidates, by rank, that violates no constraint (O7, O8); None without one."""
    ranked = sorted(found, key=Candidate.rank)
    return next((one for one in ranked if violations(problem, one.assignment) is None), None)


def current_assignment(problem: Problem) -> Candidate:
    """Every SIM keeps its plan, be that feasible or not."""
    return _candidate(problem, Strategy.CURRENT_ASSIGNMENT, problem.current.copy())


def separable(problem: Problem) -> tuple[Candidate, Legacy]:
    """Find an optimum of a separable unit, and its legacy candidate: cheapest listed plans.

    That is what walks over individual plans come to; no walk is run (O11).
    """
    strategy = Strategy.CHEAPEST_PLAN_PER_SIM
    assignment, listed = cheapest_per_sim(problem)
    candidate = None if listed is None else _candidate(problem, strategy, listed)
    kept = _keeping_constraints(problem, candidate)
    return _candidate(problem, strategy, assignment), Legacy(candidate=kept, walks=())


def certified(problem: Problem, params: SolveParams) -> tuple[Candidate, Certified]:
    """Run the certified solver (O6): its candidate, and what it knows of it."""
    from core.optimiser import certified as solver  # HiGHS is loaded where it is needed

    found = solver.certified(problem, params)
    cost = found.certificate.cost_micros
    return _candidate(problem, Strategy.CERTIFIED, found.assignment, cost_micros=cost), found


def bound_only(problem: Problem, candidate: Candidate) -> Certificate:
    """Certificate of a candidate that was found without the certified solver (O3)."""
    from core.optimiser import certified as solver

    return solver.bound_only(problem, candidate.assignment)


def best_single_plan(
    problem: Problem, *, must_change: bool = False, at_most: int | None = None
) -> Candidate | None:
    """All SIMs that may change on the one plan that is cheapest; ties as O7.

    Parameters
    ----------
    must_change
        Leave out a plan that all these SIMs have already.
    at_most
        Micro-units: plans that are known to cost more without being priced SIM by SIM are left out.

    Returns
    -------
    Candidate or None
        None where no plan that all of them have or may get keeps the constraints.
    """
    plans = _plans_for_all(problem)
    if at_most is not None:
        least = single_plan_bounds(problem)
        plans = [plan for plan in plans if least[plan] <= at_most]
    is_free = free_sims(problem)
    candidates = (
        _candidate(
            problem,
            Strategy.BEST_SINGLE_PLAN,
            np.where(is_free, np.int32(plan), problem.current),
        )
        for plan in plans
    )
    kept = (_keeping_constraints(problem, one) for one in candidates)
    wanted = (one for one in kept if one and (one.changes or not must_change))
    return min(wanted, key=Candidate.rank, default=None)


def _plans_for_all(problem: Problem) -> list[int]:
    """Plans that every SIM that may change has already or has on its list, ascending."""
    plans = set(range(len(problem.tariff.codes))) if free_sims(problem).any() else set()
    for group, rows in zip(problem.groups, free_rows(problem), strict=True):
        if len(rows):
            present = problem.current[rows]
            plans &= {*group.eligible, *({int(present[0])} if np.ptp(present) == 0 else ())}
    return sorted(plans)


def single_plan_bounds(problem: Problem) -> list[int]:
    """Bound from below what all SIMs that may change cost on each plan, micro-units by plan number.

    Fees by active days, and the plan's lowest price of a byte for the usage beyond all allowances:
    started blocks cost no less, one by one or in a pool. A cap, or SIMs that keep their plans and
    might bring allowance, leave the fees alone.
    """
    tariff, is_free = problem.tariff, free_sims(problem)
    n_days = tariff.fee_micros.shape[1]
    days = np.bincount(problem.day_class[is_free], minlength=n_days).astype(np.int64)
    usage = int(problem.usage_bytes[is_free].sum())
    bounds = []
    for plan in range(len(tariff.codes)):
        counts_fees = problem.charge_type is not ChargeType.OVERAGE
        bound = int(days @ tariff.fee_micros[plan]) if counts_fees else 0
        has_cap = tariff.overage_cap_micros[plan] < NO_CAP
        if problem.charge_type is not ChargeType.RATE and not has_cap and is_free.all():
            over = max(0, usage - int(days @ tariff.included_bytes[plan]))
            rate = int(tariff.tier_rate_micros[plan].min())
            bound += rate * over // int(tariff.overage_block_bytes[plan])
        bounds.append(bound)
    return bounds


def legacy(problem: Problem, params: SolveParams) -> Legacy:
    """Each group's cheapest walk with private pools, combined and priced at true scope (O4).

    A group whose list holds individual plans only takes each SIM's cheapest plan of the list, which
    is what its walks come to. Locked SIMs keep their plan and are not walked (O8).
    """
    first, best = _Combination.of(problem), _Combination.of(problem)
    walks: list[GroupWalks] = []
    rows_of_group = free_rows(problem)
    for g, (group, rows) in enumerate(zip(problem.groups, rows_of_group, strict=True)):
        if not len(rows):
            continue
        if not group.eligible:
            return Legacy(candidate=None, walks=tuple(walks))
        if (problem.pool_of[group.eligible, g] == INDIVIDUAL).all():
            plans, _ = cheapest_listed(problem, rows, group.eligible)
            for chosen in (first, best):
                chosen.put(g, rows, plans, Strategy.CHEAPEST_PLAN_PER_SIM)
            continue
        found = _walked(problem, g, rows, params)
        walks.append(found.walks)
        if found.first is None or found.best is None:
            return Legacy(candidate=None, walks=tuple(walks))
        names, walk = found.walks.strategies, found.walks
        first.put(g, rows, found.first, names[walk.first_strategy], walk.first_sequence)
        best.put(g, rows, found.best, names[walk.best_strategy], walk.best_sequence)
    sizes = [len(rows) for rows in rows_of_group]
    largest = sizes.index(max(sizes)) if sizes else None
    is_same = first.sequences == best.sequences and first.strategies == best.strategies
    later = None if is_same else best.candidate(problem, largest)
    return Legacy(
        candidate=_keeping_constraints(problem, first.candidate(problem, largest)),
        walks=tuple(walks),
        later=_keeping_constraints(problem, later),
    )


def _keeping_constraints(problem: Problem, candidate: Candidate | None) -> Candidate | None:
    """Drop a candidate that was found without regard to constraints, and violates one (O8).

    What it saves by each change is not known, so that with a least saving per change it is dropped
    where it changes anything.
    """
    if candidate is None or violations(problem, candidate.assignment):
        return None
    return None if candidate.changes and problem.min_saving_per_change_micros else candidate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Combination:
    """One walk per group, put together to an assignment of the unit."""

    assignment: Int32Array
    strategies: list[Strategy]
    sequences: list[int]

    @staticmethod
    def of(problem: Problem) -> _Combination:
        """Every SIM on its plan."""
        return _Combination(
            assignment=problem.current.copy(),
            strategies=[Strategy.CURRENT_ASSIGNMENT] * len(problem.groups),
            sequences=[-1] * len(problem.groups),
        )

    def put(
        self, g: int, rows: Int64Array, plans: Int32Array, strategy: Strategy, sequence: int = -1
    ) -> None:
        """Set the plans of one group."""
        self.assignment[rows], self.strategies[g], self.sequences[g] = plans, strategy, sequence

    def candidate(self, problem: Problem, largest: int | None) -> Candidate:
        """Price it; the strategy is that of the largest group."""
        strategy = Strategy.CURRENT_ASSIGNMENT if largest is None else self.strategies[largest]
        priced = _candidate(problem, strategy, self.assignment, tuple(self.strategies))
        return replace(priced, group_sequence=tuple(self.sequences))


def _walked(problem: Problem, g: int, rows: Int64Array, params: SolveParams) -> Walked:
    from core.optimiser.walks import walk_group  # compiled code is loaded where a pool needs it

    return walk_group(problem, g, rows, params)


def _candidate(
    problem: Problem,
    strategy: Strategy,
    assignment: Int32Array,
    group_strategy: tuple[Strategy, ...] | None = None,
    cost_micros: int | None = None,
) -> Candidate:
    """Describe an assignment; its cost is computed where it is not known."""
    if group_strategy is None:
        group_strategy = tuple(
            strategy if len(rows) else Strategy.CURRENT_ASSIGNMENT for rows in free_rows(problem)
        )
    return Candidate(
        strategy=strategy,
        group_strategy=group_strategy,
        assignment=assignment,
        cost_micros=total_cost(problem, assignment) if cost_micros is None else cost_micros,
        changes=int(np.count_nonzero(assignment != problem.current)),
    )
