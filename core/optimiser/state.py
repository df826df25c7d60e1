"""An assignment of the rows of a unit, with the sums that its exact cost follows from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.billing.individual import started, tiered
from core.billing.tariff import NEVER
from core.domain import ChargeType
from core.optimiser.rows import CHEAPEST_INDIVIDUAL, Rows
from core.problem import BoolArray, Int32Array, Int64Array, Problem

_LEAST_PRICE = 1_000
"""Micro-units that a part of a block costs at least."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoolPrices:
    """Block size and price tiers of the pools; all prices 0 where overage is not minimised."""

    block: Int64Array
    from_block: Int64Array
    rate: Int64Array

    def in_parts(self, parts: int) -> PoolPrices:
        """Blocks of about one ``parts``-th of the size and the price; tiers keep their volumes.

        Less finely cut are blocks whose price would round to few micro-units, and tiny ones.
        """
        finest = np.minimum(self.block, np.maximum(self.rate[:, 0] // _LEAST_PRICE, 1))
        block = -(-self.block // np.minimum(parts, finest))
        share = np.maximum(self.block // block, 1)
        is_tier = self.from_block < NEVER
        from_block = np.minimum(self.from_block, NEVER // share[:, np.newaxis])
        return PoolPrices(
            block=block,
            from_block=np.where(is_tier, from_block * share[:, np.newaxis], self.from_block),
            rate=self.rate // share[:, np.newaxis],
        )

    def with_entry(self, whole: PoolPrices, pools: Int64Array, fills: BoolArray) -> PoolPrices:
        """Charge the last block that a pool has begun for its first part, and parts by themselves.

        A paid block then does not invite more usage, and leaving it altogether pays.

        Parameters
        ----------
        whole
            The true prices, of which these are parts.
        pools
            Shape ``(n_pools,)``: net usage.
        fills
            Shape ``(n_pools,)``: pools that keep the true prices. So do pools with price tiers.
        """
        keeps = (fills | (whole.from_block[:, 1:] < NEVER).any(axis=1))[:, np.newaxis]
        begun = np.maximum(-(-pools // whole.block) - 1, 0)
        entry = (begun * (whole.block // self.block))[:, np.newaxis]
        zero, never = np.zeros_like(entry), np.full_like(entry, NEVER)
        n_tiers = whole.from_block.shape[1]
        starts = np.hstack([zero, entry, entry + 1, *[never] * (n_tiers - 1)])
        part = self.rate[:, :1]
        rates = np.hstack([part, whole.rate[:, :1], *[part] * n_tiers])
        return PoolPrices(
            block=np.where(keeps[:, 0], whole.block, self.block),
            from_block=np.where(keeps, np.hstack([whole.from_block, never, never]), starts),
            rate=np.where(keeps, np.hstack([whole.rate, *[whole.rate[:, -1:]] * 2]), rates),
        )

    @classmethod
    def of(cls, problem: Problem) -> PoolPrices:
        """Take the prices of a problem."""
        is_free = problem.charge_type is ChargeType.RATE
        # Copies: for arrays that may be written, as other prices are, kernels are compiled already.
        return cls(
            block=problem.pool_block_bytes.copy(),
            from_block=problem.pool_tier_from_block.copy(),
            rate=problem.pool_tier_rate_micros * (not is_free),
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
        pooled = np.flatnonzero(pool >= 0)
        np.add.at(self.pools, pool[pooled], net[pooled])
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
    if not len(lines.fee_micros):
        return rows.individual_micros.copy(), np.zeros(rows.n_rows, dtype=np.int64)
    own = lines.fee_micros[choice]  # of some line where none is chosen, until the next step
    net = rows.usage_bytes - lines.included_bytes[choice]
    alone = np.flatnonzero(choice == CHEAPEST_INDIVIDUAL)
    own[alone], net[alone] = rows.individual_micros[alone], 0
    for k in np.flatnonzero(rows.own_row >= 0).tolist():
        start, end = int(rows.class_start[k]), int(rows.class_start[k + 1])
        column = choice[start:end] - lines.start[k]
        table = rows.own_micros[rows.own_row[k] : rows.own_row[k] + end - start]
        own[start:end] = np.take_along_axis(table, column[:, np.newaxis].astype(np.int64), 1)[:, 0]
    return own, net


def pool_charges(prices: PoolPrices, pools: Int64Array) -> Int64Array:
    """Charge of each pool, shape ``(n_pools,)``."""
    blocks = started(np.maximum(pools, 0), prices.block)
    return tiered(blocks, prices.from_block, prices.rate)
