"""The multipliers of a unit: which there are, their box, and what rows pay at them (O2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.domain import ChargeType
from core.optimiser.rows import Rows, limited_plans
from core.problem import BoolArray, Int64Array, Problem

FloatArray = npt.NDArray[np.float64]

_LIMIT_RANGE = 200.0
"""Box of a multiplier per SIM, in typical costs of one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variables:
    """The multipliers as variables of the master, each between 0 and ``upper``.

    Attributes
    ----------
    upper, objective
        Shape ``(n,)``: box, and the linear part of the dual.
    pool, plan
        Shape ``(n,)``: what the variable is the multiplier of, -1 for neither; the one that is
        neither is that of the limit of changes. A pool has one variable per price tier.
    sign
        Shape ``(n,)``: -1 for a least number of SIMs, else 1.
    """

    upper: FloatArray
    objective: FloatArray
    pool: Int64Array
    plan: Int64Array
    sign: FloatArray

    def multipliers(self, y: FloatArray, n_pools: int, n_plans: int) -> Multipliers:
        """Multipliers by pool, plan and change."""
        pools, plans = np.zeros(n_pools), np.zeros(n_plans)
        is_pool, is_plan = self.pool >= 0, self.plan >= 0
        np.add.at(pools, self.pool[is_pool], y[is_pool])
        np.add.at(plans, self.plan[is_plan], (self.sign * y)[is_plan])
        is_change = ~is_pool & ~is_plan
        return Multipliers(pools=pools, plans=plans, change=float(y[is_change].sum()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Multipliers:
    """Micro-units per byte of each pool, per SIM of each plan, and per changed SIM."""

    pools: FloatArray
    plans: FloatArray
    change: float


def variables_of(problem: Problem, rows: Rows) -> Variables:
    """Multipliers of the pools that a row can be in, and of the limits that can bind."""
    columns: list[tuple[float, float, int, int, float]] = []
    touched = np.unique(rows.lines.pool[rows.lines.pool >= 0]).tolist()
    if problem.charge_type is not ChargeType.RATE:
        for s in touched:
            columns += _pool_columns(problem, rows, s)
    largest = _LIMIT_RANGE * _typical_cost(problem, rows)
    for p in np.flatnonzero(limited_plans(problem)).tolist():
        fixed = int(rows.fixed_sims[p])
        most, least = int(problem.max_sims[p]) - fixed, int(problem.min_sims[p]) - fixed
        if most < rows.n_rows:
            columns.append((largest, -float(most), -1, p, 1.0))
        if least > 0:
            columns.append((largest, float(least), -1, p, -1.0))
    if problem.max_changes is not None:
        columns.append((largest, -float(problem.max_changes), -1, -1, 1.0))
    table = np.array(columns, dtype=np.float64).reshape(-1, 5)
    return Variables(
        upper=table[:, 0],
        objective=table[:, 1],
        pool=table[:, 2].astype(np.int64),
        plan=table[:, 3].astype(np.int64),
        sign=table[:, 4],
    )


def _pool_columns(
    problem: Problem, rows: Rows, s: int
) -> list[tuple[float, float, int, int, float]]:
    """One variable per price tier: the multiplier climbs from one tier's price to the next."""
    block = float(problem.pool_block_bytes[s])
    fixed = float(rows.fixed_pool_bytes[s])
    columns, below = [], 0.0
    for first, rate in zip(
        problem.pool_tier_from_block[s].tolist(),
        problem.pool_tier_rate_micros[s].tolist(),
        strict=True,
    ):
        price = rate / block
        if price > below:
            columns.append((price - below, fixed - first * block, s, -1, 1.0))
            below = price
    return columns


def _typical_cost(problem: Problem, rows: Rows) -> float:
    """Measure of multipliers per SIM: the largest fee plus the price of the mean usage as overage.

    Usage is priced at the median, over the plans, of the overage price of a byte.
    """
    fees = rows.lines.fee_micros.max(initial=1)
    prices = problem.tariff.overage_rate_micros / problem.tariff.overage_block_bytes
    usage = float(rows.usage_bytes.mean()) if rows.n_rows else 0.0
    return float(fees) + float(np.median(prices)) * usage


class LinePrices:
    """What a row pays on each line at given multipliers: ``intercept + slope * usage``.

    Parameters
    ----------
    with_least_saving
        Count a least saving per change as a price of the change (O8): so the dual is maximised.
    """

    def __init__(self, problem: Problem, rows: Rows, *, with_least_saving: bool = False) -> None:
        lines = rows.lines
        sizes = np.diff(lines.start)
        is_general = np.repeat(rows.own_row >= 0, sizes)
        self._pool, self._plan = lines.pool, lines.plan
        self._is_pooled: BoolArray = lines.pool >= 0
        self._fee = np.where(is_general, 0, lines.fee_micros).astype(np.float64)
        self._included = lines.included_bytes.astype(np.float64)
        self._is_change = lines.is_change
        least = problem.min_saving_per_change_micros if with_least_saving else 0
        self._least_saving = float(least)

    def at(self, multipliers: Multipliers) -> tuple[FloatArray, FloatArray]:
        """Intercept and slope of every line, both of shape ``(n_lines,)``."""
        slope = (
            np.where(self._is_pooled, multipliers.pools[self._pool], 0.0)
            if len(multipliers.pools)
            else np.zeros(len(self._fee))
        )
        per_change = multipliers.change + self._least_saving
        intercept = self._fee - slope * self._included + multipliers.plans[self._plan]
        if per_change:
            intercept = intercept + per_change * self._is_change
        return intercept, slope
