"""Lower bounds of a SIM's lines in floating point, proven, to spare most lines their 128 bits (O3).

The line of plan ``p`` for a SIM that takes ``net = usage - included`` bytes beyond the allowance is::

    2**bits * fee + m + t  +  2**bits * messages  +  (multiplier * net, or 2**bits * own overage)

with ``m`` the multiplier of the plan's limits and ``t`` that of a change. Messages cost nothing or
more. On an individual plan each started block costs at least the lowest tier's price, so that its
overage is at least ``net * lowest price / block`` for ``net > 0``, and nothing or more in any case; of
a plan with a cap only the latter is used. Hence, for whole numbers of any size::

    line >= start + (above if net > 0 else below) * net         start = 2**bits * fee + m + t

Why it holds for what is computed: a conversion from 64 bits to double precision, a sum, a product and
a quotient each have a relative error of at most ``u = 2**-53``; scaling by ``2**bits`` has none, and
below ``2**127`` nothing overflows, nor does anything underflow. ``start`` in doubles is off by less
than ``4 u`` times its *size* ``2**bits * fee + abs(m + t)``, and a slope by less than ``4 u`` times
itself. ``floor``, ``rise`` and ``fall`` are moved down (``fall``, which stands by ``net < 0``, up) by
``SLACK = 2**-48 = 32 u`` of that. What is left, more than ``27 u`` of either part, covers what the
callers add: the conversion of ``net``, one product and one sum, less than ``4 u`` of the parts'
sizes. :func:`line_ceiling` has the same slack.

So a line whose ``floor[p, day] + slope * net`` is at least the ceiling of another one is not the
lesser of the two. The others are compared exactly. The multipliers may be any in their range: the
worst that they do is to make all lines near each other, and all are priced exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from core.problem import Int32Array, Int64Array

SLACK = 2.0**-48
"""Share of its size by which a number is moved to be a bound."""

_NO_CAP = 1 << 62
_TWO_64 = 2.0**64
_TOP_SHIFT = np.uint64(63)


@njit(cache=True, error_model="numpy")
def line_floors(
    listed: Int64Array, list_start: Int64Array, pool_of: Int32Array,
    fee: Int64Array, block: Int64Array, tier_rate: Int64Array, cap: Int64Array,
    pool_multipliers: Any, plan_multipliers: Int64Array, change_multiplier: int,
    bits: Any, counts_fee: Any, counts_overage: Any,
) -> Any:  # fmt: skip
    """Make the tables of which a changed SIM's lines are bounded from below.

    Parameters
    ----------
    listed, ..., counts_overage
        As in :func:`core.optimiser.check_kernel.one_pass`.

    Returns
    -------
    tuple
        ``floor``, of the shape of ``fee``; ``rise`` and ``fall``, of the shape of ``listed``: for
        a SIM of the list's group the line is at least ``floor[p, day] + rise[k] * net`` where it
        uses more than is included, and at least ``floor[p, day] + fall[k] * net`` elsewhere.
    """
    scale = 2.0 ** np.int64(bits)
    floor = np.empty(fee.shape, dtype=np.float64)
    for p in range(fee.shape[0]):
        limits = np.float64(plan_multipliers[p] + change_multiplier)
        for day in range(fee.shape[1]):
            price = scale * fee[p, day] if counts_fee else 0.0
            floor[p, day] = price + limits - SLACK * (price + abs(limits))
    rise = np.zeros(len(listed), dtype=np.float64)
    fall = np.zeros(len(listed), dtype=np.float64)
    for g in range(len(list_start) - 1):
        for k in range(list_start[g], list_start[g + 1]):
            p = listed[k]
            s = pool_of[p, g]
            if s >= 0:
                slope = np.float64(pool_multipliers[s])
                rise[k], fall[k] = slope - SLACK * slope, slope + SLACK * slope
            elif counts_overage and cap[p] == _NO_CAP:
                slope = scale * tier_rate[p].min() / block[p]
                rise[k] = slope - SLACK * slope
    return floor, rise, fall


@njit(cache=True, error_model="numpy")
def line_ceiling(high: Any, low: Any) -> Any:
    """Bound a number of 127 bits from above, given as in :mod:`core.optimiser.check_kernel`."""
    top = np.float64(np.int64(high + (low >> _TOP_SHIFT)))  # the low half is taken as signed
    rest = np.float64(np.int64(low))
    return _TWO_64 * top + rest + SLACK * (_TWO_64 * abs(top) + abs(rest))
