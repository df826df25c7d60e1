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
from typing import Any

import numpy as np
import numpy.typing as npt

from core.domain import ChargeType
from core.optimiser.buckets import Buckets
from core.optimiser.classes import Rows, limited_plans
from core.problem import BoolArray, Int64Array, Problem

FloatArray = npt.NDArray[np.float64]

_COMMON_PRICES = 24
_MAX_ROUNDS = 60
_TOLERANCE = 1e-8
_MASTER_TOTAL = 1e4
_LIMIT_RANGE = 200.0
_WEIGHT = 1e-9


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
    """The best multipliers found, the value there as a float, and the mixture behind it.

    ``evaluations`` counts how often the dual was evaluated.
    """

    multipliers: Multipliers
    value: float
    mixture: Mixture
    evaluations: int


def maximise_dual(problem: Problem, rows: Rows, buckets: Buckets) -> Dual:
    """Find multipliers with the greatest bound.

    Returns
    -------
    Dual
        With multipliers inside their box up to rounding of floats; exact whole numbers are made
        of them where the certificate is.
    """
    variables = _variables(problem, rows)
    oracle = _Oracle(problem, rows, buckets, variables)
    search = _Search(oracle)
    for y in _first_points(variables):
        search.evaluate(y)
    if len(variables.upper):
        search.run()
    return Dual(
        multipliers=oracle.multipliers(search.best_point),
        value=search.best_value,
        mixture=search.mixture(),
        evaluations=len(search.points),
    )


def _variables(problem: Problem, rows: Rows) -> Variables:
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
    """Largest fee, or overage price of an average SIM: the measure of multipliers per SIM."""
    fees = rows.lines.fee_micros.max(initial=1)
    prices = problem.tariff.overage_rate_micros / problem.tariff.overage_block_bytes
    usage = float(rows.usage_bytes.mean()) if rows.n_rows else 0.0
    return float(fees) + float(np.median(prices)) * usage


def _first_points(variables: Variables) -> list[FloatArray]:
    """No price, every pool's full price, and common prices in between, on a logarithmic grid."""
    is_pool = variables.pool >= 0
    full = np.where(is_pool, variables.upper, 0.0)
    points = [np.zeros_like(full)]
    highest = full.max(initial=0.0)
    if highest > 0:
        grid = np.geomspace(full[full > 0].min() / 1000.0, highest, _COMMON_PRICES)
        points += [np.minimum(full, price) for price in grid]
    return points


class _Oracle:
    """Evaluates the dual at a point."""

    def __init__(
        self, problem: Problem, rows: Rows, buckets: Buckets, variables: Variables
    ) -> None:
        self.rows, self.buckets, self.variables = rows, buckets, variables
        self.n_pools = len(problem.pool_block_bytes)
        self.n_plans = len(problem.tariff.codes)
        self.line_prices = LinePrices(problem, rows)
        self.is_change = (variables.pool < 0) & (variables.plan < 0)

    def multipliers(self, y: FloatArray) -> Multipliers:
        return self.variables.multipliers(y, self.n_pools, self.n_plans)

    def __call__(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Value and supergradient of each bucket, shapes ``(n_buckets,)``, ``(n_buckets, n)``."""
        from core.optimiser.dual_kernels import evaluate

        rows, buckets = self.rows, self.buckets
        intercept, slope = self.line_prices.at(self.multipliers(y))
        value = np.zeros(buckets.n_buckets)
        pool_bytes = np.zeros((buckets.n_buckets, self.n_pools))
        plan_sims = np.zeros((buckets.n_buckets, self.n_plans))
        changes = np.zeros(buckets.n_buckets)
        lines = rows.lines
        evaluate(
            buckets.start, buckets.of_class, buckets.bucket, rows.usage_bytes, rows.prefix_usage,
            lines.start, lines.plan, lines.pool, lines.included_bytes, lines.is_change,
            intercept, slope, rows.has_individual, rows.individual_micros, rows.prefix_individual,
            rows.run_end, rows.own_row, rows.own_micros, rows.class_start,
            value, pool_bytes, plan_sims, changes,
        )  # fmt: skip
        variables = self.variables
        slopes = np.where(
            variables.pool >= 0, pool_bytes[:, variables.pool], plan_sims[:, variables.plan]
        )
        slopes = np.where(self.is_change, changes[:, np.newaxis], slopes) * variables.sign
        return value, slopes


class LinePrices:
    """What a row pays on each line at given multipliers: ``intercept + slope * usage``."""

    def __init__(self, problem: Problem, rows: Rows) -> None:
        lines = rows.lines
        sizes = np.diff(lines.start)
        is_general = np.repeat(rows.own_row >= 0, sizes)
        self._pool, self._plan = lines.pool, lines.plan
        self._is_pooled: BoolArray = lines.pool >= 0
        self._fee = np.where(is_general, 0, lines.fee_micros).astype(np.float64)
        self._included = lines.included_bytes.astype(np.float64)
        self._is_change = lines.is_change
        self._least_saving = float(problem.min_saving_per_change_micros)

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
        self._master: _Master | None = None

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
            self._master = _Master(self.oracle.variables, n_buckets, self.best_value)
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
        """What the last master mixes; the best point where it says nothing of a bucket."""
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


class _Master:
    """The master problem in HiGHS, scaled: multipliers to 0 .. 1, the dual's value to 10,000."""

    def __init__(self, variables: Variables, n_buckets: int, value: float) -> None:
        import highspy

        self._upper = variables.upper
        self._scale = _MASTER_TOTAL / max(abs(value), 1.0)
        self._n = len(variables.upper)
        self._solver = highspy.Highs()
        for option, setting in {
            "output_flag": False, "threads": 1, "solver": "simplex", "presolve": "off",
        }.items():  # fmt: skip
            self._solver.setOptionValue(option, setting)
        n = self._n + n_buckets
        cost = np.concatenate(
            [variables.objective * variables.upper * self._scale, np.ones(n_buckets)]
        )
        lower = np.concatenate([np.zeros(self._n), np.full(n_buckets, -highspy.kHighsInf)])
        upper = np.concatenate([np.ones(self._n), np.full(n_buckets, highspy.kHighsInf)])
        none = np.zeros(0, dtype=np.int32)
        self._solver.addCols(n, -cost, lower, upper, 0, none, none, np.zeros(0))

    def add(self, cuts: list[tuple[int, FloatArray, float]]) -> None:
        """Add cuts: bucket, supergradient, and value at the origin."""
        import highspy

        if not cuts:
            return
        n_cuts, width = len(cuts), self._n + 1
        slopes = np.array([slope for _, slope, _ in cuts]) * self._upper * self._scale
        values = np.empty((n_cuts, width))
        values[:, 0], values[:, 1:] = 1.0, -slopes
        index = np.empty((n_cuts, width), dtype=np.int32)
        index[:, 0] = [self._n + b for b, _, _ in cuts]
        index[:, 1:] = np.arange(self._n)
        self._solver.addRows(
            n_cuts,
            np.full(n_cuts, -highspy.kHighsInf),
            np.array([value for _, _, value in cuts]) * self._scale,
            n_cuts * width,
            np.arange(n_cuts, dtype=np.int32) * width,
            index.ravel(),
            values.ravel(),
        )

    def solve(self) -> tuple[FloatArray, float]:
        """Point and value of the optimum, in unscaled units."""
        self._solver.run()
        solution: Any = self._solver.getSolution()
        y = np.array(solution.col_value[: self._n]).clip(0.0, 1.0) * self._upper
        return y, -float(self._solver.getInfo().objective_function_value) / self._scale

    def weights(self) -> FloatArray:
        """Dual value of every cut, at least 0; those of one bucket add up to 1."""
        solution: Any = self._solver.getSolution()
        return np.abs(np.array(solution.row_dual))
