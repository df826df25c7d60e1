"""Which plans share a pool, and which groups must be solved together because of it (B4, O11)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from core.billing.tariff import NEVER, Int32Array, Tariff
from core.domain import PoolScope, RatePlan
from core.errors import DataError
from core.problem import INDIVIDUAL


def plan_pools(plans: Iterable[RatePlan], tariff: Tariff, scope: PoolScope) -> Int32Array:
    """Give every pooled plan of a catalogue the number of its pool.

    Parameters
    ----------
    plans
        The catalogue from which the tariff was made, in any order.
    scope
        Under ``PoolScope.COMM_GROUP`` the numbers hold within one group; each group has its own
        pools, as many as there are here.

    Returns
    -------
    Int32Array
        Shape ``(n_plans,)``: pool of each plan of the tariff, numbered from 0 in plan order, or
        ``INDIVIDUAL``.

    Raises
    ------
    DataError
        If plans of one pool group differ in overage rate, block or tiers, under
        ``PoolScope.POOL_GROUP``.
    """
    pool_group = {plan.code: plan.pool_group for plan in plans}
    pools = np.full(len(tariff.codes), INDIVIDUAL, dtype=np.int32)
    n_pools = 0
    first_plan: dict[str, int] = {}
    for number, code in enumerate(tariff.codes):
        if not tariff.is_pooled[number]:
            continue
        shared = pool_group[code] if scope is PoolScope.POOL_GROUP else None
        if shared and shared in first_plan:
            _check_same_price(tariff, first_plan[shared], number, shared)
            pools[number] = pools[first_plan[shared]]
            continue
        pools[number] = n_pools
        n_pools += 1
        if shared:
            first_plan[shared] = number
    return pools


def connected(touched: Sequence[Iterable[int]], n_pools: int) -> list[int]:
    """Find the sets of groups that touch common pools, directly or through others.

    Parameters
    ----------
    touched
        Per group, the pools that its SIMs are in or may get into.

    Returns
    -------
    list of int
        Per group the number of its set, counted from 0 in the order of their first groups.
    """
    parent = list(range(len(touched) + n_pools))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for group, pools in enumerate(touched):
        for pool in pools:
            left, right = sorted((root(group), root(len(touched) + pool)))
            parent[right] = left
    number: dict[int, int] = {}
    return [number.setdefault(root(group), len(number)) for group in range(len(touched))]


def _check_same_price(tariff: Tariff, left: int, right: int, pool_group: str) -> None:
    prices = [_prices(tariff, plan) for plan in (left, right)]
    if prices[0] == prices[1]:
        return
    msg = (
        f"rate plans {tariff.codes[left]!r} and {tariff.codes[right]!r} share the pool group "
        f"{pool_group!r} and must have the same overage rate, block and tiers: {prices[0]}, and "
        f"{prices[1]}; correct one, or leave its pool group empty"
    )
    raise DataError(msg)


def _prices(tariff: Tariff, plan: int) -> str:
    """Everything that a pool's overage depends on, in words."""
    tiers = zip(tariff.tier_from_block[plan], tariff.tier_rate_micros[plan], strict=True)
    first, *others = [(int(block), int(rate)) for block, rate in tiers if block != NEVER]
    words = [f"{first[1]} micro-units for {tariff.overage_block_bytes[plan]} bytes"]
    words += [f"{rate} from block {block + 1} on" for block, rate in others]
    return ", ".join(words)
