"""Which groups are decided together, because of pools or of limits that count over them (O8, O11)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from core.billing.limits import GroupUse
from core.billing.pools import connected
from core.billing.tariff import Int32Array, Int64Array, Tariff
from core.domain import Constraints, PlanLimit, RatePlan
from core.errors import DataError, InfeasibleError
from core.problem import INDIVIDUAL, NO_LIMIT


def effective_constraints(
    rate_plans: Iterable[RatePlan], constraints: Constraints | None
) -> Constraints:
    """Constraints with the limits of the catalogue, less the limits that limit nothing (O8).

    Parameters
    ----------
    constraints
        Its limits replace those of the catalogue, plan by plan; None has only the catalogue's.

    Raises
    ------
    DataError
        If a limit is for a plan that the catalogue lacks.
    """
    asked = constraints or Constraints()
    limits = {
        plan.code: PlanLimit(min_devices=plan.min_devices, max_devices=plan.max_devices)
        for plan in rate_plans
    }
    unknown = sorted(set(asked.plans) - set(limits))
    if unknown:
        msg = f"there is a limit for rate plan {unknown[0]!r}, which is not in the catalogue"
        raise DataError(msg)
    limits |= asked.plans
    return replace(
        asked,
        plans={
            code: limits[code]
            for code in sorted(limits)
            if limits[code].min_devices or limits[code].max_devices is not None
        },
    )


def limit_arrays(tariff: Tariff, constraints: Constraints) -> tuple[Int64Array, Int64Array]:
    """Least and most SIMs on each plan, both of shape ``(n_plans,)``; 0 and ``NO_LIMIT`` without."""
    least = np.zeros(len(tariff.codes), dtype=np.int64)
    most = np.full(len(tariff.codes), NO_LIMIT, dtype=np.int64)
    number = tariff.plan_number()
    for code, limit in constraints.plans.items():
        least[number[code]] = limit.min_devices or 0
        if limit.max_devices is not None:
            most[number[code]] = limit.max_devices
    return least, most


def unit_numbers(
    uses: Sequence[GroupUse],
    plan_pool: Int32Array,
    limited: Collection[int],
    *,
    max_rate_plans: int,
    is_shared: bool,
    is_one: bool,
) -> list[int]:
    """Solve unit of each group: what pools and limits connect, directly or through others (O11).

    Parameters
    ----------
    plan_pool
        Shape ``(n_plans,)``: pool of each plan, or ``INDIVIDUAL``.
    limited
        Plans with a limit: all groups with a SIM that is on one, or may get on it, are one unit.
    is_shared
        Whether a pool is shared by groups (B4).
    is_one
        Whether all groups are one unit, as under a limit of changes.
    """
    if is_one:
        return [0] * len(uses)
    n_plans = len(plan_pool)
    touched = []
    for use in uses:
        plans = use.current if len(use.eligible) > max_rate_plans else use.reachable
        pools = {int(plan_pool[plan]) for plan in plans if is_shared} - {INDIVIDUAL}
        touched.append(sorted([*pools, *(n_plans + plan for plan in plans if plan in limited)]))
    return connected(touched, 2 * n_plans)


def require_reachable(
    uses: Iterable[GroupUse], limits: Mapping[str, PlanLimit], tariff: Tariff, max_rate_plans: int
) -> None:
    """Refuse a least number of SIMs on a plan that no SIM has or may get.

    Raises
    ------
    InfeasibleError
        Naming the plan.
    """
    reached: set[int] = set()
    for use in uses:
        reached |= {*(use.current if len(use.eligible) > max_rate_plans else use.reachable)}
    number = tariff.plan_number()
    for code, limit in limits.items():
        if limit.min_devices and number[code] not in reached:
            msg = (
                f"rate plan {code!r}: min is {limit.min_devices}, but no SIM has this plan or may "
                "get it: lower min, or put the plan on a list"
            )
            raise InfeasibleError(msg)
