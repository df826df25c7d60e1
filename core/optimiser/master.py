"""The master problem of the cutting planes, in HiGHS (O6)."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.optimiser.highs import quiet_solver
from core.optimiser.multipliers import FloatArray, Variables

_TOTAL = 1e4


class Master:
    """The master problem in HiGHS, scaled: multipliers to 0 .. 1, the dual's value to 10,000."""

    def __init__(self, variables: Variables, n_buckets: int, value: float) -> None:
        import highspy

        self._upper = variables.upper
        self._scale = _TOTAL / max(abs(value), 1.0)
        self._n = len(variables.upper)
        self._solver = quiet_solver(solver="simplex", presolve="off")
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
        weights: FloatArray = np.abs(np.array(solution.row_dual))
        return weights
