"""The whole optimisation of a fleet, from grouping to outcome.

:func:`optimise_fleet` is the story in one call. Flows take the same steps one by one:
:func:`fleet_sequences`, :func:`solve_unit` per solve unit, :func:`assignments_of` and
:func:`core.assembly.assemble`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait

import polars as pl

from core.assembly import UnitSolution, assemble, assignments_of, unit_assignments, with_taxes
from core.batches import Batch, split_batches
from core.billing.bill import Bill, bill
from core.domain import BillingPolicy, CommunicationPlan, Constraints, RatePlan, TaxRate
from core.errors import CarrierOptError
from core.group_sequences import fleet_sequences
from core.grouping import Grouping, Sequences, group_fleet, iter_problems
from core.least_saving import drop_small_savings
from core.optimiser.check import check
from core.optimiser.explain import explain
from core.optimiser.limits import require_feasible, violations
from core.optimiser.result import Result, SolveParams
from core.optimiser.solve import solve
from core.outcome import Outcome
from core.problem import Problem
from core.process_pool import process_pool

LOG = logging.getLogger(__name__)

__all__ = [
    "UnitSolution",
    "assemble",
    "assignments_of",
    "fleet_sequences",
    "optimise_fleet",
    "solve_unit",
    "unit_assignments",
    "warn_of_stops",
    "with_taxes",
]

Progress = Callable[[int, int], None]
"""Called with the number of finished solve units and of all."""

_BATCHES_PER_WORKER = 4


def optimise_fleet(
    fleet: pl.DataFrame,
    rate_plans: Sequence[RatePlan],
    communication_plans: Sequence[CommunicationPlan] | None,
    policy: BillingPolicy,
    params: SolveParams,
    *,
    max_rate_plans: int,
    max_sequences: int,
    workers: int,
    constraints: Constraints | None = None,
    on_progress: Progress | None = None,
    taxes: Sequence[TaxRate] | None = None,
) -> Outcome:
    """Group a fleet, solve its units and gather the outcome.

    Parameters
    ----------
    fleet, rate_plans, communication_plans, policy, max_rate_plans, constraints
        See :func:`core.grouping.group_fleet`.
    max_sequences
        Candidate sequences made per group (O5), at least 1.
    workers
        Processes that solve; with 1 everything runs in this one. The outcome is the same (O10).
    on_progress
        Called after every finished unit or batch of units.
    taxes
        Added to the outcome; they change no decision (B6). None leaves taxes out.

    Raises
    ------
    DataError
        If plans, SIMs, taxes or possible sums cannot be priced.
    InfeasibleError
        If the constraints cannot be kept (O8).
    """
    grouping = group_fleet(
        fleet, rate_plans, communication_plans, policy,
        max_rate_plans=max_rate_plans, constraints=constraints,
    )  # fmt: skip
    sequences = fleet_sequences(grouping, max_sequences)
    params = params.for_run(len(grouping.unit_ids))
    solutions: list[UnitSolution] = []
    for finished in _solve_all(grouping, sequences, params, workers):
        solutions += finished
        warn_of_stops(finished)
        if on_progress is not None:
            on_progress(len(solutions), len(grouping.unit_ids))
    outcome = assemble(grouping, solutions, assignments_of(grouping, solutions))
    outcome = drop_small_savings(grouping, solutions, outcome)
    return outcome if taxes is None else with_taxes(outcome, taxes)


def solve_unit(problem: Problem, params: SolveParams) -> UnitSolution:
    """Solve one unit, check it, price it before and after, and explain it; what a worker runs.

    Raises
    ------
    CheckFailedError
        If the result's certificate does not prove it (O3): an error in this program.
    InfeasibleError
        If no assignment keeps the constraints (O8).
    CarrierOptError
        If the SIMs' costs do not add up to the cost that was minimised (B10), or the answer
        violates a constraint: an error in this program.
    """
    require_feasible(problem)
    result = solve(problem, params)
    _check_constraints(problem, result)
    check(problem, result)
    baseline, recommended = bill(problem, problem.current), bill(problem, result.assignment)
    _check_sum(problem, baseline, result.baseline_cost_micros)
    _check_sum(problem, recommended, result.cost_micros)
    return UnitSolution(
        result=result,
        baseline=baseline,
        recommended=recommended,
        explanation=explain(problem, result.assignment, result.certificate),
    )


def warn_of_stops(solutions: Sequence[UnitSolution]) -> None:
    """Log the units whose search was ended by the clock, so that another run may differ (O6)."""
    for solution in solutions:
        if solution.result.was_stopped:
            LOG.warning(
                "solve unit %s: the safety clock ended the integer program before its budget of "
                "nodes did; the answer holds, and another run may find another one",
                solution.result.unit_id,
            )


def solve_units(problems: Sequence[Problem], params: SolveParams) -> list[UnitSolution]:
    """Solve units one after the other; what a worker process runs."""
    return [solve_unit(problem, params) for problem in problems]


def _check_constraints(problem: Problem, result: Result) -> None:
    violated = violations(problem, result.assignment)
    if violated:
        msg = (
            f"the answer of solve unit {problem.unit_id} violates a constraint ({violated}): an "
            "error in this program, please report it with the input"
        )
        raise CarrierOptError(msg)


def _check_sum(problem: Problem, priced: Bill, cost_micros: int) -> None:
    total = int(priced.objective(problem.charge_type).sum())
    if total != cost_micros:
        msg = (
            f"the SIM costs of solve unit {problem.unit_id} add up to {total} micro-units, its cost "
            f"is {cost_micros}: an error in this program, please report it with the input"
        )
        raise CarrierOptError(msg)


def _solve_all(
    grouping: Grouping, sequences: Sequences, params: SolveParams, workers: int
) -> Iterator[list[UnitSolution]]:
    """Solutions as they come: one unit at a time here, or one batch at a time from processes."""
    batches = _batches(grouping, workers * _BATCHES_PER_WORKER)
    if workers <= 1 or len(batches) <= 1:
        for problem in iter_problems(grouping, sequences):
            yield [solve_unit(problem, params)]
        return
    pool = process_pool(min(workers, len(batches)))
    running: set[Future[list[UnitSolution]]] = set()
    try:
        for batch in batches:
            if len(running) > workers:  # one in store for each worker's next turn
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
            problems = list(iter_problems(grouping, sequences, unit_ids=batch.unit_ids))
            running.add(pool.submit(solve_units, problems, params))
        yield from (future.result() for future in as_completed(running))
    finally:
        pool.shutdown(cancel_futures=True)


def _batches(grouping: Grouping, n_batches: int) -> list[Batch]:
    """Cut the units into about ``n_batches`` parts of equal work."""
    n_sims = dict.fromkeys(grouping.unit_ids, 0)
    for group in grouping.groups:
        n_sims[group.unit_id] += group.devices
    return split_batches(
        list(n_sims.items()),
        sims_per_batch=max(1, -(-sum(n_sims.values()) // n_batches)),
        max_units_per_batch=max(1, -(-len(n_sims) // n_batches)),
    )
