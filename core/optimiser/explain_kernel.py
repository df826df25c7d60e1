"""The compiled pass that finds each SIM's next best plan (O9): exact, in 128 bits.

The lines are those of :mod:`core.optimiser.check_kernel`, with its arithmetic and its ranges. What is
the same for all SIMs of a plan is added up once, and a plan whose line is above the best one by that
part alone is not priced further.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from core.optimiser.check_kernel import (
    added,
    extended,
    is_less,
    message_micros,
    multiplied,
    negated,
    own_data_micros,
    shifted,
)
from core.problem import BoolArray, Int32Array, Int64Array

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_TOP = np.uint64(63)
_MOST = np.int64((1 << 63) - 1)


@njit(cache=True, error_model="numpy")
def whole_micros(high: Any, low: Any, bits: Any) -> Any:
    """Divide a pair by ``2**bits``, rounded half-even; beyond 64 bits the nearest of ``+-(2**63 - 1)``.

    Parameters
    ----------
    high, low
        A number as in :mod:`core.optimiser.check_kernel`, in 127 bits.
    bits
        Unsigned, at most 62.
    """
    rest = low & ((_ONE << bits) - _ONE)
    top = np.int64(high) >> np.int64(bits)
    whole = (low >> bits) | ((high << _ONE) << (_TOP - bits))
    half = (_ONE << bits) >> _ONE
    if rest > half or (rest == half and half > _ZERO and (whole & _ONE) > _ZERO):
        whole += _ONE
        if whole == _ZERO:
            top += 1
    result = np.int64(whole)
    if top != (-1 if result < 0 else 0) or result < -_MOST:
        return _MOST if top >= 0 else -_MOST
    return result


@njit(cache=True, error_model="numpy")
def next_best_pass(  # noqa: C901 - one loop, since array arguments make calls inside it slow
    usage: Int64Array, sms: Int64Array, seconds: Int64Array,
    day_class: Int32Array, group: Int32Array, current: Int32Array, keeps_plan: BoolArray,
    listed: Int64Array, list_start: Int64Array, pool_of: Int32Array,
    fee: Int64Array, included: Int64Array, block: Int64Array,
    tier_from: Int64Array, tier_rate: Int64Array, cap: Int64Array,
    included_sms: Int64Array, sms_rate: Int64Array,
    included_minutes: Int64Array, minute_rate: Int64Array,
    assignment: Int32Array, pool_multipliers: Any, plan_multipliers: Int64Array,
    change_multiplier: int, bits: Any, counts_fee: Any, counts_overage: Any,
) -> Any:  # fmt: skip
    """Find each SIM's cheapest other line, and how far it lies above that of the plan it gets.

    Parameters
    ----------
    usage, ..., counts_overage
        As in :func:`core.optimiser.check_kernel.one_pass`.

    Returns
    -------
    tuple
        Plan number per SIM, -1 where it may have no other plan, and reduced cost in micro-units.
    """
    n_sims = len(usage)
    next_plan = np.full(n_sims, -1, dtype=np.int32)
    reduced = np.zeros(n_sims, dtype=np.int64)
    base_high = np.zeros(fee.shape, dtype=np.uint64)  # what no SIM changes: fee and limits
    base_low = np.zeros(fee.shape, dtype=np.uint64)
    for plan in range(fee.shape[0]):
        for days in range(fee.shape[1]):
            fee_high, fee_low = shifted(fee[plan, days] if counts_fee else 0, bits)
            more_high, more_low = extended(plan_multipliers[plan] + change_multiplier)
            base_high[plan, days], base_low[plan, days] = added(
                fee_high, fee_low, more_high, more_low
            )
    same_high, same_low = extended(-change_multiplier)
    for i in range(n_sims):
        if keeps_plan[i]:
            continue
        g, day, now, chosen = group[i], day_class[i], current[i], assignment[i]
        minutes = (seconds[i] + 59) // 60
        has_messages = sms[i] > 0 or minutes > 0
        first, end = list_start[g], list_start[g + 1]
        best: Any = np.int64(-1)
        best_high, best_low, own_high, own_low = _ZERO, _ZERO, _ZERO, _ZERO
        for k in range(first - 1, end):  # the present plan, then the list
            p = np.int64(now) if k < first else listed[k]
            if k >= first and p == now:
                continue
            high, low = base_high[p, day], base_low[p, day]
            if p == now and change_multiplier > 0:
                high, low = added(high, low, same_high, same_low)
            net, s, own = usage[i] - included[p, day], pool_of[p, g], 0
            is_least = s < 0 or net >= 0  # whether all that follows only adds
            if is_least and best >= 0 and p != chosen and is_less(best_high, best_low, high, low):
                continue
            if counts_overage:
                if has_messages:
                    own += message_micros(sms[i], included_sms[p], sms_rate[p])
                    own += message_micros(minutes, included_minutes[p], minute_rate[p])
                if s < 0:
                    own += own_data_micros(p, net, block, tier_from, tier_rate, cap)
            if own > 0:
                more_high, more_low = shifted(own, bits)
                high, low = added(high, low, more_high, more_low)
            if s >= 0 and pool_multipliers[s] > _ZERO:
                more_high, more_low = multiplied(pool_multipliers[s], net)
                high, low = added(high, low, more_high, more_low)
            if p == chosen:
                own_high, own_low = high, low
                continue
            is_better = best < 0 or is_less(high, low, best_high, best_low)
            if is_better or (p < best and high == best_high and low == best_low):
                best, best_high, best_low = p, high, low
        if best >= 0:
            less_high, less_low = negated(own_high, own_low)
            more_high, more_low = added(best_high, best_low, less_high, less_low)
            next_plan[i] = best
            reduced[i] = whole_micros(more_high, more_low, bits)
    return next_plan, reduced
