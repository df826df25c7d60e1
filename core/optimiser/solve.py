"""Solves one unit: collects candidate assignments and takes the cheapest (O1, O7, O11).

The integer program, for SIMs i with usage u_i, their plans E_i (the group's list and the plan that
the SIM has; only the latter for a locked SIM or a skipped group), and pools s with block b_s and
charge r_s, a sum of price tiers::

    minimise    sum_i sum_{p in E_i} x_ip c_ip  +  sum_s r_s(ceil(max(0, z_s) / b_s))
    where       z_s = sum_i sum_{p in E_i, p in pool s} x_ip (u_i - included_ip)
    subject to  sum_{p in E_i} x_ip = 1 for every i,   x_ip in {0, 1}
                min_p <= sum_i x_ip <= max_p for every limited plan p
                sum_i sum_{p not i's present plan} x_ip <= max_changes

``c_ip`` is the SIM's fee plus its SMS, its voice and, on an individual plan, its data overage; the
charge type says which of these count (B7). A separable unit is solved exactly; elsewhere the answer
is never worse than any feasible one of the current assignment, the best single plan and the legacy
candidate. Every answer carries a certificate: multipliers that prove a lower bound (O3).
"""

from __future__ import annotations

from dataclasses import replace

from core.domain import SolveStatus
from core.errors import InfeasibleError
from core.optimiser import candidates
from core.optimiser.candidates import Candidate, Legacy
from core.optimiser.certificate import Certificate
from core.optimiser.individual import free_sims, is_separable
from core.optimiser.limits import violations
from core.optimiser.result import Result, SolveParams
from core.problem import Problem


def solve(problem: Problem, params: SolveParams) -> Result:
    """Find a cheap assignment for one unit.

    Parameters
    ----------
    problem
        The unit, with limits that can be met (:func:`core.optimiser.limits.require_feasible`). For
        the legacy candidate, groups with a pooled plan need their sequences.

    Returns
    -------
    Result
        The cheapest feasible candidate; ties by fewer changes, then name (O7). With
        ``skip_lower_cost_check`` the cheapest one that changes something. ``OPTIMAL`` where the unit
        is separable, where the cost equals the certificate's bound, or where the integer program of
        a small unit was solved to its end; never with a skipped group (V3).

    Raises
    ------
    CheckFailedError
        If the independent check does not confirm the certificate: an error in this program.
    InfeasibleError
        If the certified solver does not compete, and no other candidate keeps the limits (O8).
    """
    current = candidates.current_assignment(problem)
    optimal_micros = None
    certificate, was_stopped = None, False
    if is_separable(problem):
        optimum, legacy = candidates.separable(problem)
        found, optimal_micros = [optimum], optimum.cost_micros
    else:
        legacy = candidates.legacy(problem, params)
        found = [*_some(legacy.candidate, legacy.later), current]
        if params.is_certified:
            candidate, certified = candidates.certified(problem, params)
            found.append(candidate)
            certificate, was_stopped = certified.certificate, certified.was_stopped
            optimal_micros = candidate.cost_micros if certified.is_optimal else None
        feasible = candidates.cheapest_feasible(problem, found)
        at_most = feasible.cost_micros if feasible else None
        found += _some(candidates.best_single_plan(problem, at_most=at_most))
    if params.skip_lower_cost_check:
        found = _changed(problem, found, legacy) or [current]
    winner = candidates.cheapest_feasible(problem, found) or _kept(problem, current)
    if not free_sims(problem).any():
        winner = current
    if certificate is None:
        certificate = candidates.bound_only(problem, winner)
    certificate = replace(certificate, cost_micros=winner.cost_micros)
    is_proven = winner.cost_micros in (optimal_micros, certificate.bound_micros)
    result = _result(problem, current, winner, legacy, certificate, is_proven=is_proven)
    return replace(result, was_stopped=was_stopped)


def _kept(problem: Problem, current: Candidate) -> Candidate:
    """Today's plans where no candidate is feasible; they have to keep the limits then."""
    violated = violations(problem, current.assignment)
    if violated:
        msg = (
            "neither today's plans nor walks, which know no limits, keep the constraints "
            f"({violated}): choose the strategy certified, or ease that constraint"
        )
        raise InfeasibleError(msg)
    return current


def _changed(problem: Problem, found: list[Candidate], legacy: Legacy) -> list[Candidate]:
    """Candidates that change something, with further ones that would otherwise not compete."""
    single = candidates.best_single_plan(problem, must_change=True)
    return [one for one in [*found, *_some(legacy.candidate, single)] if one.changes]


def _result(
    problem: Problem,
    current: Candidate,
    winner: Candidate,
    legacy: Legacy,
    certificate: Certificate,
    *,
    is_proven: bool,
) -> Result:
    is_whole = not any(group.is_fixed for group in problem.groups)
    return Result(
        unit_id=problem.unit_id,
        status=SolveStatus.OPTIMAL if is_proven and is_whole else SolveStatus.FEASIBLE,
        assignment=winner.assignment,
        cost_micros=winner.cost_micros,
        baseline_cost_micros=current.cost_micros,
        lower_bound_micros=certificate.bound_micros,
        strategy=winner.strategy,
        group_strategy=winner.group_strategy,
        legacy_best_cost_micros=legacy.candidate.cost_micros if legacy.candidate else None,
        walks=legacy.walks,
        group_sequence=winner.group_sequence,
        certificate=certificate,
    )


def _some(*candidates: Candidate | None) -> list[Candidate]:
    """Those that there are."""
    return [candidate for candidate in candidates if candidate is not None]
