"""Synthetic rate plans: a ladder of allowances with a concave fee, as carriers' price lists have.

Fees follow ``0.70 + 0.25 * MB ** 0.54`` currency units with 6 % noise; a megabyte of overage costs
1.5 to 6 times what a megabyte of the plan's allowance costs, at least 0.01 and at most 10.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.domain import RatePlan

MB = 1 << 20
UNIT = 1_000_000

LADDER_MB = (
    0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 50, 75, 100, 150, 250, 500, 1024, 2048, 5120,
)  # fmt: skip
BLOCKS_MB = (0.1, 1.0, 10.0, 100.0, 1024.0)
FEWEST_PLANS, MOST_PLANS = 5, 15


def draw_plans(
    rng: np.random.Generator,
    *,
    pooled: str,
    n_plans: int | None = None,
    ladder_mb: tuple[float, ...] = LADDER_MB,
    with_messages: bool = False,
    with_proration: bool = False,
    block_mb: float | None = None,
    block_price_micros: int | None = None,
) -> list[RatePlan]:
    """Draw a catalogue.

    Parameters
    ----------
    pooled
        ``all``, ``half`` (at least one of each kind) or ``none`` of the plans are pooled.
    n_plans
        Number of plans, at most ``len(ladder_mb)``; None draws 5 to 15.
    with_messages
        Plans include SMS and voice minutes, and charge for more.
    with_proration
        About half of the plans are prorated.
    block_mb, block_price_micros
        Size and price of every plan's overage block, instead of drawn ones.

    Returns
    -------
    list of RatePlan
        Sorted by allowance, which is also the order of the codes.
    """
    n = int(rng.integers(FEWEST_PLANS, MOST_PLANS + 1)) if n_plans is None else n_plans
    steps = np.sort(rng.choice(len(ladder_mb), size=n, replace=False))
    is_pooled = np.zeros(n, dtype=bool)
    is_pooled[rng.permutation(n)[: {"all": n, "half": max(1, n // 2), "none": 0}[pooled]]] = True
    plans = []
    for k, step in enumerate(steps):
        allowance_mb = ladder_mb[step]
        fee = (0.70 + 0.25 * allowance_mb**0.54) * (1 + 0.06 * rng.standard_normal())
        per_mb = float(np.clip(rng.uniform(1.5, 6) * fee / allowance_mb, 0.01, 10))
        drawn_mb = float(rng.choice(BLOCKS_MB))
        size_mb = drawn_mb if block_mb is None else block_mb
        price = max(1, round(per_mb * size_mb * UNIT))
        plans.append(
            RatePlan(
                code=f"P{k:02d}",
                monthly_rate_micros=max(1, round(fee * UNIT)),
                included_bytes=round(allowance_mb * MB),
                overage_rate_micros=price if block_price_micros is None else block_price_micros,
                overage_block_bytes=round(size_mb * MB),
                is_pooled=bool(is_pooled[k]),
                is_prorated=with_proration and bool(rng.random() < 0.5),
            )
        )
    return [_with_messages(rng, plan) for plan in plans] if with_messages else plans


def _with_messages(rng: np.random.Generator, plan: RatePlan) -> RatePlan:
    """Add SMS and voice: what is included, and the price beyond."""
    return replace(
        plan,
        included_sms=int(rng.choice([0, 10, 50, 200])),
        sms_rate_micros=round(rng.uniform(0.01, 0.10) * UNIT),
        included_voice_minutes=int(rng.choice([0, 5, 30, 100])),
        voice_rate_micros=round(rng.uniform(0.02, 0.20) * UNIT),
    )
