"""An assignment's bill at true pool scope (B3, B4, B7, B10)."""

from dataclasses import replace

import numpy as np
import pytest

from core.billing.bill import bill, total_cost
from core.billing.tariff import build_tariff
from core.domain import BillingPolicy, ChargeType, RatePlan
from core.problem import NO_LIMIT, Group, Problem

POOLED = RatePlan(
    code="POOL",
    monthly_rate_micros=1_000,
    included_bytes=100,
    overage_rate_micros=7,
    overage_block_bytes=10,
    is_pooled=True,
    sms_rate_micros=3,
)
ALONE = replace(POOLED, code="SOLO", is_pooled=False, monthly_rate_micros=900)


def problem(usage, *, sms=None, pool_of=((0,), (-1,)), group=None, charge=None):
    """Plan 0 is pooled, plan 1 is not; pools all cost 7 micros for 10 bytes."""
    n = len(usage)
    pools = np.array(pool_of, dtype=np.int32)
    n_pools = int(pools.max()) + 1
    return Problem(
        unit_id="U0001",
        tariff=build_tariff([POOLED, ALONE], BillingPolicy()),
        groups=tuple(
            Group(group_id=f"G{k + 1:04d}", eligible=(0, 1)) for k in range(pools.shape[1])
        ),
        usage_bytes=np.array(usage, dtype=np.int64),
        sms_count=np.array(sms or [0] * n, dtype=np.int64),
        voice_seconds=np.zeros(n, dtype=np.int64),
        day_class=np.zeros(n, dtype=np.int32),
        group=np.array(group or [0] * n, dtype=np.int32),
        comm_plan=np.zeros(n, dtype=np.int32),
        current=np.zeros(n, dtype=np.int32),
        pool_of=pools,
        pool_block_bytes=np.full(n_pools, 10, dtype=np.int64),
        pool_tier_from_block=np.zeros((n_pools, 1), dtype=np.int64),
        pool_tier_rate_micros=np.full((n_pools, 1), 7, dtype=np.int64),
        is_locked=np.zeros(len(usage), dtype=bool),
        min_sims=np.zeros(2, dtype=np.int64),
        max_sims=np.full(2, NO_LIMIT, dtype=np.int64),
        charge_type=charge or ChargeType.RATE_AND_OVERAGE,
    )


def plans(*numbers):
    return np.array(numbers, dtype=np.int32)


def test_a_pool_pays_once_for_its_total_in_whole_blocks():
    """130 + 75 - 200 = 5 bytes beyond: one block, all caused by the first SIM."""
    result = bill(problem([130, 75]), plans(0, 0))
    assert result.rate_micros.tolist() == [1_000, 1_000]
    assert result.overage_micros.tolist() == [7, 0]
    assert total_cost(problem([130, 75]), plans(0, 0)) == 2_007


def test_the_same_sims_pay_more_each_by_itself():
    result = bill(problem([130, 75]), plans(1, 1))
    assert result.rate_micros.tolist() == [900, 900]
    assert result.overage_micros.tolist() == [21, 0]


def test_a_pool_with_allowance_left_charges_nobody():
    assert bill(problem([150, 10]), plans(0, 0)).overage_micros.tolist() == [0, 0]


def test_a_pool_exactly_used_up_charges_nobody():
    assert bill(problem([199, 1]), plans(0, 0)).overage_micros.tolist() == [0, 0]
    assert bill(problem([199, 2]), plans(0, 0)).overage_micros.tolist() == [7, 0]


def test_sims_on_individual_plans_stay_out_of_the_pool():
    """The third SIM's unused allowance helps nobody."""
    result = bill(problem([130, 75, 0]), plans(0, 0, 1))
    assert result.overage_micros.tolist() == [7, 0, 0]


def test_the_same_plan_has_its_own_pool_in_each_group_under_group_scope():
    shared = problem([150, 60], pool_of=((0, 0), (-1, -1)), group=[0, 1])
    apart = problem([150, 60], pool_of=((0, 1), (-1, -1)), group=[0, 1])
    assert bill(shared, plans(0, 0)).overage_micros.tolist() == [7, 0]
    assert bill(apart, plans(0, 0)).overage_micros.tolist() == [35, 0]


def test_two_plans_can_share_a_pool():
    result = bill(problem([150, 60], pool_of=((0,), (0,))), plans(0, 1))
    assert result.overage_micros.tolist() == [7, 0]


def test_messages_are_never_pooled():
    result = bill(problem([0, 0], sms=[4, 0]), plans(0, 0))
    assert result.overage_micros.tolist() == [12, 0]


@pytest.mark.parametrize(
    ("charge", "per_sim"),
    [
        (ChargeType.RATE, [1_000, 900]),
        (ChargeType.OVERAGE, [35, 3]),
        (ChargeType.RATE_AND_OVERAGE, [1_035, 903]),
    ],
)
def test_the_objective_adds_up_whatever_the_charge_type(charge, per_sim):
    case = problem([150, 0], sms=[0, 1], charge=charge)
    result = bill(case, plans(0, 1))
    assert result.objective(charge).tolist() == per_sim
    assert total_cost(case, plans(0, 1)) == sum(per_sim)


def test_no_sims_cost_nothing():
    result = bill(problem([]), plans())
    assert result.objective(ChargeType.RATE_AND_OVERAGE).tolist() == []
    assert total_cost(problem([]), plans()) == 0


def test_a_bill_cannot_be_written_to():
    result = bill(problem([1]), plans(0))
    with pytest.raises(ValueError, match="read-only"):
        result.rate_micros[0] = 0


@pytest.mark.parametrize("assignment", [plans(0), plans(0, 0, 0)])
def test_an_assignment_has_one_plan_per_sim(assignment):
    for price in (bill, total_cost):
        with pytest.raises(ValueError, match="one plan per SIM"):
            price(problem([1, 1]), assignment)


@pytest.mark.parametrize("assignment", [plans(0, 2), plans(-1, 0)])
def test_an_assignment_names_plans_of_the_tariff(assignment):
    for price in (bill, total_cost):
        with pytest.raises(ValueError, match="plan numbers 0 to 1"):
            price(problem([1, 1]), assignment)


def test_a_pool_pays_the_tiers_of_its_total_overage():
    """250 - 200 = 50 bytes beyond: blocks at 0 and 10 cost 7, that at 20 costs 8, two cost 9 (B8)."""
    case = replace(
        problem([190, 60]),
        pool_tier_from_block=np.array([[0, 2, 3]], dtype=np.int64),
        pool_tier_rate_micros=np.array([[7, 8, 9]], dtype=np.int64),
    )
    assert bill(case, plans(0, 0)).overage_micros.tolist() == [40, 0]
    assert total_cost(case, plans(0, 0)) == 2_040
