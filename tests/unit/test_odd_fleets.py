"""Small, equal, empty and lopsided fleets are fleets like any other (O11, O12)."""

from __future__ import annotations

import polars as pl
import pytest

from core.domain import BillingPolicy, RatePlan
from core.fleet import normalise_fleet
from core.optimisation import optimise_fleet
from core.optimiser.result import SolveParams

MB = 1 << 20
GB = 1 << 30


def plan(code: str, fee: int, included: int, *, is_pooled: bool, block: int = MB) -> RatePlan:
    return RatePlan(
        code=code,
        monthly_rate_micros=fee,
        included_bytes=included,
        overage_rate_micros=50_000,
        overage_block_bytes=block,
        is_pooled=is_pooled,
    )


def catalogue(*, is_pooled: bool, block: int = MB) -> list[RatePlan]:
    sizes = [("A", 500_000, MB), ("B", 2_000_000, 50 * MB), ("C", 9_000_000, GB)]
    return [plan(code, fee, size, is_pooled=is_pooled, block=block) for code, fee, size in sizes]


FLEETS = {
    "no SIM": [],
    "one SIM": [7 * MB],
    "two SIMs": [0, 3 * GB],
    "all equal": [12 * MB] * 40,
    "all zero": [0] * 40,
    "one giant": [0] * 39 + [900 * GB],
    "just at the allowance": [MB, 50 * MB, GB] * 5,
    "one byte over": [MB + 1, 50 * MB + 1, GB + 1] * 5,
}


@pytest.mark.parametrize("block", [1, MB, 1 << 44], ids=["byte", "MB", "larger than any usage"])
@pytest.mark.parametrize("is_pooled", [True, False], ids=["pooled", "individual"])
@pytest.mark.parametrize("usages", FLEETS.values(), ids=list(FLEETS))
def test_an_odd_fleet_is_priced_and_never_made_dearer(
    usages: list[int], is_pooled: bool, block: int
) -> None:
    plans = catalogue(is_pooled=is_pooled, block=block)
    fleet = normalise_fleet(
        pl.DataFrame(
            {
                "iccid": [f"{n:04d}" for n in range(len(usages))],
                "communication_plan": ["X"] * len(usages),
                "rate_plan": ["BC"[n % 2] for n in range(len(usages))],
                "usage_bytes": usages,
            },
            schema={
                "iccid": pl.String,
                "communication_plan": pl.String,
                "rate_plan": pl.String,
                "usage_bytes": pl.Int64,
            },
        )
    )
    outcome = optimise_fleet(
        fleet, plans, None, BillingPolicy(), SolveParams(),
        max_rate_plans=15, max_sequences=64, workers=1,
    )  # fmt: skip
    assert outcome.devices == len(usages)
    assert outcome.optimized.objective_micros <= outcome.baseline.objective_micros
    rows = outcome.assignments
    assert rows["recommended_cost_micros"].sum() == outcome.optimized.objective_micros
    assert rows["current_cost_micros"].sum() == outcome.baseline.objective_micros
    for code in "ABC":
        single = single_plan_cost(usages, next(p for p in plans if p.code == code))
        assert outcome.optimized.objective_micros <= single


def single_plan_cost(usages: list[int], on: RatePlan) -> int:
    """Everybody on one plan, in plain integers."""
    excess = (
        [max(0, sum(usages) - on.included_bytes * len(usages))]
        if on.is_pooled
        else [max(0, usage - on.included_bytes) for usage in usages]
    )
    blocks = sum(-(-bytes_over // on.overage_block_bytes) for bytes_over in excess)
    return on.monthly_rate_micros * len(usages) + blocks * on.overage_rate_micros


@pytest.mark.parametrize("seed", [0, 10**13, 2**63, 10**40])
def test_a_seed_of_any_size_is_taken(seed: int) -> None:
    usages = [k * k * MB // 7 for k in range(40)]
    fleet = normalise_fleet(
        pl.DataFrame(
            {
                "iccid": [f"{n:04d}" for n in range(len(usages))],
                "communication_plan": ["X"] * len(usages),
                "rate_plan": ["C"] * len(usages),
                "usage_bytes": usages,
            }
        )
    )
    outcome = optimise_fleet(
        fleet, catalogue(is_pooled=True), None, BillingPolicy(), SolveParams(seed=seed),
        max_rate_plans=15, max_sequences=64, workers=1,
    )  # fmt: skip
    assert outcome.optimized.objective_micros < outcome.baseline.objective_micros
