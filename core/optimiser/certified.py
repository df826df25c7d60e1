"""Strategy ``certified``: an assignment near the optimum, and multipliers that prove how near (O6).

::

    rows, classes          SIMs with a choice, sorted; prefix sums         rows.py, classes.py
    dual                   multipliers and a mixture of assignments        dual.py, master.py
    rounding               one assignment that follows the mixture         rounding.py
    limits                 least and most SIMs, most changes               restore.py
    repair                 local search on the exact cost                  repair.py
    polish                 integer program, small units                    polish.py
    certificate            whole multipliers, derived independently        check.py
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.billing.bill import total_cost
from core.errors import InfeasibleError
from core.optimiser.buckets import build_buckets
from core.optimiser.certificate import Certificate
from core.optimiser.check import certify
from core.optimiser.classes import build_rows
from core.optimiser.dual import Dual, Mixture, maximise_dual
from core.optimiser.expand import expand
from core.optimiser.limits import least_change_assignment, violations
from core.optimiser.multipliers import LinePrices
from core.optimiser.polish import polish
from core.optimiser.repair import repair
from core.optimiser.restore import choices_on, restore_limits
from core.optimiser.result import SolveParams
from core.optimiser.rounding import round_mixture
from core.optimiser.rows import Rows, is_limited
from core.optimiser.state import PoolPrices, State, own_costs, pool_charges
from core.optimiser.whole_multipliers import WholeMultipliers, whole_multipliers
from core.problem import Int32Array, Problem
from core.units import micros_to_text

NOT_ALLOWED = 1 << 60
"""Own cost of a row on a line that saves too little (O8)."""


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
    """Solve a unit.

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
    rows = build_rows(problem)
    prover = _Prover.of(problem, rows)
    if prover.keeps_present:
        rows = prover.without_small_savings()
    state = _first_state(problem, rows, prover)
    state = repair(
        problem, rows, state, prover.multipliers, prover.value,
        seed=params.seed, pairs=params.repair_pairs, kicks=params.repair_kicks,
    )  # fmt: skip
    state, polished = polish(
        problem, rows, state, prover.multipliers, prover.value, nodes=params.polish_nodes
    )
    if prover.keeps_present:
        state = _with_enough_savings(problem, rows, state)
    assignment = expand(problem, rows, state.choice)
    return Certified(
        assignment=assignment,
        certificate=prover.certificate(assignment, total_cost(problem, assignment)),
        # Lines that save just the least saving may have been left out: nothing is claimed of them.
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
    """The dual of a unit, its multipliers as whole numbers, and its value in terms of a state.

    Attributes
    ----------
    value
        Dual value plus the charges of pools that no row can be in: what a state's cost is compared
        with. Under a least saving per change it is the value without lines that save too little.
    """

    def __init__(self, problem: Problem, rows: Rows, dual: Dual, whole: WholeMultipliers) -> None:
        self._problem, self._rows, self._whole = problem, rows, whole
        self.buckets = build_buckets(rows)
        self.mixture = dual.mixture
        self.multipliers = whole.as_floats()
        self.value = dual.value + self._constant()
        self.keeps_present = problem.min_saving_per_change_micros > 0 and rows.n_rows > 0

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

    def without_small_savings(self) -> Rows:
        """Rows that see only lines which save enough at the multipliers, and the present one.

        The mixture gives way to the cheapest assignment at the multipliers.
        """
        rows, problem = self._rows, self._problem
        lines = rows.lines
        intercept, slope = LinePrices(problem, rows, with_least_saving=False).at(self.multipliers)
        own = rows.own_micros.copy()
        value = 0.0
        for k in range(len(rows.class_start) - 1):
            start, end = int(rows.class_start[k]), int(rows.class_start[k + 1])
            first, last = int(lines.start[k]), int(lines.start[k + 1])
            part = own[rows.own_row[k] : rows.own_row[k] + end - start, : last - first]
            cost = (
                part
                + intercept[first:last]
                + np.outer(rows.usage_bytes[start:end], slope[first:last])
            )
            present = cost[:, ~lines.is_change[first:last]]
            saves = present - cost
            # A hair more than asked for, so that exact arithmetic agrees.
            least = problem.min_saving_per_change_micros * (1 + 1e-9) + 1e-6 * np.abs(present).max()
            part[(saves < least) & lines.is_change[first:last]] = NOT_ALLOWED
            value += float(np.where(part == NOT_ALLOWED, np.inf, cost).min(axis=1).sum())
        self.mixture = Mixture(
            points=(self.multipliers,),
            start=np.arange(self.buckets.n_buckets + 1, dtype=np.int64),
            point=np.zeros(self.buckets.n_buckets, dtype=np.int64),
            weight=np.ones(self.buckets.n_buckets),
        )
        self.value = value + self._constant() + self._linear_terms()
        return replace(rows, own_micros=own)

    def _constant(self) -> float:
        """Charges of the pools whose usage is fixed."""
        pool = self._rows.lines.pool
        closed = np.setdiff1d(np.arange(len(self._rows.fixed_pool_bytes)), pool[pool >= 0])
        charges = pool_charges(PoolPrices.of(self._problem), self._rows.fixed_pool_bytes)
        return float(charges[closed].sum())

    def _linear_terms(self) -> float:
        """Terms of the dual that no row has: fixed usage of pools and limits."""
        problem, rows = self._problem, self._rows
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


def _first_state(problem: Problem, rows: Rows, prover: _Prover) -> State:
    """Round the mixture, and bring it within the limits."""
    prices = LinePrices(problem, rows)
    state = State(problem, rows, round_mixture(rows, prover.buckets, prover.mixture, prices))
    if not is_limited(problem):
        return state
    restored = restore_limits(problem, rows, state, prices.at(prover.multipliers))
    if restored is not None:
        return restored
    known = least_change_assignment(problem)[rows.sim]
    return State(problem, rows, choices_on(rows, known))


def _with_enough_savings(problem: Problem, rows: Rows, state: State) -> State:
    """Give up a state of which a change saves too little, for the present plans (O8)."""
    own, _ = own_costs(rows, state.choice)
    if not (own >= NOT_ALLOWED).any():
        return state
    violated = violations(problem, problem.current)
    if violated:
        msg = (
            f"min_saving_per_change is {micros_to_text(problem.min_saving_per_change_micros)}, and "
            f"without changes that save less another constraint is violated ({violated}): lower "
            "min_saving_per_change, or ease that constraint"
        )
        raise InfeasibleError(msg)
    return State(problem, rows, choices_on(rows, problem.current[rows.sim]))
