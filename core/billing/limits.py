"""The ranges within which every sum of a fleet fits into 64-bit integers (B1).

What is checked here once lets all later arithmetic add freely: no assignment of the fleet can cost
``MAX_TOTAL_MICROS``, and no pool can hold ``MAX_TOTAL_BYTES``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from core.billing.individual import MAX_TOTAL_MICROS
from core.billing.tariff import Tariff
from core.domain import MAX_COUNT, MAX_USAGE_BYTES
from core.errors import DataError

MAX_TOTAL_BYTES = 1 << 62
"""Usage, or pooled allowance, of a whole fleet stays below this."""

_SIM_LIMITS = {
    "usage_bytes": MAX_USAGE_BYTES,
    "sms_count": MAX_COUNT,
    "voice_seconds": MAX_COUNT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupUse:
    """What the SIMs of a group use together, and the plans that they have or may get.

    Attributes
    ----------
    current, eligible
        Plan numbers, ascending: today's, and those of the group's plan list.
    """

    group_id: str
    devices: int
    usage_bytes: int
    sms_count: int
    voice_minutes: int
    current: tuple[int, ...]
    eligible: tuple[int, ...]

    @property
    def reachable(self) -> tuple[int, ...]:
        """Every plan that a SIM of the group may end on, ascending."""
        return tuple(sorted({*self.current, *self.eligible}))


def check_sim_ranges(fleet: pl.DataFrame) -> None:
    """Refuse a fleet with a usage, SMS count or voice time out of range.

    Raises
    ------
    DataError
        Naming the first such SIM.
    """
    for column, limit in _SIM_LIMITS.items():
        wrong = fleet.filter(~pl.col(column).is_between(0, limit)).head(1)
        if wrong.height:
            iccid, value = wrong.select("iccid", column).row(0)
            msg = f"{column} of SIM {iccid} is {value}: allowed are 0 to {limit}"
            raise DataError(msg)


def check_limits(tariff: Tariff, uses: Sequence[GroupUse]) -> None:
    """Refuse a fleet of which some assignment could leave the range of 64-bit integers.

    A group's dearest assignment costs at most, over its reachable plans, the largest fee and one
    overage block per SIM, ``ceil(largest (rate / block) * usage)``, and all SMS and voice minutes at
    the largest price. A plan's rate is here that of its dearest tier; caps only lower a cost (B8).

    Raises
    ------
    DataError
        Naming the group and plan that contribute most.
    """
    micros = [(bound, use, plan) for use in uses for bound, plan in [_dearest(tariff, use)]]
    _check_sum(tariff, micros, MAX_TOTAL_MICROS, "cost", "micro-units")
    usage = [(use.usage_bytes, use, None) for use in uses]
    _check_sum(tariff, usage, MAX_TOTAL_BYTES, "usage", "bytes")
    included = [(bound, use, plan) for use in uses for bound, plan in [_most_included(tariff, use)]]
    _check_sum(tariff, included, MAX_TOTAL_BYTES, "pooled allowance", "bytes")


def _check_sum(
    tariff: Tariff,
    bounds: Sequence[tuple[int, GroupUse, int | None]],
    limit: int,
    what: str,
    unit: str,
) -> None:
    total = sum(bound for bound, _, _ in bounds)
    if total < limit:
        return
    bound, use, plan = max(bounds, key=lambda entry: entry[0])
    at_plan = "" if plan is None else f", with rate plan {tariff.codes[plan]!r}"
    msg = (
        f"the {what} of this fleet may reach {total} {unit}, and {limit} is out of range; most of it, "
        f"{bound}, is in group {use.group_id} ({use.devices} SIMs, {use.usage_bytes} bytes{at_plan}): "
        "correct the usage or the plan"
    )
    raise DataError(msg)


def _dearest(tariff: Tariff, use: GroupUse) -> tuple[int, int | None]:
    """Upper bound on the group's cost, and the plan with the dearest data for its usage."""
    plans = list(use.reachable)
    if not plans:
        return 0, None

    rates = tariff.tier_rate_micros.max(axis=1)

    def data_micros(plan: int) -> int:
        return -(-int(rates[plan]) * use.usage_bytes // int(tariff.overage_block_bytes[plan]))

    dearest = max(plans, key=data_micros)
    per_sim = int(tariff.fee_micros[plans].max()) + int(rates[plans].max())
    messages = use.sms_count * int(tariff.sms_rate_micros[plans].max())
    messages += use.voice_minutes * int(tariff.voice_rate_micros[plans].max())
    return data_micros(dearest) + use.devices * per_sim + messages, dearest


def _most_included(tariff: Tariff, use: GroupUse) -> tuple[int, int | None]:
    """Upper bound on the allowance that the group can bring into pools, and the plan of it."""
    included = {
        plan: int(tariff.included_bytes[plan].max())
        for plan in use.reachable
        if tariff.is_pooled[plan]
    }
    if not included:
        return 0, None
    plan = max(included, key=lambda number: included[number])
    return use.devices * included[plan], plan
