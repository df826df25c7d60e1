"""Keeps the search away from changes that save too little at the certificate's multipliers (O8)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.optimiser.multipliers import LinePrices, Multipliers
from core.optimiser.rows import Lines, Rows
from core.optimiser.whole_multipliers import WholeMultipliers
from core.problem import BoolArray, Int64Array, Problem

_PENALTIES = 1 << 61
"""What the penalties of all rows together stay within, so that no sum of costs overflows."""
_HAIR = 1e-13
"""Floats decide where they differ by more than this share of their terms."""


def without_small_savings(problem: Problem, rows: Rows, whole: WholeMultipliers) -> Rows:
    """Rows that pay a penalty on lines which save less than asked for.

    A line saves what it costs less than the present one with a pool's bytes at the pool's whole
    multiplier; the prices of limits are no saving. The check compares the same two numbers, so this
    is decided exactly.

    Parameters
    ----------
    rows
        With all classes general and split by present plan.
    """
    lines, least = rows.lines, problem.min_saving_per_change_micros
    pools = Multipliers(pools=whole.as_floats().pools, plans=np.zeros(len(whole.plans)), change=0.0)
    intercept, slope = LinePrices(problem, rows).at(pools)
    own = rows.own_micros.copy()
    penalty = _PENALTIES // max(1, rows.n_rows)
    for k in range(len(rows.class_start) - 1):
        start, end = int(rows.class_start[k]), int(rows.class_start[k + 1])
        first, last = int(lines.start[k]), int(lines.start[k + 1])
        usage = rows.usage_bytes[start:end]
        part = own[rows.own_row[k] : rows.own_row[k] + end - start, : last - first]
        by_usage = np.outer(usage, slope[first:last])
        price = part + by_usage + intercept[first:last]
        hair = _HAIR * (part + by_usage + np.abs(intercept[first:last]))
        now = first + int(np.flatnonzero(~lines.is_change[first:last])[0])
        present = part[:, now - first].copy()
        for line in range(first, last):
            if line == now:
                continue
            at = line - first
            more = price[:, now - first] - price[:, at] - least
            is_small = more < 0.0
            near = np.flatnonzero(
                np.abs(more) <= hair[:, now - first] + hair[:, at] + _HAIR * least
            )
            if len(near):
                saves = _Savings(whole, lines, now, line, least)
                is_small[near] = saves.too_little(usage[near], present[near], part[near, at])
            part[is_small, at] += penalty
    return replace(rows, own_micros=own)


class _Savings:
    """What rows save, exactly, by a change from one line to another."""

    def __init__(
        self, whole: WholeMultipliers, lines: Lines, before: int, after: int, least: int
    ) -> None:
        self._bits, self._least = whole.scale_bits, least << whole.scale_bits
        self._fixed, self._per_byte = 0, 0
        for line, sign in ((before, 1), (after, -1)):
            pool = int(lines.pool[line])
            price = whole.pools[pool] if pool >= 0 else 0
            self._per_byte += sign * price
            self._fixed -= sign * price * int(lines.included_bytes[line])

    def too_little(self, usage: Int64Array, before: Int64Array, after: Int64Array) -> BoolArray:
        """Whether rows with this usage, and these own costs, save less than the least saving."""
        numbers = np.stack([usage, before - after], axis=1)
        distinct, place = np.unique(numbers, axis=0, return_inverse=True)
        decided = [
            (less << self._bits) + self._per_byte * used + self._fixed < self._least
            for used, less in distinct.tolist()
        ]
        found: BoolArray = np.array(decided, dtype=bool)[place.reshape(-1)]
        return found
