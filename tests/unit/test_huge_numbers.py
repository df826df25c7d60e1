"""Values at the ends of their ranges, and sums no float holds exactly: exact, or refused (B1, O2, O3)."""

from __future__ import annotations

import math
from itertools import product

import polars as pl
import pytest

from core.domain import MAX_PRICE_MICROS, MAX_USAGE_BYTES, BillingPolicy, RatePlan
from core.errors import DataError
from core.fleet import normalise_fleet
from core.group_sequences import fleet_sequences
from core.grouping import group_fleet, iter_problems
from core.optimisation import optimise_fleet, solve_unit
from core.optimiser.check import check, derive
from core.optimiser.result import SolveParams

QUICK = SolveParams(repair_kicks=2, polish_nodes=50)


def plan(code, fee, included, rate, block, *, is_pooled=True):
    return RatePlan(
        code=code, monthly_rate_micros=fee, included_bytes=included, overage_rate_micros=rate,
        overage_block_bytes=block, is_pooled=is_pooled,
    )  # fmt: skip


def fleet_of(usages, plans):
    n = len(usages)
    return normalise_fleet(
        pl.DataFrame(
            {
                "iccid": [f"{k:04d}" for k in range(n)],
                "communication_plan": ["X"] * n,
                "rate_plan": [plans[k % len(plans)].code for k in range(n)],
                "usage_bytes": usages,
            }
        )
    )


def problem_of(usages, plans):
    grouping = group_fleet(fleet_of(usages, plans), plans, None, BillingPolicy(), max_rate_plans=15)
    (problem,) = iter_problems(grouping, fleet_sequences(grouping, 8))
    return problem


def price(usages, chosen):
    """Python integers only."""
    total, net = 0, {}
    for usage, on in zip(usages, chosen, strict=True):
        total += on.monthly_rate_micros
        if on.is_pooled:
            net[on.code] = net.get(on.code, 0) + usage - on.included_bytes
        else:
            over = max(0, usage - on.included_bytes)
            total += -(-over // on.overage_block_bytes) * on.overage_rate_micros
    for on in {on.code: on for on in chosen}.values():
        over = max(0, net.get(on.code, 0))
        total += -(-over // on.overage_block_bytes) * on.overage_rate_micros
    return total


def bound(usages, plans, certificate):
    """The expression of a certificate without limits, in Python integers."""
    scale, pools = 1 << certificate.scale_bits, iter(certificate.pool_multipliers)
    multiplier = {on.code: next(pools) for on in plans if on.is_pooled}
    scaled = 0
    for usage in usages:
        lines = []
        for on in plans:
            line = on.monthly_rate_micros * scale
            if on.is_pooled:
                line += multiplier[on.code] * (usage - on.included_bytes)
            else:
                over = max(0, usage - on.included_bytes)
                line += -(-over // on.overage_block_bytes) * on.overage_rate_micros * scale
            lines.append(line)
        scaled += min(lines)
    for on in plans:
        if on.is_pooled:
            assert (
                0 <= multiplier[on.code] * on.overage_block_bytes <= on.overage_rate_micros * scale
            )
    return -(-scaled // scale)


TIB, PIB = 1 << 40, MAX_USAGE_BYTES
CASES = {
    "usage at its limit": (
        [PIB, PIB, PIB - 1, 0, 1],
        [plan("A", 7, PIB - 1, 3, 1 << 20), plan("B", 11, PIB, 5, 1 << 21)],
    ),
    "prices at their limit": (
        [10 * TIB, 3 * TIB + 1, 0, 0, TIB],
        [
            plan("A", MAX_PRICE_MICROS, TIB, MAX_PRICE_MICROS, TIB),
            plan("B", MAX_PRICE_MICROS - 1, 0, MAX_PRICE_MICROS - 1, TIB),
            plan("C", 3, TIB, MAX_PRICE_MICROS, TIB, is_pooled=False),
        ],
    ),
    "sums beyond 2**53": (
        [PIB - k for k in range(5)],
        [plan("A", 1, 0, 2_001, 1 << 10), plan("B", MAX_PRICE_MICROS, 1, 2_000, 1 << 10)],
    ),
    "a price of a byte beyond 2**36": (
        [1, 2, 3, 1_000, 0],
        [plan("A", 1, 1, MAX_PRICE_MICROS, 1), plan("B", 17, 300, MAX_PRICE_MICROS - 1, 1)],
    ),
    "a block larger than any sum": (
        [PIB, PIB, 5, 0, 0],
        [plan("A", 5, 0, MAX_PRICE_MICROS, PIB), plan("B", MAX_PRICE_MICROS, PIB, 1, PIB)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_cost_and_bound_are_those_of_integers_of_any_size(name):
    usages, plans = CASES[name]
    problem = problem_of(usages, plans)
    result = solve_unit(problem, QUICK).result
    check(problem, result)
    by_number = {problem.tariff.codes.index(on.code): on for on in plans}
    chosen = [by_number[p] for p in result.assignment.tolist()]
    today = [plans[k % len(plans)] for k in range(len(usages))]
    optimum = min(price(usages, on) for on in product(plans, repeat=len(usages)))
    assert result.baseline_cost_micros == price(usages, today)
    assert result.cost_micros == price(usages, chosen) == optimum
    assert result.lower_bound_micros == bound(usages, plans, result.certificate) <= optimum


def test_a_sum_that_no_float_holds_is_exact_to_the_micro_unit():
    """105,015 blocks at an odd price: an odd number beyond 2**53."""
    rate, block = MAX_PRICE_MICROS - 1, 1 << 20
    usages = [7_001 * block * k for k in range(1, 6)]
    plans = [plan("A", 0, 0, rate, block), plan("B", 1, 0, rate, block)]
    result = solve_unit(problem_of(usages, plans), QUICK).result
    assert result.cost_micros == 105_015 * rate > 1 << 53
    assert int(float(result.cost_micros)) != result.cost_micros
    assert result.lower_bound_micros <= result.cost_micros


def test_products_of_multipliers_take_more_than_64_bits_and_stay_exact():
    """A full price of 1e11 per byte, over 2**24, times 2**20 bytes has 80 bits."""
    plans = [plan("A", 5, 0, MAX_PRICE_MICROS, 1), plan("B", 9, 3, MAX_PRICE_MICROS, 1)]
    usages = [1 << 20, (1 << 20) + 1, 0]
    problem = problem_of(usages, plans)
    result = solve_unit(problem, QUICK).result
    bits, multiplier = 24, MAX_PRICE_MICROS << 24
    assert math.log2(multiplier * usages[0]) > 80
    derived = derive(problem, result.assignment, bits, [multiplier] * 2, [0, 0], 0)
    # At the full price every line is lower in B, by three bytes.
    lines = sum(9 + MAX_PRICE_MICROS * (usage - 3) for usage in usages)
    assert derived.bound_micros == lines
    assert result.lower_bound_micros == bound(usages, plans, result.certificate)


@pytest.mark.parametrize(
    ("usages", "plans", "words"),
    [
        ([PIB + 1, 0], [plan("A", 1, 0, 1, 1 << 20)], "usage_bytes of SIM 0000 is"),
        ([PIB] * 100, [plan("A", 1, 0, MAX_PRICE_MICROS, 1)], "may reach"),
        ([0, 0], [plan("A", MAX_PRICE_MICROS + 1, 0, 1, 1)], "100000000001"),
    ],
)
def test_what_is_out_of_range_is_refused_and_named(usages, plans, words):
    with pytest.raises(DataError, match=words):
        optimise_fleet(
            fleet_of(usages, plans), plans, None, BillingPolicy(), QUICK,
            max_rate_plans=9, max_sequences=9, workers=1,
        )  # fmt: skip
