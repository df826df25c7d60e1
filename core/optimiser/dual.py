"""Maximises the Lagrangian dual of a unit by multi-cut cutting planes (O2, O6).

For multipliers y, the dual is a sum over buckets b of rows, each a concave, piecewise linear
function ``g_b(y)``, plus a linear function. Every evaluation gives per bucket a value and a
supergradient, and so a cut ``g_b(y) <= g_b(y_k) + s_bk (y - y_k)``. The master problem maximises over
all cuts; its optimum is an upper bound on the dual and the next point to evaluate. The weights of the
binding cuts, the master's own dual, mix the assignments that were cheapest at the evaluated points
into an optimum of the linear relaxation (Dantzig-Wolfe): the rounding starts from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.optimiser.buckets import Buckets
from core.optimiser.dual_kernels import evaluate
from core.optimiser.master import Master
from core.optimiser.multipliers import (
    FloatArray,
    LinePrices,
    Multipliers,
    Variables,
    variables_of,
)
from core.optimiser.rows import Rows
from core.problem import Int64Array, Problem

_COMMON_PRICES = 6
_MAX_ROUNDS = 60
_TOLERANCE = 1e-8
_WEIGHT = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixture:
    """Points whose cheapest assignments are mixed in each bucket, with their weights.

    Attributes
    ----------
    points
        Distinct points.
    start, point, weight
        Those of bucket ``b`` are the entries ``start[b]`` to ``start[b + 1] - 1``; weights of a
        bucket add up to 1.
    """

    points: tuple[Multipliers, ...]
    start: Int64Array
    point: Int64Array
    weight: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dual:
    """The best multipliers found, and the mixture behind it."""

    multipliers: Multipliers
    value: float
    mixture: Mixture


def maximise_dual(problem: Problem, rows: Rows, buckets: Buckets) -> Dual:
    """Find multipliers with the greatest bound.

    Returns
    -------
    Dual
        With multipliers inside their box up to rounding of floats; exact whole numbers are made
        of them where the certificate is.
    """
    variables = variables_of(problem, rows)
    oracle = _Oracle(problem, rows, buckets, variables)
    search = _Search(oracle)
    for y in _first_points(rows, variables):
        search.evaluate(y)
    if len(variables.upper) and rows.n_rows > 1:
        search.run()
    return Dual(
        multipliers=oracle.multipliers(search.best_point),
        value=search.best_value,
        mixture=search.mixture(),
    )


def _first_points(rows: Rows, variables: Variables) -> list[FloatArray]:
    """No price, and common prices on a logarithmic grid, the last one every pool's full price."""
    is_pool = variables.pool >= 0
    full = np.where(is_pool, variables.upper, 0.0)
    points = [np.zeros_like(full)]
    highest = full.max(initial=0.0)
    if highest > 0:
        grid = np.geomspace(full[full > 0].min() / 1000.0, highest, _COMMON_PRICES)
        points += [np.minimum(full, price) for price in grid]
    if rows.n_rows == 1:
        points.append(_single_point(rows, variables))
    return points


def _single_point(rows: Rows, variables: Variables) -> FloatArray:
    """Find the optimum for a single row: full price in the pools whose allowance it exceeds."""
    net = np.full(int(variables.pool.max(initial=0)) + 1, -np.inf)
    lines = rows.lines
    for pool, included in zip(lines.pool.tolist(), lines.included_bytes.tolist(), strict=True):
        if 0 <= pool < len(net):
            net[pool] = max(net[pool], float(rows.usage_bytes[0] - included))
    is_over = (variables.pool >= 0) & (net[variables.pool] + variables.objective > 0)
    return np.where(is_over, variables.upper, 0.0)


def value_of_rows(
    problem: Problem, rows: Rows, buckets: Buckets, multipliers: Multipliers
) -> float:
    """Sum the least lines of the rows, as a least saving per change leaves them (O8)."""
    prices = LinePrices(problem, rows).at(multipliers)
    n_pools, n_plans = len(problem.pool_block_bytes), len(problem.tariff.codes)
    value, *_ = _evaluated(rows, buckets, *prices, max(1, n_pools), n_plans)
    return float(value.sum())


def _evaluated(
    rows: Rows,
    buckets: Buckets,
    intercept: FloatArray,
    slope: FloatArray,
    n_pools: int,
    n_plans: int,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Per bucket: value, net bytes of pools, SIMs on plans, and changes."""
    value = np.zeros(buckets.n_buckets)
    pool_bytes = np.zeros((buckets.n_buckets, n_pools))
    plan_sims = np.zeros((buckets.n_buckets, n_plans))
    changes = np.zeros(buckets.n_buckets)
    lines = rows.lines
    evaluate(
        buckets.start, buckets.of_class, buckets.bucket, rows.usage_bytes, rows.prefix_usage,
        lines.start, lines.plan, lines.pool, lines.included_bytes, lines.is_change,
        intercept, slope, rows.has_individual, rows.individual_micros, rows.prefix_individual,
        rows.run_end, rows.own_row, rows.own_micros, rows.class_start,
        value, pool_bytes, plan_sims, changes,
    )  # fmt: skip
    return value, pool_bytes, plan_sims, changes


class _Oracle:
    """Evaluates the dual at a point."""

    def __init__(
        self, problem: Problem, rows: Rows, buckets: Buckets, variables: Variables
    ) -> None:
        self.rows, self.buckets, self.variables = rows, buckets, variables
        self.n_pools = len(problem.pool_block_bytes)
        self.n_plans = len(problem.tariff.codes)
        self.line_prices = LinePrices(problem, rows, with_least_saving=True)
        self.is_change = (variables.pool < 0) & (variables.plan < 0)

    def multipliers(self, y: FloatArray) -> Multipliers:
        return self.variables.multipliers(y, self.n_pools, self.n_plans)

    def __call__(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Value and supergradient of each bucket, shapes ``(n_buckets,)``, ``(n_buckets, n)``."""
        prices = self.line_prices.at(self.multipliers(y))
        value, pool_bytes, plan_sims, changes = _evaluated(
            self.rows, self.buckets, *prices, max(1, self.n_pools), self.n_plans
        )
        variables = self.variables
        slopes = np.where(
            variables.pool >= 0, pool_bytes[:, variables.pool], plan_sims[:, variables.plan]
        )
        slopes = np.where(self.is_change, changes[:, np.newaxis], slopes) * variables.sign
        return value, slopes


class _Search:
    """Cutting planes with the points, cuts and the incumbent so far."""

    def __init__(self, oracle: _Oracle) -> None:
        self.oracle = oracle
        self.points: list[FloatArray] = []
        self.best_point = np.zeros_like(oracle.variables.upper)
        self.best_value = -np.inf
        self._cuts: list[tuple[int, int]] = []  # bucket, point
        self._known: list[set[bytes]] = [set() for _ in range(oracle.buckets.n_buckets)]
        self._pending: list[tuple[int, FloatArray, float]] = []
        self._master: Master | None = None

    def evaluate(self, y: FloatArray) -> bool:
        """Evaluate the dual and keep new cuts; whether there was one."""
        value, slopes = self.oracle(y)
        total = float(value.sum() + self.oracle.variables.objective @ y)
        if total > self.best_value:
            self.best_value, self.best_point = total, y
        self.points.append(y)
        n_before = len(self._cuts)
        for b in range(len(value)):
            key = slopes[b].tobytes()
            if key not in self._known[b]:
                self._known[b].add(key)
                self._cuts.append((b, len(self.points) - 1))
                self._pending.append((b, slopes[b], float(value[b] - slopes[b] @ y)))
        return len(self._cuts) > n_before

    def run(self) -> None:
        """Solve the master and evaluate where it points, until value and bound meet."""
        if self._master is None:
            n_buckets = self.oracle.buckets.n_buckets
            self._master = Master(self.oracle.variables, n_buckets, self.best_value)
        for round_number in range(_MAX_ROUNDS):
            y, bound = self._solve()
            if bound - self.best_value <= _TOLERANCE * abs(self.best_value):
                return
            is_new = self.evaluate(y)
            if round_number % 2:
                is_new |= self.evaluate((y + self.best_point) / 2)
            if not is_new:
                return
        self._solve()

    def _solve(self) -> tuple[FloatArray, float]:
        assert self._master is not None  # noqa: S101 - set by run
        self._master.add(self._pending)
        self._pending = []
        return self._master.solve()

    def _parts(self) -> list[list[tuple[int, float]]]:
        """Points mixed in each bucket, with the weights of their cuts in the last master."""
        parts: list[list[tuple[int, float]]] = [[] for _ in self._known]
        if self._master is not None:
            for (b, point), weight in zip(self._cuts, self._master.weights(), strict=False):
                if weight > _WEIGHT:
                    parts[b].append((point, float(weight)))
        return parts

    def mixture(self) -> Mixture:
        """Take what the last master mixes; the best point where it says nothing of a bucket."""
        best = next(k for k, y in enumerate(self.points) if y is self.best_point)
        parts = [part or [(best, 1.0)] for part in self._parts()]
        used = sorted({point for part in parts for point, _ in part})
        place = {point: k for k, point in enumerate(used)}
        totals = [sum(weight for _, weight in part) for part in parts]
        return Mixture(
            points=tuple(self.oracle.multipliers(self.points[k]) for k in used),
            start=np.cumsum([0, *map(len, parts)]).astype(np.int64),
            point=np.array([place[k] for part in parts for k, _ in part], dtype=np.int64),
            weight=np.array(
                [w / t for part, t in zip(parts, totals, strict=True) for _, w in part]
            ),
        )
