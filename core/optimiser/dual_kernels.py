"""The compiled evaluation of the Lagrangian dual (O2).

Everything here is floating point and decides nothing: the bound that counts is derived again in
whole numbers from the multipliers (:mod:`core.optimiser.check`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from core.optimiser.rows import NO_INDIVIDUAL
from core.problem import BoolArray, Int32Array, Int64Array


@njit(cache=True, error_model="numpy")
def _first_above(usage: Int64Array, low: int, high: int, limit: float) -> int:
    """First row of ``low .. high`` whose usage is above ``limit``; ``high`` where none is."""
    while low < high:
        middle = (low + high) // 2
        if usage[middle] > limit:
            high = middle
        else:
            low = middle + 1
    return low


@njit(cache=True, error_model="numpy")
def _piece(
    i: int, end: int, first: int, last: int, usage: Int64Array, intercept: Any, slope: Any
) -> Any:
    """Cheapest line of row ``i``, the flatter of two equal ones, and the first row it loses.

    From row ``i`` on, rows in order of usage, a line stays cheapest until a flatter one crosses it.
    """
    best = first
    least = intercept[first] + slope[first] * usage[i]
    for j in range(first + 1, last):
        cost = intercept[j] + slope[j] * usage[i]
        if cost < least or (cost == least and slope[j] < slope[best]):
            best, least = j, cost
    until = end
    for j in range(first, last):
        if slope[j] < slope[best]:
            crossing = (intercept[j] - intercept[best]) / (slope[best] - slope[j])
            until = min(until, max(i + 1, _first_above(usage, i, until, crossing)))
    return best, until


@njit(cache=True, error_model="numpy")
def _won(i: int, until: int, alone: int, intercept: float, slope: float, usage: Int64Array) -> int:
    """First row of a run with individual cost ``alone`` that a line loses to it.

    The line rises with usage, so that it wins on a prefix of the run.
    """
    room = alone - intercept
    if slope > 0:
        return _first_above(usage, i, until, room / slope)
    return until if room >= 0 else i


@njit(cache=True, error_model="numpy")
def evaluate(  # noqa: C901 - one loop, since array arguments make calls inside it slow
    segment_start: Int64Array, segment_class: Int64Array, segment_bucket: Int64Array,
    usage: Int64Array, prefix_usage: Int64Array, line_start: Int64Array, line_plan: Int32Array,
    line_pool: Int32Array, line_included: Int64Array, line_change: BoolArray, intercept: Any,
    slope: Any, has_individual: BoolArray, individual: Int64Array, prefix_individual: Int64Array,
    run_end: Int64Array, own_row: Int64Array, own: Int64Array, class_start: Int64Array,
    value: Any, pool_bytes: Any, plan_sims: Any, changes: Any,
) -> None:  # fmt: skip
    """Value of the dual per bucket, and what the minimising assignment puts on pools and plans.

    Parameters
    ----------
    segment_start, segment_class, segment_bucket
        Stretches of rows of one class that belong to one bucket; shapes ``(m + 1,)``, ``(m,)``.
    intercept, slope
        Shape ``(n_lines,)``: a row costs ``intercept + slope * usage`` on a line; the lines of a
        general class leave out the own cost of the row.
    value
        Output, shape ``(n_buckets,)``.
    pool_bytes, plan_sims
        Output, shapes ``(n_buckets, n_pools)`` and ``(n_buckets, n_plans)``: usage less allowance,
        and SIMs.
    changes
        Output, shape ``(n_buckets,)``.
    """
    for m in range(len(segment_class)):
        k, b = segment_class[m], segment_bucket[m]
        first, last = line_start[k], line_start[k + 1]
        i, end = segment_start[m], segment_start[m + 1]
        if first == last:
            value[b] += prefix_individual[end] - prefix_individual[i]
            continue
        while i < end:
            if own_row[k] >= 0:
                at = own_row[k] + i - class_start[k]
                best, least = first, np.inf
                for j in range(first, last):
                    cost = own[at, j - first] + intercept[j] + slope[j] * usage[i]
                    if cost < least:
                        best, least = j, cost
                value[b] += own[at, best - first]
                until = i + 1
            else:
                best, until = _piece(i, end, first, last, usage, intercept, slope)
            n, used = until - i, prefix_usage[until] - prefix_usage[i]
            if has_individual[k]:
                n, used = 0, 0
                r = i
                while r < until:
                    run = min(run_end[r], until)
                    lost = run
                    if individual[r] < NO_INDIVIDUAL:
                        lost = _won(r, run, individual[r], intercept[best], slope[best], usage)
                        value[b] += prefix_individual[run] - prefix_individual[lost]
                    n += lost - r
                    used += prefix_usage[lost] - prefix_usage[r]
                    r = run
            value[b] += intercept[best] * n + slope[best] * used
            plan_sims[b, line_plan[best]] += n
            changes[b] += n * line_change[best]
            if line_pool[best] >= 0:
                pool_bytes[b, line_pool[best]] += used - n * line_included[best]
            i = until


@njit(cache=True, error_model="numpy")
def choose(
    i: int, end: int, first: int, last: int, usage: Int64Array, intercept: Any, slope: Any,
    has_individual: bool, individual: Int64Array, run_end: Int64Array, own: Int64Array, at: int,  # noqa: FBT001 - compiled code takes no keywords
    choice: Int32Array,
) -> None:  # fmt: skip
    """Write what :func:`evaluate` chooses for rows ``i .. end`` of one class: lines, or -1.

    Parameters
    ----------
    at
        Row of ``own`` of the first row, below 0 in a class that is not general.
    choice
        Output, shape ``(end - i,)``.
    """
    start = i
    if first == last:
        choice[: end - start] = -1
        return
    while i < end:
        if at >= 0:
            best, least = first, np.inf
            for j in range(first, last):
                cost = own[at + i - start, j - first] + intercept[j] + slope[j] * usage[i]
                if cost < least:
                    best, least = j, cost
            until = i + 1
        else:
            best, until = _piece(i, end, first, last, usage, intercept, slope)
        choice[i - start : until - start] = best
        if has_individual:
            r = i
            while r < until:
                run = min(run_end[r], until)
                if individual[r] < NO_INDIVIDUAL:
                    lost = _won(r, run, individual[r], intercept[best], slope[best], usage)
                    choice[lost - start : run - start] = -1
                r = run
        i = until
