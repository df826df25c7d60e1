"""What the independent check needs of a unit's pools: the box, the charge, its conjugate (O2, O3, B8)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from core.domain import ChargeType
from core.errors import CheckFailedError
from core.problem import Problem

MAX_SCALE_BITS = 62
"""Most scale bits of a certificate."""

MULTIPLIER_LIMIT = 1 << 62
"""Multipliers stay below this, and those of plans above its opposite."""

_NEVER = 1 << 62


def check_multipliers(
    problem: Problem,
    scale_bits: int,
    pool_multipliers: Sequence[int],
    plan_multipliers: Sequence[int],
    change_multiplier: int,
) -> None:
    """Refuse multipliers that do not fit the unit, or lie outside their range or box.

    Raises
    ------
    CheckFailedError
        Naming the first that does.
    """
    n_pools, n_plans = len(problem.pool_block_bytes), len(problem.tariff.codes)
    if (len(pool_multipliers), len(plan_multipliers)) != (n_pools, n_plans):
        raise failed(
            problem,
            f"the certificate has {len(pool_multipliers)} pool and {len(plan_multipliers)} plan "
            f"multipliers, the unit {n_pools} pools and {n_plans} plans",
        )
    if not 0 <= scale_bits <= MAX_SCALE_BITS:
        raise failed(problem, f"the scale is {scale_bits} bits: allowed are 0 to {MAX_SCALE_BITS}")
    for s, multiplier in enumerate(pool_multipliers):
        _check_box(problem, s, multiplier, scale_bits)
    for p, multiplier in enumerate(plan_multipliers):
        if abs(multiplier) >= MULTIPLIER_LIMIT:
            code = problem.tariff.codes[p]
            raise failed(
                problem, f"the multiplier of rate plan {code!r} is {multiplier}, out of range"
            )
    most = 0 if problem.max_changes is None else MULTIPLIER_LIMIT - 1
    if not 0 <= change_multiplier <= most:
        raise failed(
            problem,
            f"the multiplier of the limit of changes is {change_multiplier}: allowed are 0 to {most}",
        )


def _check_box(problem: Problem, s: int, multiplier: int, scale_bits: int) -> None:
    """Refuse a pool's multiplier outside its box, where it would prove nothing."""
    rates = problem.pool_tier_rate_micros[s].tolist()
    if any(later < earlier for earlier, later in pairwise(rates)):
        raise failed(
            problem, f"the prices of pool {s}, {rates}, fall: that has no bound of this form"
        )
    rate = 0 if problem.charge_type is ChargeType.RATE else rates[-1]
    scaled = multiplier * int(problem.pool_block_bytes[s])
    if not 0 <= multiplier < MULTIPLIER_LIMIT or scaled > rate << scale_bits:
        raise failed(
            problem,
            f"the multiplier of pool {s} is {multiplier}, outside its box: times the block it is "
            f"{scaled}, allowed are 0 to {rate << scale_bits}",
        )


def _tiers(problem: Problem, s: int) -> list[tuple[int, int]]:
    """First block and price of each tier that the pool has."""
    first, rate = problem.pool_tier_from_block[s], problem.pool_tier_rate_micros[s]
    return [(f, r) for f, r in zip(first.tolist(), rate.tolist(), strict=True) if f < _NEVER]


def pool_micros(problem: Problem, s: int, over_bytes: int) -> int:
    """Price of a pool's started blocks, each at its tier's price (B4, B8)."""
    blocks = -(-max(over_bytes, 0) // int(problem.pool_block_bytes[s]))
    charge, end = 0, blocks
    for first, rate in reversed(_tiers(problem, s)):
        charge += max(end - first, 0) * rate
        end = min(end, first)
    return charge


def conjugate(problem: Problem, s: int, multiplier: int, scale_bits: int) -> int:
    """Scaled conjugate of a pool's charge without rounding up, for a multiplier in its box."""
    per_block = multiplier * int(problem.pool_block_bytes[s])
    return sum(
        max(0, per_block - (rate << scale_bits)) * (until - first)
        for (first, rate), (until, _) in pairwise(_tiers(problem, s))
    )


def failed(problem: Problem, what: str, *, row: int | None = None) -> CheckFailedError:
    """Make the error that names the unit, and the place of the SIM at fault if one is."""
    return CheckFailedError(f"solve unit {problem.unit_id} fails its check: {what}", row=row)
