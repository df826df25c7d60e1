"""What no walk of a sequence can cost less than, so that most sequences need no walk (O5).

A walk gives each SIM i of the group a plan of the sequence's set P, and each pool s of the group pays
for ``z_s``, its usage less its allowance. One started block costs at least the price of the pool's
first tier, since prices never fall (B8). So for every multiplier ``0 <= l_s <= rate_s / block_s``,
with ``l_s = 0`` for an individual plan::

    cost >= sum_i min over p in P of  c_ip + l_s (u_i - included_ip)

The multipliers are ``l_s = min(l, rate_s / block_s)`` for a few common ``l``; the largest of the bounds
counts. SIMs are taken together in *buckets* of one day class and similar usage. With ``a_i`` the least
``c_ip`` over the plans of the group's list, ``d_p`` the least ``c_ip - a_i`` over the bucket, and
``high`` its largest usage, the bucket's SIMs cost at least::

    sum_i (a_i + l u_i)  +  count * min over p in P of  d_p - l_s included_p - (l - l_s) high

All numbers are integers, and every division rounds down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
from numba import njit

from core.domain import ChargeType
from core.optimiser.lines import WalkLines
from core.problem import INDIVIDUAL, Int64Array, Problem

_BUCKETS = 128
"""Buckets of a group, beside those that the day classes make."""

_MULTIPLIERS = 16
"""Most common multipliers that are tried."""

_MAX_TERM = 1 << 61
"""Largest product, so that no sum of two leaves 64 bits."""

_MAX_BITS = 40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SequenceBounds:
    """Lower bounds of the walks of one group.

    Attributes
    ----------
    column_of
        Column of each plan of the group's list.
    count
        Shape ``(n_buckets,)``: SIMs of each bucket.
    fixed_micros
        Shape ``(n_multipliers,)``: the part of the bound that is the same for every sequence.
    sim_micros
        Shape ``(n_multipliers, n_buckets, n_columns)``: the rest, per SIM of a bucket and plan.
    known
        Bounds that were computed before, by the columns of the sequence in ascending order.
    """

    column_of: dict[int, int]
    count: Int64Array
    fixed_micros: Int64Array
    sim_micros: Int64Array
    known: dict[tuple[int, ...], int] = field(default_factory=dict)

    def of(self, sequences: Sequence[tuple[int, ...]]) -> Int64Array:
        """Bound the cost of every walk of each sequence, whatever its strategy.

        Returns
        -------
        Int64Array
            Shape ``(len(sequences),)``, micro-units with the group's private pools.
        """
        keys = [tuple(sorted(self.column_of[plan] for plan in plans)) for plans in sequences]
        new = [key for key in dict.fromkeys(keys) if key not in self.known]
        if new:
            length = np.array([len(key) for key in new], dtype=np.int64)
            columns = np.zeros((len(new), length.max()), dtype=np.int64)
            for s, key in enumerate(new):
                columns[s, : len(key)] = key
            bounds = _bounds(columns, length, self.count, self.fixed_micros, self.sim_micros)
            self.known.update(zip(new, bounds.tolist(), strict=True))
        return np.array([self.known[key] for key in keys], dtype=np.int64)


def sequence_bounds(problem: Problem, g: int, sims: WalkLines) -> SequenceBounds:
    """Prepare the bounds of a group.

    Parameters
    ----------
    g
        Index into ``problem.groups``.
    sims
        Lines of the group's SIMs, at least one (:func:`core.optimiser.lines.sim_lines`).
    """
    order = np.argsort(sims.included_row, kind="stable")  # by day class, then usage
    usage, day_class = sims.usage_bytes[order], sims.included_row[order]
    starts = _bucket_starts(day_class)
    count = np.diff(starts, append=len(order))
    high = usage[starts + count - 1]
    included = sims.included_bytes[day_class[starts]]
    lowest = sims.own_micros.min(axis=1)
    excess = np.minimum.reduceat((sims.own_micros - lowest[:, np.newaxis])[order], starts, axis=0)
    largest = max(int(high.max()), int(included.max()), 1)
    common, of_column, bits = _multipliers(problem, g, n_sims=len(order), largest_bytes=largest)
    relief = of_column[:, np.newaxis, :] * included
    relief += (common[:, np.newaxis] - of_column)[:, np.newaxis, :] * high[:, np.newaxis]
    all_usage, all_lowest = int(usage.sum()), int(lowest.sum())
    fixed = [all_lowest + (multiplier * all_usage >> bits) for multiplier in common.tolist()]
    return SequenceBounds(
        column_of={plan: column for column, plan in enumerate(problem.groups[g].eligible)},
        count=count.astype(np.int64),
        fixed_micros=np.array(fixed, dtype=np.int64),
        sim_micros=excess + (-relief >> bits),
    )


def _bucket_starts(day_class: Int64Array) -> Int64Array:
    """First position of each bucket: a new day class, or enough SIMs of the same one."""
    n = len(day_class)
    position = np.arange(n)
    is_first = np.ones(n, dtype=bool)
    is_first[1:] = day_class[1:] != day_class[:-1]
    within = position - np.maximum.accumulate(np.where(is_first, position, 0))
    return np.flatnonzero(within % -(-n // _BUCKETS) == 0)


def _multipliers(
    problem: Problem, g: int, *, n_sims: int, largest_bytes: int
) -> tuple[Int64Array, Int64Array, int]:
    """Multipliers ``l`` and ``l_s`` as integers over ``2**bits``.

    They are cut so that a multiplier times ``largest_bytes`` stays in range, also for all SIMs
    together and then without its fraction. Any smaller multiplier is in the box as well.

    Returns
    -------
    tuple
        Shapes ``(n_multipliers,)`` and ``(n_multipliers, n_columns)``, and ``bits``.
    """
    pools = problem.pool_of[list(problem.groups[g].eligible), g].tolist()
    price = {
        pool: Fraction(
            int(problem.pool_tier_rate_micros[pool, 0]), int(problem.pool_block_bytes[pool])
        )
        for pool in set(pools) - {INDIVIDUAL}
    }
    highest = max(price.values(), default=Fraction(0))
    room = _MAX_TERM // largest_bytes
    bits = 0
    while bits < _MAX_BITS and highest * (2 << bits) <= room:
        bits += 1
    room = min(room, (_MAX_TERM // n_sims << bits) // largest_bytes)
    scaled = [min(room, int(value * (1 << bits))) for value in _common(problem, g, price)]
    box = {pool: int(value * (1 << bits)) for pool, value in price.items()} | {INDIVIDUAL: 0}
    of_column = [[min(value, box[pool]) for pool in pools] for value in scaled]
    return np.array(scaled, dtype=np.int64), np.array(of_column, dtype=np.int64), bits


def _common(problem: Problem, g: int, price: dict[int, Fraction]) -> list[Fraction]:
    """Price per byte at which the best plan changes, evenly chosen: 0, pools' prices, fee per byte.

    At the best multiplier two plans of a sequence are equally good, or a pool's price is reached.
    """
    highest = max(price.values(), default=Fraction(0))
    found = {Fraction(0), *price.values()}
    if problem.charge_type is not ChargeType.OVERAGE:
        fees = problem.tariff.fee_micros[:, problem.tariff.full_cycle]
        included = problem.tariff.included_bytes[:, problem.tariff.full_cycle]
        for p, q in combinations(problem.groups[g].eligible, 2):
            dearer, larger = int(fees[q] - fees[p]), int(included[q] - included[p])
            if larger and 0 < Fraction(dearer, larger) < highest:
                found.add(Fraction(dearer, larger))
    ascending = sorted(found)
    if len(ascending) <= _MULTIPLIERS:
        return ascending
    last = len(ascending) - 1
    return [ascending[k * last // (_MULTIPLIERS - 1)] for k in range(_MULTIPLIERS)]


@njit(cache=True)
def _bounds(
    columns: Int64Array, length: Int64Array,
    count: Int64Array, fixed: Int64Array, per_sim: Int64Array,
) -> Any:  # fmt: skip
    """Largest bound over the multipliers, for each set of columns."""
    best = np.empty(len(length), dtype=np.int64)
    for s in range(len(length)):
        for m in range(len(fixed)):
            total = fixed[m]
            for b in range(len(count)):
                least = per_sim[m, b, columns[s, 0]]
                for k in range(1, length[s]):
                    least = min(least, per_sim[m, b, columns[s, k]])
                total += count[b] * least
            if m == 0 or total > best[s]:
                best[s] = total
    return best
