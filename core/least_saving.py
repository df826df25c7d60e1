"""A run that saves too little to be worth its changes keeps every plan (O8)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import ROUND_FLOOR

from core.assembly import UnitSolution, assemble, assignments_of
from core.domain import SolveStatus, Strategy
from core.errors import InfeasibleError
from core.grouping import Grouping, iter_problems
from core.optimiser.explain import explain
from core.optimiser.limits import violations
from core.outcome import Outcome
from core.problem import Problem
from core.units import exact_money_text, money_text


def drop_small_savings(
    grouping: Grouping, solutions: Sequence[UnitSolution], outcome: Outcome
) -> Outcome:
    """Drop all changes of a run that saves less than its constraints ask for.

    Parameters
    ----------
    solutions
        One per unit of the grouping, in any order.
    outcome
        What :func:`core.assembly.assemble` made of them.

    Returns
    -------
    Outcome
        The same one where no least saving is asked for, where it saves enough, or where it changes
        nothing; else one in which every SIM keeps its plan, with ``dropped_savings_micros``. Bounds
        stay: they hold for every assignment.

    Raises
    ------
    InfeasibleError
        If the plans that the SIMs have violate another constraint.
    """
    least = grouping.constraints.min_saving_micros
    if not least or outcome.savings_micros >= least or not outcome.plan_changes:
        return outcome
    kept = list(_kept(grouping, solutions, outcome))
    unchanged = assemble(grouping, kept, assignments_of(grouping, kept))
    return replace(unchanged, dropped_savings_micros=outcome.savings_micros)


def _kept(
    grouping: Grouping, solutions: Sequence[UnitSolution], outcome: Outcome
) -> Iterator[UnitSolution]:
    by_unit = {solution.result.unit_id: solution for solution in solutions}
    for problem in iter_problems(grouping):
        violated = violations(problem, problem.current)
        if violated:
            msg = (
                f"min_saving is {exact_money_text(grouping.constraints.min_saving_micros)}, the "
                f"changes found save {money_text(outcome.savings_micros, ROUND_FLOOR)}, and without changes "
                f"another constraint is violated ({violated}): lower min_saving"
            )
            raise InfeasibleError(msg)
        yield _without_changes(problem, by_unit[problem.unit_id])


def _without_changes(problem: Problem, solution: UnitSolution) -> UnitSolution:
    result = solution.result
    cost = result.baseline_cost_micros
    is_optimal = result.status is SolveStatus.OPTIMAL and result.cost_micros == cost
    certificate = result.certificate and replace(result.certificate, cost_micros=cost)
    kept = replace(
        result,
        status=SolveStatus.OPTIMAL if is_optimal else SolveStatus.FEASIBLE,
        assignment=problem.current.copy(),
        cost_micros=cost,
        strategy=Strategy.CURRENT_ASSIGNMENT,
        group_strategy=(Strategy.CURRENT_ASSIGNMENT,) * len(result.group_strategy),
        certificate=certificate,
    )
    explanation = explain(problem, kept.assignment, certificate)
    return replace(solution, result=kept, recommended=solution.baseline, explanation=explanation)
