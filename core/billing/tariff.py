"""The catalogue as integer tables, with proration already done (B2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from core.domain import (
    MAX_COUNT,
    MAX_PRICE_MICROS,
    MAX_TIERS,
    MAX_USAGE_BYTES,
    BillingPolicy,
    OverageTier,
    ProrationBasis,
    RatePlan,
)
from core.errors import DataError, InvalidRatePlansError
from core.units import exact_money_text

Int64Array = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]


NO_CAP = 1 << 62
"""Overage cap of a plan without one."""

NEVER = 1 << 62
"""First block of a tier that does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tariff:
    """Rate plans of a catalogue by number, sorted by code; arrays are read-only.

    A SIM's *day class* is its number of active days in the cycle, ``0 .. cycle_days``; without
    cycle dates there is the one class 0 for everybody. Class ``full_cycle`` is a SIM that is active
    all along.

    Attributes
    ----------
    codes
        Plan codes, ascending: row ``p`` of every table is plan ``codes[p]``.
    fee_micros
        Shape ``(n_plans, n_day_classes)``: prorated monthly fee plus regulatory fee.
    included_bytes
        Shape ``(n_plans, n_day_classes)``: prorated data allowance.
    overage_rate_micros, overage_block_bytes
        Shape ``(n_plans,)``: price of the first overage block, and size of every block.
    tier_from_block, tier_rate_micros
        Shape ``(n_plans, n_tiers)``: overage block ``k``, counted from 0, costs the rate of the last
        tier with ``tier_from_block <= k``. The first tier starts at 0; a tier that a plan lacks
        starts at ``NEVER``.
    overage_cap_micros
        Shape ``(n_plans,)``: most that a SIM's data overage costs, ``NO_CAP`` without one (B8).
    is_pooled
        Shape ``(n_plans,)``: after the provider's pooling switch (B4).
    included_sms, sms_rate_micros, included_voice_minutes, voice_rate_micros
        Shape ``(n_plans,)`` (B5).
    """

    codes: tuple[str, ...]
    full_cycle: int
    fee_micros: Int64Array
    included_bytes: Int64Array
    overage_rate_micros: Int64Array
    overage_block_bytes: Int64Array
    tier_from_block: Int64Array
    tier_rate_micros: Int64Array
    overage_cap_micros: Int64Array
    is_pooled: npt.NDArray[np.bool_]
    included_sms: Int64Array
    sms_rate_micros: Int64Array
    included_voice_minutes: Int64Array
    voice_rate_micros: Int64Array

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def plan_number(self) -> dict[str, int]:
        """Plan code to row number."""
        return {code: number for number, code in enumerate(self.codes)}


def build_tariff(plans: Sequence[RatePlan], policy: BillingPolicy) -> Tariff:
    """Make the tables of a catalogue, in any order of ``plans`` the same.

    A prorated plan's fee and allowance are ``value * active_days / cycle_days``, or
    ``value * cycle_days / 30`` for everyone under ``ProrationBasis.THIRTY``, rounded half to even
    on exact integers; the regulatory fee is added whole (B2, B6).

    Raises
    ------
    InvalidRatePlansError
        If a plan cannot be billed (:func:`billing_problem`).
    DataError
        If a code stands there twice, or a plan that is pooled has a cap or tiers whose price falls
        (:func:`pooling_problem`).
    """
    plans = sorted(plans, key=lambda plan: plan.code)
    for left, right in pairwise(plans):
        if left.code == right.code:
            msg = f"the rate plan code {left.code!r} stands in the catalogue twice: keep one"
            raise DataError(msg)
    problems = {plan.code: problem for plan in plans if (problem := billing_problem(plan))}
    if problems:
        raise InvalidRatePlansError(problems)
    if policy.pooling_enabled:
        _check_pooled(plans)
    cycle_days = policy.cycle.days if policy.cycle else 0
    shape = (len(plans), cycle_days + 1)
    fees = [_prorated(p, p.monthly_rate_micros, policy, p.regulatory_fee_micros) for p in plans]
    included = [_prorated(p, p.included_bytes, policy) for p in plans]

    tier_from_block, tier_rate_micros = _tiers(plans)

    def column(value: Callable[[RatePlan], int]) -> Int64Array:
        return np.array([value(plan) for plan in plans], dtype=np.int64)

    return Tariff(
        codes=tuple(plan.code for plan in plans),
        full_cycle=cycle_days,
        fee_micros=np.array(fees, dtype=np.int64).reshape(shape),
        included_bytes=np.array(included, dtype=np.int64).reshape(shape),
        overage_rate_micros=tier_rate_micros[:, 0].copy(),
        overage_block_bytes=column(lambda plan: plan.overage_block_bytes),
        tier_from_block=tier_from_block,
        tier_rate_micros=tier_rate_micros,
        overage_cap_micros=column(
            lambda plan: NO_CAP if plan.overage_cap_micros is None else plan.overage_cap_micros
        ),
        is_pooled=np.array(
            [plan.is_pooled and policy.pooling_enabled for plan in plans], dtype=bool
        ),
        included_sms=column(lambda plan: plan.included_sms),
        sms_rate_micros=column(lambda plan: plan.sms_rate_micros),
        included_voice_minutes=column(lambda plan: plan.included_voice_minutes),
        voice_rate_micros=column(lambda plan: plan.voice_rate_micros),
    )


def billing_problem(plan: RatePlan) -> str | None:
    """Say why a plan cannot be billed, or None.

    Rate and block are above 0 and all numbers within their range (V2); tiers ascend and their rates
    are above 0 too (B8). Whether a pool can have such overage: :func:`pooling_problem`.
    """
    if plan.overage_rate_micros <= 0:
        return "the overage rate must be above 0"
    if plan.overage_block_bytes <= 0:
        return "the overage block must be above 0"
    limits = {
        "monthly_rate_micros": MAX_PRICE_MICROS,
        "regulatory_fee_micros": MAX_PRICE_MICROS,
        "overage_rate_micros": MAX_PRICE_MICROS,
        "sms_rate_micros": MAX_PRICE_MICROS,
        "voice_rate_micros": MAX_PRICE_MICROS,
        "included_bytes": MAX_USAGE_BYTES,
        "overage_block_bytes": MAX_USAGE_BYTES,
        "included_sms": MAX_COUNT,
        "included_voice_minutes": MAX_COUNT,
    }
    for name, limit in limits.items():
        value = getattr(plan, name)
        if not 0 <= value <= limit:
            return f"{name} is {value}, allowed are 0 to {limit}"
    cap = plan.overage_cap_micros
    if cap is not None and not 0 <= cap <= MAX_PRICE_MICROS:
        return f"overage_cap_micros is {cap}, allowed are 0 to {MAX_PRICE_MICROS}"
    return _tier_problem(plan.overage_tiers)


def pooling_problem(plan: RatePlan) -> str | None:
    """Say why a billable plan cannot be a pooled one, or None (B8).

    A cap is a SIM's, and a pool has no such thing. Where a later block is cheaper than an earlier
    one, the price of a pool is not convex in its overage, and no bound or walk would be right.
    """
    if plan.overage_cap_micros is not None:
        return (
            f"it is pooled and has an overage cap ({exact_money_text(plan.overage_cap_micros)}), which only an "
            "individual plan can have"
        )
    prices = [price for _, price in _plan_tiers(plan)]
    for earlier, later in pairwise(prices):
        if later < earlier:
            return (
                f"it is pooled and has overage tiers whose price falls (from {exact_money_text(earlier)} to "
                f"{exact_money_text(later)} per block), which only an individual plan can have"
            )
    return None


def pooling_refusal(plan: RatePlan) -> str | None:
    """Say that a billable plan that is pooled cannot be, and the remedy; None where it can (B8)."""
    problem = pooling_problem(plan) if plan.is_pooled else None
    return problem and (
        f"the rate plan {plan.code!r} cannot be priced: {problem}; correct its overage columns, or make "
        "it individual (is_pooled = no) if the carrier bills each SIM alone"
    )


def day_classes(activated: pl.Series, policy: BillingPolicy) -> Int32Array:
    """Active days of each SIM, ``cycle_end - max(cycle_start, activated) + 1`` (B2).

    Parameters
    ----------
    activated
        Date, shape ``(n,)``; null means active for the whole cycle.

    Returns
    -------
    Int32Array
        Shape ``(n,)``, each in ``1 .. cycle_days``; all 0 without cycle dates.

    Raises
    ------
    ValueError
        If a date lies after the end of the cycle.
    """
    if policy.cycle is None:
        return np.zeros(len(activated), dtype=np.int32)
    start, end = policy.cycle.start_date, policy.cycle.end_date
    late = activated.filter(activated > end)
    if len(late):
        msg = f"{len(late)} SIMs were activated after the cycle's end {end}, first on {late[0]}"
        raise ValueError(msg)
    days = (pl.lit(end) - activated.clip(lower_bound=start)).dt.total_days() + 1
    return pl.select(days.fill_null(policy.cycle.days).cast(pl.Int32)).to_series().to_numpy()


def _tier_problem(tiers: Sequence[OverageTier]) -> str | None:
    if len(tiers) > MAX_TIERS:
        return f"it has {len(tiers)} overage tiers, at most {MAX_TIERS} are allowed"
    for tier in tiers:
        if not 0 <= tier.from_bytes <= MAX_USAGE_BYTES:
            return f"an overage tier starts at {tier.from_bytes} bytes, allowed are 0 to {MAX_USAGE_BYTES}"
        if not 0 < tier.rate_micros <= MAX_PRICE_MICROS:
            return (
                f"the rate of the overage tier from {tier.from_bytes} bytes is {tier.rate_micros} "
                f"micro-units, allowed are 1 to {MAX_PRICE_MICROS}"
            )
    for left, right in pairwise(tiers):
        if left.from_bytes >= right.from_bytes:
            return (
                f"the overage tiers from {left.from_bytes} and {right.from_bytes} bytes stand in "
                "this order: they must ascend, each volume once"
            )
    return None


def _check_pooled(plans: Sequence[RatePlan]) -> None:
    for plan in plans:
        refusal = pooling_refusal(plan)
        if refusal:
            raise DataError(refusal)


def _tiers(plans: Sequence[RatePlan]) -> tuple[Int64Array, Int64Array]:
    """First block and price of every tier, both of shape ``(n_plans, n_tiers)``.

    A block belongs to the tier in which it starts, so that a tier begins with the first block at or
    beyond its volume.
    """
    tiers = [_plan_tiers(plan) for plan in plans]
    n_tiers = max((len(of_plan) for of_plan in tiers), default=1)
    from_block = np.full((len(plans), n_tiers), NEVER, dtype=np.int64)
    rate = np.zeros((len(plans), n_tiers), dtype=np.int64)
    for p, of_plan in enumerate(tiers):
        for t, (first, price) in enumerate(of_plan):
            from_block[p, t], rate[p, t] = first, price
        rate[p, len(of_plan) :] = of_plan[-1][1]
    return from_block, rate


def _plan_tiers(plan: RatePlan) -> list[tuple[int, int]]:
    """Distinct first blocks with their prices, ascending from 0; of two tiers the later one counts."""
    prices = {0: plan.overage_rate_micros}
    for tier in plan.overage_tiers:
        prices[-(-tier.from_bytes // plan.overage_block_bytes)] = tier.rate_micros
    return sorted(prices.items())


def _prorated(plan: RatePlan, value: int, policy: BillingPolicy, unprorated: int = 0) -> list[int]:
    """``value`` in each day class, plus what is never prorated."""
    if policy.cycle is None:
        return [value + unprorated]
    classes = range(policy.cycle.days + 1)
    if not (plan.is_prorated and policy.uses_proration):
        return [value + unprorated for _ in classes]
    if policy.proration_basis is ProrationBasis.THIRTY:
        everyone = _half_even(value * policy.cycle.days, 30)
        return [everyone + unprorated for _ in classes]
    return [_half_even(value * days, policy.cycle.days) + unprorated for days in classes]


def _half_even(numerator: int, denominator: int) -> int:
    whole, rest = divmod(numerator, denominator)
    is_up = 2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1)
    return whole + is_up
