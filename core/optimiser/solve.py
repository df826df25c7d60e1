"""Solves one unit: collects candidate assignments and takes the cheapest (O1, O7, O11).

The integer program, for SIMs i with usage u_i, their plans E_i (the group's list and the plan that
the SIM has), and pools s with rate r_s and block b_s::

    minimise    sum_i sum_{p in E_i} x_ip c_ip  +  sum_s r_s ceil(max(0, z_s) / b_s)
    where       z_s = sum_i sum_{p in E_i, p in pool s} x_ip (u_i - included_ip)
    subject to  sum_{p in E_i} x_ip = 1 for every i,   x_ip in {0, 1}

``c_ip`` is the SIM's fee plus its SMS, its voice and, on an individual plan, its data overage; the
charge type says which of these count (B7). A separable unit is solved exactly; elsewhere the answer
is feasible, never worse than the current assignment, the best single plan or the legacy candidate,
and comes without a bound.
"""

from __future__ import annotations

from core.domain import SolveStatus
from core.optimiser import candidates
from core.optimiser.candidates import Candidate
from core.optimiser.individual import free_sims, is_separable
from core.optimiser.result import Result, SolveParams
from core.problem import Problem


def solve(problem: Problem, params: SolveParams) -> Result:
    """Find a cheap assignment for one unit.

    Parameters
    ----------
    problem
        The unit; mixed and pooled groups need their sequences.

    Returns
    -------
    Result
        The cheapest candidate; ties by fewer changes, then name (O7). With
        ``skip_lower_cost_check`` the cheapest one that changes something. ``OPTIMAL`` where the
        unit is separable (:func:`core.optimiser.individual.is_separable`) and none of its groups
        was skipped (V3), else ``FEASIBLE``.
    """
    current = candidates.current_assignment(problem)
    is_exact = is_separable(problem)
    if is_exact:
        optimum, legacy = candidates.separable(problem)
        found = [optimum]
    else:
        legacy = candidates.legacy(problem, params)
        # A certified candidate, with its lower bound, joins these.
        single = candidates.best_single_plan(problem)
        found = [*_some(legacy.candidate, legacy.later, single), current]
    if params.skip_lower_cost_check:
        single = candidates.best_single_plan(problem, must_change=True)
        changed = [one for one in [*found, *_some(legacy.candidate, single)] if one.changes]
        found = changed or [current]
    winner = min(candidates.feasible(problem, found) or [current], key=Candidate.rank)
    if not free_sims(problem).any():
        winner = current
    is_proven = is_exact and free_sims(problem).all() and winner.cost_micros == optimum.cost_micros
    return Result(
        unit_id=problem.unit_id,
        status=SolveStatus.OPTIMAL if is_proven else SolveStatus.FEASIBLE,
        assignment=winner.assignment,
        cost_micros=winner.cost_micros,
        baseline_cost_micros=current.cost_micros,
        lower_bound_micros=None,
        strategy=winner.strategy,
        group_strategy=winner.group_strategy,
        legacy_best_cost_micros=legacy.candidate.cost_micros if legacy.candidate else None,
        walks=legacy.walks,
        group_sequence=winner.group_sequence,
    )


def _some(*candidates: Candidate | None) -> list[Candidate]:
    """Those that there are."""
    return [candidate for candidate in candidates if candidate is not None]
