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

from collections.abc import Sequence

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
        ``OPTIMAL`` where the unit is separable (:func:`core.optimiser.individual.is_separable`),
        else ``FEASIBLE``.
    """
    current = candidates.current_assignment(problem)
    is_exact = is_separable(problem)
    if is_exact:
        winner, legacy = candidates.separable(problem)
    else:
        legacy = candidates.legacy(problem, params)
        # A certified candidate, with its lower bound, joins these.
        found = [legacy.candidate, candidates.best_single_plan(problem)]
        winner = _winner(found, current, params)
    if not free_sims(problem).any():
        winner = current
    return Result(
        unit_id=problem.unit_id,
        status=SolveStatus.OPTIMAL if is_exact else SolveStatus.FEASIBLE,
        assignment=winner.assignment,
        cost_micros=winner.cost_micros,
        baseline_cost_micros=current.cost_micros,
        lower_bound_micros=None,
        strategy=winner.strategy,
        group_strategy=winner.group_strategy,
        legacy_best_cost_micros=legacy.candidate.cost_micros if legacy.candidate else None,
        walks=legacy.walks,
    )


def _winner(
    found: Sequence[Candidate | None], current: Candidate, params: SolveParams
) -> Candidate:
    """Cheapest candidate; ties by fewer changes, then name (O7)."""
    feasible = [candidate for candidate in found if candidate is not None]
    if not params.skip_lower_cost_check or not feasible:
        feasible.append(current)
    return min(feasible, key=Candidate.rank)
