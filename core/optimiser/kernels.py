"""The compiled loops of the walks (O4), exact in 64 bits.

The max average usage of a plan is ``whole + rest / scale``. What a plan can still take is its
*room*: ``sims * (whole + rest / scale) - usage`` of the lines on it, kept as an integer ``room`` and
a numerator ``part`` in ``0 .. scale - 1``. The average with a line inside stays within the limit
exactly if the line uses no more than the room with the line's SIMs added.

No number leaves 64 bits while a group has at most ``MAX_SIMS`` SIMs, ``scale`` is at most
``MAX_PRICE_MICROS < 2**37``, ``whole`` at most ``MAX_USAGE_BYTES`` and all sums of usage and of cost
stay below ``2**62`` (:func:`core.billing.limits.check_limits`). Room above ``MAX_ROOM`` is cut to
it: that is more than all usage, so that such a plan takes every later line with and without the cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from core.problem import Int64Array

MAX_SIMS = 1 << 25
"""Most SIMs of one group, so that ``sims * scale`` stays below 2**62."""

MAX_ROOM = 1 << 62
"""More than any sum of usage."""


@njit(cache=True, error_model="numpy")
def _room_with(sims: int, room: int, part: int, whole: int, rest: int, scale: int) -> Any:
    """Room of a plan with ``sims`` more SIMs that use nothing: ``(room, part)`` over ``scale``."""
    if sims == 1:
        room += whole
        part += rest
        if part >= scale:
            room += 1
            part -= scale
        return min(room, MAX_ROOM), part
    if whole > (MAX_ROOM - room) // sims:
        return MAX_ROOM, 0
    part += sims * rest
    return min(room + sims * whole + part // scale, MAX_ROOM), part % scale


@njit(cache=True, error_model="numpy")
def _cheapest_individual(
    own: Int64Array, columns: Int64Array, length: int, pool: Int64Array
) -> Any:
    """First of a sequence's individual plans that are cheapest for a line."""
    cheapest = -1
    for k in range(length):
        c = columns[k]
        if pool[c] < 0 and (cheapest < 0 or own[c] < own[cheapest]):
            cheapest = c
    return cheapest


@njit(cache=True, error_model="numpy")
def walk(
    order: Int64Array, n_sims: Int64Array, usage: Int64Array, own: Int64Array,
    included: Int64Array, included_row: Int64Array, kept: Int64Array, kept_row: Int64Array,
    columns: Int64Array, length: Int64Array, whole: Int64Array, rest: Int64Array, scale: Int64Array,
    pool: Int64Array, n_pools: int, found: Int64Array,
) -> Any:  # fmt: skip
    """Walk all sequences of a chunk over the lines in one pass.

    Array arguments stay in this function: handing them to another one for every line costs several
    times what the walk itself does.

    Parameters
    ----------
    order, ..., kept_row
        Fields of :class:`core.optimiser.lines.WalkLines`.
    columns, length, whole, rest, scale
        Sequences, and the max average usage of each of their plans.
    pool
        Private pool of each column, below 0 for an individual plan.
    found
        Output, shape ``(m,)``: column of each line in the last sequence; shape ``(0,)`` where that
        is not wanted.

    Returns
    -------
    tuple
        Per sequence: cost without pool overage, plan changes, and each pool's usage less allowance.
    """
    room, part = np.zeros_like(columns), np.zeros_like(columns)
    costs, changes = np.zeros_like(length), np.zeros_like(length)
    net_bytes = np.zeros((len(length), n_pools), dtype=np.int64)
    for j in order:
        sims, used, included_at, kept_at = n_sims[j], usage[j], included_row[j], kept_row[j]
        c = 0
        for s in range(len(length)):
            k = 0
            while k < length[s] - 1:
                free, numerator = _room_with(
                    sims, room[s, k], part[s, k], whole[s, k], rest[s, k], scale[s, k]
                )
                if used <= free:
                    if pool[columns[s, k]] >= 0:  # an individual plan stays empty: a pool of one
                        room[s, k] = free - used
                        part[s, k] = numerator
                    break
                k += 1
            c = columns[s, k]
            if pool[c] >= 0:
                net_bytes[s, pool[c]] += used - included[included_at, c]
            else:
                c = _cheapest_individual(own[j], columns[s], length[s], pool)
            costs[s] += own[j, c]
            changes[s] += sims - kept[kept_at, c]
        if len(found):
            found[j] = c
    return costs, changes, net_bytes
