"""Strategy ``certified``: an assignment near the optimum, and multipliers that prove how near (O6).

::

    parts                  limits that do not bind are left out           parts.py
    rows, classes          SIMs with a choice, sorted; prefix sums         rows.py, classes.py
    dual                   multipliers and a mixture of assignments        dual.py, master.py
    least saving           no change that saves too little                 small_savings.py
    rounding               one assignment that follows the mixture         rounding.py
    limits                 least and most SIMs, most changes               restore.py
    repair                 local search on the exact cost                  repair.py
    polish                 integer program, small units                    polish.py, polish_program.py
    certificate            whole multipliers, derived independently        check.py
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.billing.bill import total_cost
from core.errors import InfeasibleError
from core.optimiser.buckets import build_buckets
from core.optimiser.certificate import Certificate
from core.optimiser.check import certify
from core.optimiser.classes import build_rows
from core.optimiser.dual import Dual, Mixture, maximise_dual, value_of_rows
from core.optimiser.expand import expand
from core.optimiser.limits import least_change_assignment, violations
from core.optimiser.multipliers import LinePrices
from core.optimiser.parts import parts_without_limits, pool_multipliers
from core.optimiser.polish import polish
from core.optimiser.repair import repair
from core.optimiser.restore import choices_on, restore_limits
from core.optimiser.result import SolveParams
from core.optimiser.rounding import round_mixture
from core.optimiser.rows import Rows, is_limited
from core.optimiser.small_savings import without_small_savings
from core.optimiser.state import PoolPrices, State, own_costs, pool_charges
from core.optimiser.whole_multipliers import WholeMultipliers, whole_multipliers
from core.problem import Int32Array, Problem
from core.units import micros_to_text


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certified:
    """What the certified solver found for a unit.

    Attributes
    ----------
    assignment
        Shape ``(n,)``: plan numbers; within all limits.
    certificate
        Of ``assignment``.
    is_optimal
        The integer program proved that nothing costs less, up to the tolerances of its arithmetic.
    was_stopped
        The safety clock ended the search before its budget did: another run may differ.
    """

    assignment: Int32Array
    certificate: Certificate
    is_optimal: bool = False
    was_stopped: bool = False


def certified(problem: Problem, params: SolveParams) -> Certified:
    """Solve a unit; limits that count over its SIMs are left out first, in case they do not bind.

    Parameters
    ----------
    problem
        A unit whose limits can be met (:func:`core.optimiser.limits.require_feasible`).

    Raises
    ------
    CheckFailedError
        If the independent check does not confirm cost and bound: an error in this program.
    InfeasibleError
        If limits ask for changes that save less than the least saving per change (O8).
    """
    found = _without_limits(problem, params) if problem.has_limits and problem.groups else None
    return found or _searched(problem, params)


def _without_limits(problem: Problem, params: SolveParams) -> Certified | None:
    """Solve the parts of a unit that only limits connect; None where that breaks a limit."""
    parts = parts_without_limits(problem)
    share = params.for_run(len(parts))
    found = [_searched(part.problem, share) for part in parts]
    assignment = problem.current.copy()
    for part, one in zip(parts, found, strict=True):
        assignment[part.rows] = one.assignment
    if violations(problem, assignment):
        return None
    bits = found[0].certificate.scale_bits
    pools = pool_multipliers(one.certificate for one in found)
    no_price = (0,) * len(problem.tariff.codes)
    cost = total_cost(problem, assignment)
    return Certified(
        assignment=assignment,
        certificate=certify(problem, assignment, cost, bits, pools, no_price, 0),
        is_optimal=all(one.is_optimal for one in found),
        was_stopped=any(one.was_stopped for one in found),
    )


def _searched(problem: Problem, params: SolveParams) -> Certified:
    """Solve a unit by the steps above."""
    prover = _Prover.of(problem, build_rows(problem))
    rows, value = prover.rows, prover.value()
    state = repair(
        problem, rows, _first_state(problem, prover), prover.multipliers, value,
        seed=params.seed, pairs=params.repair_pairs, kicks=params.repair_kicks,
    )  # fmt: skip
    state, polished = polish(
        problem, rows, state, prover.multipliers, value, nodes=params.polish_nodes
    )
    if prover.keeps_present:
        state = _with_enough_savings(problem, prover, state)
    assignment = expand(problem, rows, state.choice)
    return Certified(
        assignment=assignment,
        certificate=prover.certificate(assignment, total_cost(problem, assignment)),
        # Which lines save enough depends on the multipliers: nothing is claimed of others.
        is_optimal=polished.is_optimal and not prover.keeps_present,
        was_stopped=polished.was_stopped,
    )


def bound_only(problem: Problem, assignment: Int32Array) -> Certificate:
    """Certificate of an assignment that was found in another way.

    Raises
    ------
    CheckFailedError
        If the assignment is not within the limits.
    """
    prover = _Prover.of(problem, build_rows(problem))
    return prover.certificate(assignment, total_cost(problem, assignment))


class _Prover:
    """The dual of a unit, and its multipliers as whole numbers.

    Attributes
    ----------
    all_rows, rows
        Under a least saving per change (O8), ``rows`` pay a penalty on lines that save too little.
    mixture
        What rounding starts from; under a least saving per change the cheapest assignment at the
        multipliers, which takes no such line.
    """

    def __init__(self, problem: Problem, rows: Rows, dual: Dual, whole: WholeMultipliers) -> None:
        self._problem, self._whole = problem, whole
        self.all_rows = self.rows = rows
        self.buckets = build_buckets(rows)
        self.mixture = dual.mixture
        self.multipliers = whole.as_floats()
        self.keeps_present = problem.min_saving_per_change_micros > 0 and rows.n_rows > 0
        if self.keeps_present:
            self.rows = without_small_savings(problem, rows, whole)
            self.mixture = Mixture(
                points=(self.multipliers,),
                start=np.arange(self.buckets.n_buckets + 1, dtype=np.int64),
                point=np.zeros(self.buckets.n_buckets, dtype=np.int64),
                weight=np.ones(self.buckets.n_buckets),
            )

    @classmethod
    def of(cls, problem: Problem, rows: Rows) -> _Prover:
        """Maximise the dual."""
        dual = maximise_dual(problem, rows, build_buckets(rows))
        return cls(problem, rows, dual, whole_multipliers(problem, rows, dual.multipliers))

    def certificate(self, assignment: Int32Array, cost_micros: int) -> Certificate:
        """Prove the bound beside the cost of an assignment."""
        whole = self._whole
        return certify(
            self._problem, assignment, cost_micros, whole.scale_bits, whole.pools, whole.plans,
            whole.change,
        )  # fmt: skip

    def value(self) -> float:
        """Give the bound in the terms of ``State.cost_micros``: without the own costs of other SIMs."""
        of_rows = value_of_rows(self._problem, self.rows, self.buckets, self.multipliers)
        return of_rows + self._constant() + self._linear_terms()

    def _constant(self) -> float:
        """Charges of the pools whose usage is fixed."""
        pool = self.rows.lines.pool
        closed = np.setdiff1d(np.arange(len(self.rows.fixed_pool_bytes)), pool[pool >= 0])
        charges = pool_charges(PoolPrices.of(self._problem), self.rows.fixed_pool_bytes)
        return float(charges[closed].sum())

    def _linear_terms(self) -> float:
        """Terms of the dual that no row has: fixed usage of pools and limits."""
        problem, rows = self._problem, self.rows
        total = 0.0
        for s in np.unique(rows.lines.pool[rows.lines.pool >= 0]).tolist():
            price = float(self.multipliers.pools[s])
            block = float(problem.pool_block_bytes[s])
            total += price * float(rows.fixed_pool_bytes[s])
            starts = problem.pool_tier_from_block[s].tolist()
            rates = problem.pool_tier_rate_micros[s].tolist()
            below = rates[0] / block
            for start, rate in zip(starts[1:], rates[1:], strict=True):
                total -= max(0.0, min(price, rate / block) - below) * start * block
                below = max(below, rate / block)
        for p, price in enumerate(self.multipliers.plans.tolist()):
            limit = problem.max_sims[p] if price > 0 else problem.min_sims[p]
            total -= price * float(limit - rows.fixed_sims[p]) if price else 0.0
        if problem.max_changes is not None:
            total -= self.multipliers.change * problem.max_changes
        return total


def _first_state(problem: Problem, prover: _Prover) -> State:
    """Round the mixture, and bring it within the limits."""
    rows, prices = prover.rows, LinePrices(problem, prover.rows)
    state = State(problem, rows, round_mixture(rows, prover.buckets, prover.mixture, prices))
    if not is_limited(problem):
        return state
    restored = restore_limits(problem, rows, state, prices.at(prover.multipliers))
    if restored is not None:
        return restored
    known = least_change_assignment(problem)[rows.sim]
    return State(problem, rows, choices_on(rows, known))


def _with_enough_savings(problem: Problem, prover: _Prover, state: State) -> State:
    """Give up changes that save too little, or where that breaks a limit all changes (O8)."""
    rows = prover.rows
    (own, _), (unpenalised, _) = (own_costs(r, state.choice) for r in (rows, prover.all_rows))
    is_small = own != unpenalised
    if not is_small.any():
        return state
    present = choices_on(rows, problem.current[rows.sim])
    violated = None
    for kept in (np.where(is_small, present, state.choice), present):
        state = State(problem, rows, kept)
        violated = violations(problem, expand(problem, rows, kept))
        if violated is None:
            return state
    msg = (
        f"min_saving_per_change is {micros_to_text(problem.min_saving_per_change_micros)}, and "
        f"without changes that save less another constraint is violated ({violated}): lower "
        "min_saving_per_change, or ease that constraint"
    )
    raise InfeasibleError(msg)
