"""Shares a pool's overage out among its SIMs, to the last micro-unit (B10)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.billing.tariff import Int32Array, Int64Array

UInt64Array = npt.NDArray[np.uint64]


def allocate(charge_micros: Int64Array, weight: Int64Array, pool: Int32Array) -> Int64Array:
    """Split each pool's charge in proportion to weight, by largest remainder, ties by row.

    Every SIM first gets ``floor(charge * weight / total_weight)``; what is left of a pool's charge,
    less than one micro-unit per SIM, goes to the largest remainders, the earlier row first.

    Parameters
    ----------
    charge_micros
        Shape ``(n_pools,)``, each in ``0 .. 2**62``.
    weight
        Shape ``(n,)``, each ``>= 0``; usage above the SIM's own allowance, in bytes. The weights
        of one pool add up to less than 2**62, and to more than 0 where the pool has a charge.
    pool
        Shape ``(n,)``: pool of each SIM, rows in ICCID order; negative for a SIM in no pool.

    Returns
    -------
    Int64Array
        Shape ``(n,)``, micro-units; the shares of a pool add up to its charge exactly.

    Raises
    ------
    ValueError
        If a pool has a charge and no weight to share it by.
    """
    shares = np.zeros(len(weight), dtype=np.int64)
    is_charged = np.append(charge_micros > 0, False)  # the last entry answers for pool -1
    rows = np.flatnonzero(is_charged[pool] & (weight > 0))
    pool, weight = pool[rows], weight[rows]
    total = np.zeros(len(charge_micros), dtype=np.int64)
    np.add.at(total, pool, weight)
    if (total[charge_micros > 0] == 0).any():
        msg = "a pool has an overage charge, and none of its SIMs used more than its allowance"
        raise ValueError(msg)
    floor, remainder = _proportion(charge_micros[pool], weight, total[pool])
    left = charge_micros.copy()
    np.subtract.at(left, pool, floor)
    floor[_largest_remainders(remainder, pool, left)] += 1
    shares[rows] = floor
    return shares


def _largest_remainders(
    remainder: UInt64Array, pool: Int32Array, left: Int64Array
) -> npt.NDArray[np.intp]:
    """Rows that get one more: per pool the ``left[pool]`` largest remainders, ties by row."""
    rows = np.flatnonzero(remainder)
    order = rows[np.lexsort((~remainder[rows], pool[rows]))]  # stable; ~ turns the order round
    sorted_pool = pool[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_pool, sorted_pool)
    return order[rank < left[sorted_pool]]


def _proportion(
    charge: Int64Array, weight: Int64Array, total: Int64Array
) -> tuple[Int64Array, UInt64Array]:
    """Quotient and remainder of ``charge * weight / total``, all of shape ``(n,)``.

    The product may need 124 bits. The charge is reduced modulo ``total`` first; the rest is long
    division with the weight's binary digits, as many at a time as 64 bits can hold.
    """
    divisor = total.astype(np.uint64)
    whole, rest = np.divmod(charge.astype(np.uint64), divisor)
    digits = weight.astype(np.uint64)
    quotient = np.zeros_like(digits)
    remainder = np.zeros_like(digits)
    # A step holds remainder * 2**width + rest * digit < total * 2**(width + 1) <= 2**64.
    width = 63 - int(total.max(initial=1)).bit_length()
    n_steps = -(-int(weight.max(initial=0)).bit_length() // width)
    for step in reversed(range(n_steps)):
        digit = (digits >> np.uint64(step * width)) & np.uint64((1 << width) - 1)
        carried = (remainder << np.uint64(width)) + rest * digit
        part, remainder = np.divmod(carried, divisor)
        quotient = (quotient << np.uint64(width)) + part
    return (whole * digits + quotient).astype(np.int64), remainder
