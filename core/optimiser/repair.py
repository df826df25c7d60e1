"""Lowers the exact cost of an assignment by local search (O6).

The cost of an assignment exceeds the dual's value by a sum of parts that are at least 0: for each
row what its line costs more than its best line at the multipliers, and for each pool what its charge,
in whole blocks, exceeds its multiplier times its net usage. Local search looks for single transfers
and pairs of them that lower the sum, among samples of the transfers that are small enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.billing.tariff import NEVER
from core.domain import ChargeType
from core.optimiser.classes import NO_INDIVIDUAL, Rows, is_limited
from core.optimiser.dual import FloatArray, LinePrices, Multipliers
from core.optimiser.rounding import CHEAPEST_INDIVIDUAL
from core.problem import Int32Array, Int64Array, Problem

_MAX_TRANSFERS = 900
_PER_KIND = 32
_SAMPLE = 20_000
"""Rows looked at in a round; of a larger unit every so many-th, other ones in every round."""
_MAX_ROUNDS = 40
_STRIDE = 104_729
_PATIENCE = 6
_PAIRS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoolPrices:
    """Block size and price tiers of the pools; all prices 0 where overage is not minimised."""

    block: Int64Array
    from_block: Int64Array
    rate: Int64Array

    def in_parts(self, parts: int) -> PoolPrices:
        """Blocks of about one ``parts``-th of the size and the price; tiers keep their volumes."""
        block = np.maximum(self.block // parts, 1)
        share = np.maximum(self.block // block, 1)
        is_tier = self.from_block < NEVER
        return PoolPrices(
            block=block,
            from_block=np.where(is_tier, self.from_block * share[:, np.newaxis], self.from_block),
            rate=self.rate // share[:, np.newaxis],
        )

    @classmethod
    def of(cls, problem: Problem) -> PoolPrices:
        """Take the prices of a problem."""
        is_free = problem.charge_type is ChargeType.RATE
        rate = problem.pool_tier_rate_micros
        return cls(
            block=problem.pool_block_bytes,
            from_block=problem.pool_tier_from_block,
            rate=np.zeros_like(rate) if is_free else rate,
        )


class State:
    """An assignment of rows to lines, with the sums that its cost follows from.

    Attributes
    ----------
    choice
        Shape ``(n,)``: line of each row or ``CHEAPEST_INDIVIDUAL``.
    pools, charges, sims
        Net usage and charge of each pool, and SIMs on each plan, those without a choice included.
    cost_micros
        Exact cost of the rows and of all pools, without the own cost of SIMs without a choice.
    changes
        Rows that do not have their present plan; meaningful where classes are split by it.
    """

    def __init__(self, problem: Problem, rows: Rows, choice: Int32Array) -> None:
        self._rows = rows
        self.prices = PoolPrices.of(problem)
        self.choice = choice
        self.pools = rows.fixed_pool_bytes.copy()
        self.sims = rows.fixed_sims.copy()
        lines = rows.lines
        own, net = own_costs(rows, choice)
        on_line = choice != CHEAPEST_INDIVIDUAL
        pool = np.where(on_line, lines.pool[choice], -1) if len(lines.pool) else choice
        np.add.at(self.pools, pool[pool >= 0], net[pool >= 0])
        np.add.at(self.sims, plans_of(rows, choice), 1)
        self.charges = pool_charges(self.prices, self.pools)
        self.cost_micros = int(own.sum()) + int(self.charges.sum())
        self.changes = int(np.count_nonzero(lines.is_change[choice[on_line]]))

    def reprice(self, prices: PoolPrices) -> None:
        """Charge the pools by other prices."""
        charges = pool_charges(prices, self.pools)
        self.cost_micros += int(charges.sum()) - int(self.charges.sum())
        self.prices, self.charges = prices, charges

    def copy(self) -> State:
        """Make an independent copy."""
        other = object.__new__(State)
        other._rows, other.prices = self._rows, self.prices
        for name in ("choice", "pools", "sims", "charges"):
            setattr(other, name, getattr(self, name).copy())
        other.cost_micros, other.changes = self.cost_micros, self.changes
        return other


def plans_of(rows: Rows, choice: Int32Array) -> Int32Array:
    """Plan number of each row, shape ``(n,)``."""
    if not len(rows.individual_plan):
        plans: Int32Array = rows.lines.plan[choice]
        return plans
    if not len(rows.lines.plan):
        return rows.individual_plan
    alone = choice == CHEAPEST_INDIVIDUAL
    return np.where(alone, rows.individual_plan, rows.lines.plan[choice])


def own_costs(rows: Rows, choice: Int32Array) -> tuple[Int64Array, Int64Array]:
    """Own cost, without pool overage, and usage less allowance of each row, shape ``(n,)``."""
    lines = rows.lines
    own = np.zeros(rows.n_rows, dtype=np.int64)
    net = np.zeros(rows.n_rows, dtype=np.int64)
    alone = choice == CHEAPEST_INDIVIDUAL
    if alone.any():
        own[alone] = rows.individual_micros[alone]
    on = ~alone
    own[on] = lines.fee_micros[choice[on]]
    net[on] = rows.usage_bytes[on] - lines.included_bytes[choice[on]]
    for k in np.flatnonzero(rows.own_row >= 0).tolist():
        start, end = int(rows.class_start[k]), int(rows.class_start[k + 1])
        column = choice[start:end] - lines.start[k]
        table = rows.own_micros[rows.own_row[k] : rows.own_row[k] + end - start]
        own[start:end] = np.take_along_axis(table, column[:, np.newaxis].astype(np.int64), 1)[:, 0]
    return own, net


def pool_charges(prices: PoolPrices, pools: Int64Array) -> Int64Array:
    """Charge of each pool, shape ``(n_pools,)``."""
    from core.billing.individual import started, tiered

    blocks = started(np.maximum(pools, 0), prices.block)
    return tiered(blocks, prices.from_block, prices.rate)


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
