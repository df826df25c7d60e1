"""What a SIM costs on its own (B3, B5, B7, B8)."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from core.billing.individual import MAX_TOTAL_MICROS, individual_costs, priced, started
from core.billing.tariff import build_tariff
from core.domain import (
    MAX_PRICE_MICROS,
    MAX_USAGE_BYTES,
    BillingCycle,
    BillingPolicy,
    ChargeType,
    OverageTier,
    RatePlan,
)
from core.errors import DataError

PLAN = RatePlan(
    code="A",
    monthly_rate_micros=1_000,
    included_bytes=100,
    overage_rate_micros=7,
    overage_block_bytes=10,
    is_pooled=False,
)


def costs(
    plan, *, usage, sms=0, voice=0, day_class=0, charge=ChargeType.RATE_AND_OVERAGE, cycle=None
):
    n = len(usage)
    return individual_costs(
        build_tariff([plan], BillingPolicy(cycle=cycle)),
        0,
        np.array(usage, dtype=np.int64),
        np.full(n, sms, dtype=np.int64),
        np.full(n, voice, dtype=np.int64),
        np.full(n, day_class, dtype=np.int32),
        charge,
    ).tolist()


def test_every_started_block_beyond_the_allowance_is_charged():
    usage = [0, 100, 101, 110, 111]
    assert costs(PLAN, usage=usage) == [1_000, 1_000, 1_007, 1_007, 1_014]


@pytest.mark.parametrize(
    ("charge", "expected"),
    [
        (ChargeType.RATE, 1_000),
        (ChargeType.OVERAGE, 7 + 3 * 5),
        (ChargeType.RATE_AND_OVERAGE, 1_022),
    ],
)
def test_the_charge_type_chooses_the_parts(charge, expected):
    plan = replace(PLAN, sms_rate_micros=5)
    assert costs(plan, usage=[105], sms=3, charge=charge) == [expected]


def test_sms_beyond_the_included_ones_are_charged_each():
    plan = replace(PLAN, included_sms=2, sms_rate_micros=5)
    assert costs(plan, usage=[0], sms=2) == [1_000]
    assert costs(plan, usage=[0], sms=5) == [1_015]


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 0), (1, 1), (60, 1), (61, 2), (120, 2)])
def test_voice_is_charged_by_started_minutes(seconds, minutes):
    plan = replace(PLAN, voice_rate_micros=11)
    assert costs(plan, usage=[0], voice=seconds) == [1_000 + 11 * minutes]


def test_included_minutes_are_free():
    plan = replace(PLAN, voice_rate_micros=11, included_voice_minutes=2)
    assert costs(plan, usage=[0], voice=120) == [1_000]
    assert costs(plan, usage=[0], voice=121) == [1_011]


def test_active_days_change_fee_and_allowance_but_no_messages():
    """Two of four days: fee 500, 50 bytes included, one SMS still charged in full."""
    cycle = BillingCycle(start_date=date(2024, 3, 1), end_date=date(2024, 3, 4))
    plan = replace(PLAN, is_prorated=True, sms_rate_micros=5)
    assert costs(plan, usage=[50, 51], sms=1, day_class=2, cycle=cycle) == [505, 512]


def test_a_pooled_plan_is_priced_as_if_it_stood_alone():
    assert costs(replace(PLAN, is_pooled=True), usage=[111]) == [1_014]


def test_no_sims_cost_nothing():
    assert costs(PLAN, usage=[]) == []


def test_large_charges_are_exact():
    """(2**50 - 100) bytes beyond, at 4095 micros: 62 bits."""
    plan = replace(PLAN, overage_rate_micros=4095, overage_block_bytes=1)
    assert costs(plan, usage=[MAX_USAGE_BYTES]) == [1_000 + (MAX_USAGE_BYTES - 100) * 4095]


def test_a_charge_beyond_64_bits_is_refused():
    plan = replace(PLAN, overage_rate_micros=MAX_PRICE_MICROS, overage_block_bytes=1)
    with pytest.raises(DataError, match="data overage of row 2 is out of range"):
        costs(plan, usage=[0, MAX_USAGE_BYTES])


def test_large_counts_and_large_prices_may_meet_other_rows():
    count = np.array([1 << 50, 1, 0], dtype=np.int64)
    price = np.array([1 << 12, 1 << 37, 1 << 62], dtype=np.int64)
    assert priced(count, price, "charge").tolist() == [MAX_TOTAL_MICROS, 1 << 37, 0]


def test_started_units_are_a_ceiling_without_floats():
    amount = np.array([0, 1, 10, 11, (1 << 62) + 1], dtype=np.int64)
    assert started(amount, 10).tolist() == [0, 1, 1, 2, 461168601842738791]


# Tiers and caps, B8.

FREE = replace(PLAN, monthly_rate_micros=0, included_bytes=0)


def tiers(*pairs):
    return tuple(OverageTier(from_bytes=volume, rate_micros=rate) for volume, rate in pairs)


def test_a_block_costs_the_rate_of_the_tier_in_which_it_starts():
    """Blocks of 10: the third starts at 20, where 5 begins, the fourth beyond 21, where 2 begins."""
    plan = replace(PLAN, monthly_rate_micros=0, overage_tiers=tiers((20, 5), (21, 2)))
    assert costs(plan, usage=[100, 120, 121, 130, 131, 150]) == [0, 14, 19, 19, 21, 23]


def test_a_tier_from_zero_replaces_the_overage_rate():
    assert costs(replace(FREE, overage_tiers=tiers((0, 3))), usage=[1, 11]) == [3, 6]


def test_a_cap_limits_data_overage_and_nothing_else():
    plan = replace(PLAN, overage_cap_micros=20, sms_rate_micros=5)
    assert costs(plan, usage=[110, 120, 121, 10_000], sms=2) == [1_017, 1_024, 1_030, 1_030]


def test_a_cap_of_zero_makes_data_overage_free():
    assert costs(replace(PLAN, overage_cap_micros=0), usage=[10_000]) == [1_000]


def test_a_cap_holds_where_the_charge_without_it_is_beyond_all_numbers():
    """2**50 blocks at 10**11 are 2**87; the other rows of the same plan are exact to the micro-unit."""
    dear = replace(
        FREE, overage_rate_micros=MAX_PRICE_MICROS, overage_block_bytes=1,
        overage_cap_micros=MAX_PRICE_MICROS - 1, overage_tiers=tiers((1, 3), (3, MAX_PRICE_MICROS)),
    )  # fmt: skip
    usage = [0, 1, 2, 3, MAX_USAGE_BYTES]
    cap = MAX_PRICE_MICROS - 1
    assert costs(dear, usage=usage) == [0, cap, cap, cap, cap]
    cheap_first = replace(dear, overage_rate_micros=1)
    assert costs(cheap_first, usage=usage) == [0, 1, 4, 7, cap]


def test_tiers_reach_the_largest_total_and_not_a_block_beyond():
    """One block at 3, then 2**27 at 2**35 - 1: one more would leave the range, 2**62."""
    rate = (1 << 35) - 1
    plan = replace(
        FREE, overage_rate_micros=3, overage_block_bytes=1, overage_tiers=tiers((1, rate))
    )
    last = (MAX_TOTAL_MICROS - 3) // rate
    assert costs(plan, usage=[5, last + 1]) == [3 + 4 * rate, 3 + last * rate]
    with pytest.raises(DataError, match=r"overage of row 2 is out of range: \d+ blocks at up to"):
        costs(plan, usage=[5, last + 2])


def test_charges_that_leave_the_range_only_together_are_refused():
    plan = replace(FREE, overage_rate_micros=1 << 12, overage_block_bytes=1)
    assert costs(plan, usage=[1 << 50]) == [MAX_TOTAL_MICROS]
    with pytest.raises(DataError, match="the cost of row 1 is out of range"):
        costs(replace(plan, monthly_rate_micros=1), usage=[1 << 50])
    with pytest.raises(DataError, match="the overage of row 1 is out of range"):
        costs(replace(plan, sms_rate_micros=1), usage=[1 << 50], sms=1)
    texts = replace(FREE, sms_rate_micros=1 << 31, voice_rate_micros=1)
    assert costs(texts, usage=[0], sms=1 << 31) == [MAX_TOTAL_MICROS]
    with pytest.raises(DataError, match="SMS and voice charge of row 1 is out of range"):
        costs(texts, usage=[0], sms=1 << 31, voice=1)
