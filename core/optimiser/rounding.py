"""Turns the mixture of assignments that the dual ends with into one assignment (O6)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from core.optimiser.buckets import Buckets
from core.optimiser.dual import Mixture
from core.optimiser.dual_kernels import choose
from core.optimiser.multipliers import LinePrices
from core.optimiser.rows import CHEAPEST_INDIVIDUAL, Rows
from core.problem import BoolArray, Int32Array, Int64Array


def round_mixture(rows: Rows, buckets: Buckets, mixture: Mixture, prices: LinePrices) -> Int32Array:
    """Give every row a line or ``CHEAPEST_INDIVIDUAL``, shape ``(n,)``, by error diffusion.

    Along the rows of a bucket every choice earns the weights of the mixed assignments that make it,
    and among the choices made for a row the one that is owed most gets it. So counts and sums of
    usage on every plan follow the mixture.
    """
    at_points = [prices.at(point) for point in mixture.points]
    choice = np.full(rows.n_rows, CHEAPEST_INDIVIDUAL, dtype=np.int32)
    lines = rows.lines
    n_plans = int(lines.plan.max(initial=0)) + 2
    _diffuse(
        buckets.start, buckets.of_class, buckets.bucket, rows.usage_bytes, lines.start, lines.plan,
        np.array([intercept for intercept, _ in at_points]),
        np.array([slope for _, slope in at_points]),
        rows.has_individual, rows.individual_micros, rows.run_end, rows.own_row, rows.own_micros,
        rows.class_start, mixture.start, mixture.point, mixture.weight, n_plans, choice,
    )  # fmt: skip
    return choice


@njit(cache=True, error_model="numpy")
def _diffuse(
    segment_start: Int64Array, segment_class: Int64Array, segment_bucket: Int64Array,
    usage: Int64Array, line_start: Int64Array, line_plan: Int32Array, intercepts: Any, slopes: Any,
    has_individual: BoolArray, individual: Int64Array, run_end: Int64Array, own_row: Int64Array,
    own: Int64Array, class_start: Int64Array, part_start: Int64Array, part_point: Int64Array,
    part_weight: Any, n_plans: int, choice: Int32Array,
) -> None:  # fmt: skip
    """Fill ``choice``; entry ``n_plans - 1`` of what is owed stands for the individual plans."""
    owed = np.zeros((len(part_start) - 1, n_plans))
    for m in range(len(segment_class)):
        k, b = segment_class[m], segment_bucket[m]
        first, last = line_start[k], line_start[k + 1]
        start, end = segment_start[m], segment_start[m + 1]
        at = own_row[k] + start - class_start[k] if own_row[k] >= 0 else -1
        part = part_start[b]
        n = part_start[b + 1] - part
        proposed = np.empty((n, end - start), dtype=np.int32)
        for c in range(n):
            point = part_point[part + c]
            choose(
                start, end, first, last, usage, intercepts[point], slopes[point],
                has_individual[k], individual, run_end, own, at, proposed[c],
            )  # fmt: skip
        if n == 1:
            choice[start:end] = proposed[0]
            continue
        for i in range(end - start):
            for c in range(n):
                line = proposed[c, i]
                owed[b, line_plan[line] if line >= 0 else n_plans - 1] += part_weight[part + c]
            taken, most = proposed[0, i], -np.inf
            for c in range(n):
                line = proposed[c, i]
                due = owed[b, line_plan[line] if line >= 0 else n_plans - 1]
                if due > most:
                    taken, most = line, due
            owed[b, line_plan[taken] if taken >= 0 else n_plans - 1] -= 1.0
            choice[start + i] = taken
