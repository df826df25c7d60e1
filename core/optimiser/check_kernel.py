"""The compiled pass of the independent check (O3): exact in 128 bits, and the check's own arithmetic.

A scaled number is a pair ``(high, low)`` of unsigned 64-bit integers in two's complement. With
multipliers below ``2**62``, at most 62 scale bits, and sums of money and of bytes below ``2**62``
(:func:`core.billing.limits.check_limits`), no line and no sum of lines leaves 127 bits. Only lines that
:mod:`core.optimiser.line_floors` proves not to be the least are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from core.optimiser.line_floors import line_ceiling, line_floors
from core.problem import BoolArray, Int32Array, Int64Array

_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_SIGN = np.uint64(1 << 63)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_ALL_ONES = np.uint64((1 << 64) - 1)
_TOP_SHIFT = np.uint64(63)


@njit(cache=True, error_model="numpy")
def multiplied(multiplier: Any, value: int) -> Any:
    """``multiplier * value`` for ``0 <= multiplier < 2**62`` (unsigned) and a signed value."""
    bits = np.uint64(value)
    a_low, a_high = multiplier & _LOW_HALF, multiplier >> _HALF
    b_low, b_high = bits & _LOW_HALF, bits >> _HALF
    low_low, low_high = a_low * b_low, a_low * b_high
    high_low, high_high = a_high * b_low, a_high * b_high
    middle = (low_low >> _HALF) + (low_high & _LOW_HALF) + (high_low & _LOW_HALF)
    low = (low_low & _LOW_HALF) | (middle << _HALF)
    high = high_high + (low_high >> _HALF) + (high_low >> _HALF) + (middle >> _HALF)
    if value < 0:  # the bits stand for value + 2**64
        high -= multiplier
    return high, low


@njit(cache=True, error_model="numpy")
def shifted(value: int, bits: Any) -> Any:
    """``value * 2**bits`` for ``0 <= value`` and ``0 <= bits <= 63`` (unsigned)."""
    unsigned = np.uint64(value)
    return (unsigned >> _ONE) >> (_TOP_SHIFT - bits), unsigned << bits


@njit(cache=True, error_model="numpy")
def extended(value: int) -> Any:
    """Pair of a signed 64-bit integer."""
    return (_ALL_ONES if value < 0 else _ZERO), np.uint64(value)


@njit(cache=True, error_model="numpy")
def added(a_high: Any, a_low: Any, b_high: Any, b_low: Any) -> Any:
    """Sum of two pairs."""
    low = a_low + b_low
    carry = _ONE if low < a_low else _ZERO
    return a_high + b_high + carry, low


@njit(cache=True, error_model="numpy")
def negated(high: Any, low: Any) -> Any:
    """Turn a pair into that of the opposite number."""
    return added(~high, ~low, _ZERO, _ONE)


@njit(cache=True, error_model="numpy")
def is_less(a_high: Any, a_low: Any, b_high: Any, b_low: Any) -> Any:
    """Whether the first of two pairs is the smaller number."""
    if a_high == b_high:
        return a_low < b_low
    return (a_high ^ _SIGN) < (b_high ^ _SIGN)


@njit(inline="always")
def own_data_micros(
    p: Any, over_bytes: Any, block: Any, tier_from: Any, tier_rate: Any, cap: Any
) -> Any:
    """Price a SIM's own data overage: whole blocks, each at its tier's price (B3, B8)."""
    charge = 0
    if over_bytes > 0:
        # Unsigned, since a signed quotient takes twice as long.
        blocks = np.int64((np.uint64(over_bytes) - _ONE) // np.uint64(block[p])) + 1
        charge = blocks * tier_rate[p, 0]
        for t in range(1, tier_from.shape[1]):  # each tier adds the step of the price
            if blocks > tier_from[p, t]:
                charge += (blocks - tier_from[p, t]) * (tier_rate[p, t] - tier_rate[p, t - 1])
        charge = min(charge, cap[p])
    return charge


@njit(cache=True, error_model="numpy")
def message_micros(used: int, included: int, rate: int) -> Any:
    """Charge for what was used beyond the included number (B5)."""
    return max(used - included, 0) * rate


@njit(cache=True, error_model="numpy")
def bare_line(own: int, bits: Any, multiplier: Any, net_bytes: int) -> Any:
    """``2**bits * own + multiplier * net_bytes``: a line without the prices of limits."""
    high, low = shifted(own, bits)
    if multiplier > _ZERO:
        more_high, more_low = multiplied(multiplier, net_bytes)
        high, low = added(high, low, more_high, more_low)
    return high, low


@njit(cache=True, error_model="numpy")
def one_pass(  # noqa: C901 - one loop, since array arguments make calls inside it slow
    usage: Int64Array, sms: Int64Array, seconds: Int64Array,
    day_class: Int32Array, group: Int32Array, current: Int32Array, keeps_plan: BoolArray,
    listed: Int64Array, list_start: Int64Array, pool_of: Int32Array,
    fee: Int64Array, included: Int64Array, block: Int64Array,
    tier_from: Int64Array, tier_rate: Int64Array, cap: Int64Array,
    included_sms: Int64Array, sms_rate: Int64Array,
    included_minutes: Int64Array, minute_rate: Int64Array,
    assignment: Int32Array, pool_multipliers: Any, plan_multipliers: Int64Array,
    change_multiplier: int, bits: Any, least_saving: int,
    counts_fee: Any, counts_overage: Any,
) -> Any:  # fmt: skip
    """Derive what an assignment costs without its pools' overage, and the sum of least lines.

    A SIM's present plan and the one it gets are priced first, and then those of its list whose lower
    bound is below the least line so far.

    Parameters
    ----------
    keeps_plan
        Shape ``(n,)``: only the present plan is eligible.
    listed, list_start
        Plan lists of the groups one after the other, and where each starts.
    pool_of, ..., minute_rate
        As in :class:`core.problem.Problem` and :class:`core.billing.tariff.Tariff`.
    pool_multipliers
        Unsigned; ``bits`` too.
    least_saving
        Whole micro-units that a changed SIM's bare line must lie below that of its present plan.

    Returns
    -------
    tuple
        Cost; high and low half of the sum; SIMs per plan; net bytes per pool; changes; first SIM on
        a plan that it may not have, or -1; first SIM whose change saves too little, or -1. Where
        there is a SIM on a plan that it may not have, nothing else has a meaning.
    """
    cost, changes, ineligible, too_little = 0, 0, -1, -1
    sum_high, sum_low = _ZERO, _ZERO
    n_on_plan = np.zeros(len(block), dtype=np.int64)
    net_bytes = np.zeros(len(pool_multipliers), dtype=np.int64)
    saving_high, saving_low = shifted(least_saving, bits)
    floor, rise, fall = line_floors(
        listed, list_start, pool_of, fee, block, tier_rate, cap, pool_multipliers,
        plan_multipliers, change_multiplier, bits, counts_fee, counts_overage,
    )  # fmt: skip
    # Unsigned, since each signed index is tested for being negative, which takes twice as long.
    plans, starts = listed.astype(np.uint64), list_start.astype(np.uint64)
    at_least = np.empty(len(listed), dtype=np.float64)
    for i in range(len(usage)):
        g, day, now, chosen = group[i], day_class[i], current[i], assignment[i]
        minutes = (seconds[i] + 59) // 60
        has_messages = sms[i] > 0 or minutes > 0
        first = starts[g]
        n_listed = _ZERO if keeps_plan[i] else starts[g + 1] - first
        is_found = now == chosen
        for j in range(n_listed):  # a loop without branches, for the compiler to do several at once
            q = plans[first + j]
            more = usage[i] - included[q, np.uint64(day)]
            slope = rise[first + j] if more > 0 else fall[first + j]
            at_least[j] = floor[q, np.uint64(day)] + slope * more
            is_found |= q == np.uint64(chosen)
        if not is_found and ineligible < 0:
            ineligible = i
        least_high, least_low, most_high, most_low = _ZERO, _ZERO, _ZERO, _ZERO
        ceiling = 0.0  # at least the least line
        for k in range(-2, np.int64(n_listed)):  # the present plan, the one it gets, then the list
            if k >= 0 and at_least[k] >= ceiling:
                continue
            p = np.int64(now if k == -2 else chosen if k == -1 else listed[first + np.uint64(k)])
            if (k >= -1 and p == now) or (k >= 0 and p == chosen):
                continue
            net, s, own = usage[i] - included[p, day], pool_of[p, g], 0
            if counts_fee:
                own += fee[p, day]
            if counts_overage:
                if has_messages:
                    own += message_micros(sms[i], included_sms[p], sms_rate[p])
                    own += message_micros(minutes, included_minutes[p], minute_rate[p])
                if s < 0:
                    own += own_data_micros(p, net, block, tier_from, tier_rate, cap)
            high, low = bare_line(own, bits, pool_multipliers[s] if s >= 0 else _ZERO, net)
            saves_enough = True
            if p == now:
                less_high, less_low = negated(saving_high, saving_low)
                most_high, most_low = added(high, low, less_high, less_low)
            elif least_saving > 0:
                saves_enough = not is_less(most_high, most_low, high, low)
            limits = plan_multipliers[p] + (0 if p == now else change_multiplier)
            if limits != 0:
                more_high, more_low = extended(limits)
                high, low = added(high, low, more_high, more_low)
            if p == now or (saves_enough and is_less(high, low, least_high, least_low)):
                least_high, least_low = high, low
                ceiling = line_ceiling(high, low)
            if p == chosen:
                cost += own
                n_on_plan[p] += 1
                if s >= 0:
                    net_bytes[s] += net
                if p != now:
                    changes += 1
                if not saves_enough and too_little < 0:
                    too_little = i
        sum_high, sum_low = added(sum_high, sum_low, least_high, least_low)
    return cost, sum_high, sum_low, n_on_plan, net_bytes, changes, ineligible, too_little
