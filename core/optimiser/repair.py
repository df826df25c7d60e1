"""Lowers the exact cost of an assignment by local search (O6).

The cost of an assignment exceeds the dual's value by a sum of parts that are at least 0: for each
row what its line costs more than its best line at the multipliers, and for each pool what its charge,
in whole blocks, exceeds its multiplier times its net usage. Local search looks for single transfers
and pairs of them that lower the sum, among samples of the transfers that are small enough.
"""

from __future__ import annotations

import numpy as np

from core.optimiser.multipliers import FloatArray, LinePrices, Multipliers
from core.optimiser.rows import Rows, is_limited
from core.optimiser.state import PoolPrices, State
from core.problem import Int64Array, Problem

_MAX_TRANSFERS = 900
_PER_KIND = 32
_SAMPLE = 20_000
"""Rows looked at in a round; of a larger unit every so many-th, other ones in every round."""
_MAX_ROUNDS = 40
_STRIDE = 104_729
_PATIENCE = 6
_PAIRS = 4_000_000


def repair(
    problem: Problem,
    rows: Rows,
    state: State,
    multipliers: Multipliers,
    dual_value: float,
    *,
    seed: int,
    effort: float = 1.0,
) -> None:
    """Lower the cost of ``state`` in place.

    A pool with part of a block in use would draw usage until the block is full, though less usage
    would be better. So single transfers first see blocks of a sixty-fourth and then of an eighth of
    the size and price, which show the way; only then whole blocks count.

    Parameters
    ----------
    dual_value
        Value of the dual at the multipliers, in the terms of ``State.cost_micros``.
    effort
        Multiplies the budgets of rows and pairs; they are counts, so that time decides nothing.
    """
    search = _Search(problem, rows, multipliers, dual_value, seed, int(_PAIRS * effort))
    n_rounds = max(1, int(_MAX_ROUNDS * effort))
    for parts in (64, 8):
        state.reprice(state.prices.in_parts(parts))
        search.rounds(state, n_rounds // 4 + 1, in_pairs=False)
    state.reprice(PoolPrices.of(problem))
    search.rounds(state, n_rounds, in_pairs=True)


class _Search:
    """Rounds of local search; each lists transfers anew and applies those that help."""

    def __init__(
        self,
        problem: Problem,
        rows: Rows,
        multipliers: Multipliers,
        dual_value: float,
        seed: int,
        pairs: int,
    ) -> None:
        self._problem, self._rows, self._dual_value = problem, rows, dual_value
        self._intercept, self._slope = LinePrices(problem, rows).at(multipliers)
        self._n_plans = len(problem.tariff.codes) + 1
        self._is_limited = is_limited(problem)
        self._seed, self._round = seed * 1_000_003, 0
        self._pairs = pairs

    def rounds(self, state: State, n_rounds: int, *, in_pairs: bool) -> None:
        """Go on until rounds are used up or several of them found nothing."""
        idle = 0
        for _ in range(n_rounds):
            gap = max(0.0, state.cost_micros - self._dual_value)
            if gap < 1.0 or self._pairs <= 0:
                return
            whole, loss = self._transfers(state, gap)
            gained = self._descend(state, whole, loss, gap, in_pairs=False)
            if in_pairs:
                gap = max(0.0, state.cost_micros - self._dual_value)
                gained += self._descend(state, whole, loss, gap, in_pairs=True)
            idle = 0 if gained else idle + 1
            if idle >= (_PATIENCE if in_pairs else 1):
                return

    def _transfers(self, state: State, gap: float) -> tuple[Int64Array, FloatArray]:
        from core.optimiser.repair_kernels import list_transfers

        rows, lines = self._rows, self._rows.lines
        whole = np.empty((2 * _PER_KIND * self._n_plans**2, 9), dtype=np.int64)
        loss = np.empty(len(whole))
        self._round += 1
        step = max(1, rows.n_rows // _SAMPLE)
        n = list_transfers(
            rows.class_start, rows.usage_bytes, lines.start, lines.plan, lines.pool,
            lines.fee_micros, lines.included_bytes, lines.is_change, self._intercept, self._slope,
            rows.has_individual, rows.individual_micros, rows.own_row, rows.own_micros,
            state.choice, gap, self._seed + self._round, step, self._round * _STRIDE, self._n_plans, _PER_KIND, whole, loss,
        )  # fmt: skip
        order = np.argsort(loss[:n], kind="stable")
        order = order[:: max(1, -(-n // _MAX_TRANSFERS))]
        return whole[order], loss[order]

    def _descend(
        self, state: State, whole: Int64Array, loss: FloatArray, gap: float, *, in_pairs: bool
    ) -> bool:
        from core.optimiser.repair_kernels import descend

        problem, prices = self._problem, state.prices
        n_allowed = problem.n_sims if problem.max_changes is None else problem.max_changes
        delta, changed, spent = descend(
            len(loss), whole, loss, gap, self._rows.lines.plan, self._rows.individual_plan,
            state.choice, state.pools, state.charges, prices.block, prices.from_block, prices.rate,
            state.sims, problem.min_sims, problem.max_sims, self._is_limited,
            state.changes, n_allowed, in_pairs, self._pairs,
        )  # fmt: skip
        state.cost_micros += int(delta)
        state.changes += int(changed)
        self._pairs -= int(spent)
        return bool(delta < 0)
