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
_PER_KIND = 16
_ALONE_PER_KIND = 64
"""Transfers of a kind that are listed by one order; to be tried in pairs, and to be applied alone."""
_SAMPLE = 20_000
"""Rows looked at in a round; of a larger unit every so many-th, other ones in every round."""
_MAX_ROUNDS = 40
_PARTS = 1 << 20
_PAYING = 0.999
"""A pool pays overage at the optimum where its multiplier reaches this share of the price."""
_STRIDE = 104_729
_PATIENCE = 6
_SAMPLED_PATIENCE = 3
_SINGLES = 1_000_000
"""Single transfers priced in a round: far more than one ever needs."""
_SMALL_ROWS = 2_000
"""Units with more rows are not kicked, since no single row matters there."""
_KICK_SIZE = 4
_AGAIN = 3
_SMALL_GAP = 1e-4
"""Larger units go through the prices again instead, while that helps and this share is left."""
_SEEDS = 1 << 62
"""Seeds are taken modulo this, so that the kernels' 64-bit integers hold any of them."""


def repair(
    problem: Problem,
    rows: Rows,
    state: State,
    multipliers: Multipliers,
    dual_value: float,
    *,
    seed: int,
    pairs: int,
    kicks: int,
) -> State:
    """Lower the cost of ``state``, which is changed, and look for better ones near it.

    A pool with part of a block in use would draw usage until the block is full, though less usage
    would be better, and no small transfer alone saves a large block. So the search first sees blocks
    cut into a million parts, which has one price per byte; then the last block that a pool has begun
    as the price of its first part; only then whole blocks. Where pools pay overage at the optimum, a
    second way fills their blocks instead. In small units the search begins again from the best state
    with a few rows moved at random (iterated local search). Larger ones go through the same prices
    again, which frees a pool that was left with a block it hardly needs.

    Parameters
    ----------
    dual_value
        Value of the dual at the multipliers, in the terms of ``State.cost_micros``.
    pairs
        Most pairs of transfers that are priced in a unit of up to ``_SAMPLE`` rows; in larger ones,
        whose gap is a smaller part of the cost, fewer. A count, so that time decides nothing.
    kicks
        Most times that the search begins again; together they may price ``pairs`` again.

    Returns
    -------
    State
        The best one; it costs no more than ``state`` did.
    """
    budget = int(pairs * min(1.0, (_SAMPLE / max(1, rows.n_rows)) ** 0.75))
    search = _Search(problem, rows, multipliers, dual_value, seed)
    best = search.through_prices(state, pairs=budget)
    if best.cost_micros > state.cost_micros:
        best = state
        search.rounds(best, _MAX_ROUNDS, pairs=budget, patience=search.patience)
    if rows.n_rows > _SMALL_ROWS:
        for _ in range(_AGAIN):
            if best.cost_micros - dual_value <= _SMALL_GAP * abs(dual_value):
                break
            other = search.through_prices(best, pairs=budget)
            if other.cost_micros >= best.cost_micros:
                break
            best = other
        return best
    for _ in range(kicks):
        if search.is_done(best):
            break
        other = search.kicked(best)
        search.rounds(other, _PATIENCE, pairs=budget // kicks, patience=1)
        if other.cost_micros < best.cost_micros:
            best = other
    return best


class _Search:
    """Rounds of local search; each lists transfers anew and applies those that help.

    Attributes
    ----------
    patience
        Rounds at the true prices that may find nothing on end.
    """

    def __init__(
        self,
        problem: Problem,
        rows: Rows,
        multipliers: Multipliers,
        dual_value: float,
        seed: int,
    ) -> None:
        self._problem, self._rows, self._dual_value = problem, rows, dual_value
        self._intercept, self._slope = LinePrices(problem, rows).at(multipliers)
        self._pool_multipliers = multipliers.pools
        self._n_plans = len(problem.tariff.codes) + 1
        self._is_limited = is_limited(problem)
        self._seed, self._round = seed * 1_000_003 % _SEEDS, 0
        is_sampled = rows.n_rows > _SAMPLE  # then a few rounds see more rows than many do elsewhere
        self.patience = _SAMPLED_PATIENCE if is_sampled else _PATIENCE
        self._alone_per_kind = _PER_KIND if is_sampled else _ALONE_PER_KIND

    def through_prices(self, state: State, *, pairs: int) -> State:
        """Lower the cost of a copy at prices of parts, then of entries, then at the true ones."""
        whole, state = PoolPrices.of(self._problem), state.copy()
        parts = whole.in_parts(_PARTS)
        state.reprice(parts)
        self.rounds(state, _MAX_ROUNDS // 4, pairs=0, patience=1)
        is_paying = self._pool_multipliers >= _PAYING * whole.rate[:, -1] / whole.block
        ways = [np.zeros_like(is_paying)]
        if (is_paying & (state.pools > 0)).any():
            ways.append(is_paying)
        found = [
            self.finished(
                state, parts.with_entry(whole, state.pools, way), whole, pairs=pairs // len(ways)
            )
            for way in ways
        ]
        return min(found, key=lambda one: one.cost_micros)

    def finished(self, state: State, way: PoolPrices, whole: PoolPrices, *, pairs: int) -> State:
        """Copy a state and lower its cost at the prices ``way``, then at the true ones."""
        copy = state.copy()
        copy.reprice(way)
        self.rounds(copy, _MAX_ROUNDS // 4, pairs=pairs // 4, patience=2)
        copy.reprice(whole)
        self.rounds(copy, _MAX_ROUNDS, pairs=pairs - pairs // 4, patience=self.patience)
        return copy

    def is_done(self, state: State) -> bool:
        """Whether nothing better can be found."""
        return state.cost_micros - self._dual_value < 1.0

    def kicked(self, state: State) -> State:
        """Copy a state with a few transfers of small loss applied, within the limits."""
        from core.optimiser.repair_kernels import kick

        problem = self._problem
        allowed = 2.0 * (state.cost_micros - self._dual_value)
        whole, _ = self._transfers(state, allowed, by_loss=True)
        choice = state.choice.copy()
        n_allowed = problem.n_sims if problem.max_changes is None else problem.max_changes
        kick(
            whole, self._seed + self._round, _KICK_SIZE, self._rows.lines.plan,
            self._rows.individual_plan, choice, state.sims.copy(), problem.min_sims,
            problem.max_sims, state.changes, n_allowed,
        )  # fmt: skip
        return State(problem, self._rows, choice)

    def rounds(self, state: State, n_rounds: int, *, pairs: int, patience: int) -> None:
        """Go on until ``patience`` rounds on end found nothing; ``pairs`` is what they may price."""
        idle = 0
        for _ in range(n_rounds):
            if self.is_done(state):
                return
            before = state.cost_micros
            by_loss = pairs > 0 or self._rows.n_rows <= _SMALL_ROWS
            whole, loss = self._transfers(state, before - self._dual_value, by_loss=by_loss)
            self._descend(state, whole, loss)
            if pairs > 0:
                pairs -= self._descend(state, whole, loss, pairs=pairs)
            idle = 0 if state.cost_micros < before else idle + 1
            if idle >= patience:
                return

    def _transfers(
        self, state: State, gap: float, *, by_loss: bool
    ) -> tuple[Int64Array, FloatArray]:
        """List transfers by their loss, to be tried in pairs, or by loss for the usage they move.

        In larger units those that are applied alone are listed by the latter: a pool with usage to
        spare takes few large SIMs rather than many small ones that lose more.
        """
        from core.optimiser.repair_kernels import list_transfers

        rows, lines = self._rows, self._rows.lines
        per_kind = _PER_KIND if by_loss else self._alone_per_kind
        whole = np.empty((2 * per_kind * self._n_plans**2, 9), dtype=np.int64)
        loss = np.empty(len(whole))
        self._round += 1
        step = max(1, rows.n_rows // _SAMPLE)
        n = list_transfers(
            rows.class_start, rows.usage_bytes, lines.start, lines.plan, lines.pool,
            lines.fee_micros, lines.included_bytes, lines.is_change, self._intercept, self._slope,
            rows.has_individual, rows.individual_micros, rows.own_row, rows.own_micros,
            state.choice, gap, self._seed + self._round, step, self._round * _STRIDE, self._n_plans, per_kind, by_loss, whole, loss,
        )  # fmt: skip
        whole, loss = whole[:n], loss[:n]
        if not by_loss:
            prices = np.append(self._pool_multipliers, 0.0)  # pool -1 is none
            moved = whole[:, 7] * prices[whole[:, 5]] - whole[:, 6] * prices[whole[:, 4]]
            order = np.argsort(loss / np.maximum(np.abs(moved), 1.0), kind="stable")
            return whole[order], loss[order]
        order = np.argsort(loss, kind="stable")
        order = order[:: max(1, -(-n // _MAX_TRANSFERS))]
        return whole[order], loss[order]

    def _descend(self, state: State, whole: Int64Array, loss: FloatArray, *, pairs: int = 0) -> int:
        """Apply transfers that help, in pairs where ``pairs`` may be priced; returns what was."""
        from core.optimiser.repair_kernels import descend

        problem, prices = self._problem, state.prices
        n_allowed = problem.n_sims if problem.max_changes is None else problem.max_changes
        delta, changed, spent = descend(
            len(loss), whole, loss, max(0.0, state.cost_micros - self._dual_value),
            self._rows.lines.plan, self._rows.individual_plan,
            state.choice, state.pools, state.charges, prices.block, prices.from_block, prices.rate,
            state.sims, problem.min_sims, problem.max_sims, self._is_limited,
            state.changes, n_allowed, pairs > 0, pairs or _SINGLES,
        )  # fmt: skip
        state.cost_micros += int(delta)
        state.changes += int(changed)
        return int(spent)
