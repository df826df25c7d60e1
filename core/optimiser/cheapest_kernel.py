"""The compiled search for each row's cheapest individual plan."""

from __future__ import annotations

import numpy as np
from numba import njit

from core.problem import Int32Array, Int64Array


@njit(cache=True, error_model="numpy")
def cheapest_individual(
    usage: Int64Array, plans: Int64Array, fee: Int64Array, included: Int64Array,
    counts_overage: bool, block: Int64Array, from_block: Int64Array, rate: Int64Array,  # noqa: FBT001
    cap: Int64Array, cost: Int64Array, plan: Int32Array,
) -> None:  # fmt: skip
    """Write cost and number of the cheapest of some plans for each usage; ties by their order.

    Parameters
    ----------
    usage
        Shape ``(n,)``, ascending, so that few usages need a division.
    plans
        Plan numbers; the following arrays have their values, in the same order.
    counts_overage
        Whether data overage is part of the objective (B7).
    from_block, rate
        Shape ``(n_plans, n_tiers)``: price tiers (B8).
    cost, plan
        Output, shape ``(n,)``.
    """
    n_tiers = from_block.shape[1]
    charge = np.zeros(len(plans), dtype=np.int64)
    paid_until = included.copy()  # usage up to which ``charge`` holds
    for i in range(len(usage)):
        best, least = 0, np.int64(1) << 62
        for p in range(len(plans)):
            if counts_overage and usage[i] > paid_until[p]:
                blocks = (usage[i] - included[p] - 1) // block[p] + 1
                paid_until[p] = included[p] + blocks * block[p]
                total = 0
                for t in range(n_tiers):
                    if blocks <= from_block[p, t]:
                        break
                    until = blocks
                    if t + 1 < n_tiers:
                        until = min(until, from_block[p, t + 1])
                    total += (until - from_block[p, t]) * rate[p, t]
                charge[p] = min(total, cap[p])
            if fee[p] + charge[p] < least:
                best, least = p, fee[p] + charge[p]
        cost[i], plan[i] = least, plans[best]
