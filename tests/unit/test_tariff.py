"""The catalogue as integer tables (B2, B4, B8, V2)."""

import re
from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from core.billing.tariff import (
    NEVER,
    NO_CAP,
    billing_problem,
    build_tariff,
    day_classes,
    pooling_problem,
)
from core.domain import (
    MAX_PRICE_MICROS,
    MAX_USAGE_BYTES,
    BillingCycle,
    BillingPolicy,
    OverageTier,
    ProrationBasis,
    RatePlan,
)
from core.errors import DataError, InvalidRatePlansError

PLAN = RatePlan(
    code="A",
    monthly_rate_micros=10,
    included_bytes=25,
    overage_rate_micros=7,
    overage_block_bytes=4,
    is_pooled=True,
    is_prorated=True,
    regulatory_fee_micros=100,
)
FOUR_DAYS = BillingCycle(start_date=date(2024, 2, 27), end_date=date(2024, 3, 1))


def test_fee_and_allowance_shrink_with_active_days_half_to_even():
    """10 * d / 4 = 0, 2.5, 5, 7.5, 10 and 25 * d / 4 = 0, 6.25, 12.5, 18.75, 25 (B2)."""
    tariff = build_tariff([PLAN], BillingPolicy(cycle=FOUR_DAYS))
    assert tariff.fee_micros.tolist() == [[100, 102, 105, 108, 110]]
    assert tariff.included_bytes.tolist() == [[0, 6, 12, 19, 25]]
    assert tariff.full_cycle == 4


def test_without_cycle_dates_there_is_one_day_class():
    tariff = build_tariff([PLAN], BillingPolicy())
    assert tariff.fee_micros.tolist() == [[110]]
    assert tariff.included_bytes.tolist() == [[25]]
    assert tariff.full_cycle == 0


@pytest.mark.parametrize(
    ("plan", "uses_proration"), [(PLAN, False), (replace(PLAN, is_prorated=False), True)]
)
def test_plan_and_provider_must_both_prorate(plan, uses_proration):
    policy = BillingPolicy(cycle=FOUR_DAYS, uses_proration=uses_proration)
    tariff = build_tariff([plan], policy)
    assert tariff.fee_micros.tolist() == [[110] * 5]
    assert tariff.included_bytes.tolist() == [[25] * 5]


def test_thirty_days_shrink_everyone_alike():
    """10 * 4 / 30 = 1.33 and 25 * 4 / 30 = 3.33, whatever the activation date (B2)."""
    policy = BillingPolicy(cycle=FOUR_DAYS, proration_basis=ProrationBasis.THIRTY)
    tariff = build_tariff([PLAN], policy)
    assert tariff.fee_micros.tolist() == [[101] * 5]
    assert tariff.included_bytes.tolist() == [[3] * 5]


def test_proration_is_exact_where_a_float_is_not():
    """(2**50 - 1) * 3 / 4 has 52 digits before its quarter."""
    plan = replace(PLAN, included_bytes=MAX_USAGE_BYTES - 1)
    tariff = build_tariff([plan], BillingPolicy(cycle=FOUR_DAYS))
    assert tariff.included_bytes[0, 3] == 844424930131967  # .25
    assert tariff.included_bytes[0, 2] == 562949953421312  # .5, to the even neighbour


def test_plans_are_sorted_by_code_whatever_their_order():
    plans = [replace(PLAN, code=code, monthly_rate_micros=k) for k, code in enumerate("CAB")]
    tariff = build_tariff(plans, BillingPolicy())
    assert tariff.codes == ("A", "B", "C")
    assert tariff.fee_micros[:, 0].tolist() == [101, 102, 100]
    assert tariff.plan_number() == {"A": 0, "B": 1, "C": 2}


def test_an_empty_catalogue_is_a_tariff_without_rows():
    tariff = build_tariff([], BillingPolicy(cycle=FOUR_DAYS))
    assert tariff.fee_micros.shape == (0, 5)
    assert tariff.codes == ()


def test_tables_cannot_be_written_to():
    tariff = build_tariff([PLAN], BillingPolicy())
    with pytest.raises(ValueError, match="read-only"):
        tariff.fee_micros[0, 0] = 1


@pytest.mark.parametrize("pooling_enabled", [True, False])
def test_the_provider_can_turn_pooling_off(pooling_enabled):
    tariff = build_tariff([PLAN], BillingPolicy(pooling_enabled=pooling_enabled))
    assert tariff.is_pooled.tolist() == [pooling_enabled]


def test_a_code_that_stands_there_twice_is_refused():
    with pytest.raises(DataError, match="'A' stands in the catalogue twice"):
        build_tariff([PLAN, PLAN], BillingPolicy())


def test_plans_that_cannot_be_billed_are_named():
    plans = [
        replace(PLAN, code="NO-RATE", overage_rate_micros=0),
        replace(PLAN, code="NO-BLOCK", overage_block_bytes=0),
        PLAN,
    ]
    with pytest.raises(InvalidRatePlansError) as caught:
        build_tariff(plans, BillingPolicy())
    assert set(caught.value.problems) == {"NO-RATE", "NO-BLOCK"}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("overage_rate_micros", 0, "overage rate must be above 0"),
        ("overage_rate_micros", -1, "overage rate must be above 0"),
        ("overage_block_bytes", 0, "overage block must be above 0"),
        ("monthly_rate_micros", -1, "monthly_rate_micros is -1"),
        ("monthly_rate_micros", MAX_PRICE_MICROS + 1, "allowed are 0 to 100000000000"),
        ("included_bytes", MAX_USAGE_BYTES + 1, "included_bytes is"),
        ("included_sms", -1, "included_sms is -1"),
        ("sms_rate_micros", -1, "sms_rate_micros is -1"),
        ("included_voice_minutes", -1, "included_voice_minutes is -1"),
        ("voice_rate_micros", -1, "voice_rate_micros is -1"),
        ("regulatory_fee_micros", -1, "regulatory_fee_micros is -1"),
    ],
)
def test_each_number_of_a_plan_has_its_range(field, value, words):
    problem = billing_problem(replace(PLAN, **{field: value}))
    assert problem is not None
    assert words in problem


def test_a_plan_without_fee_and_allowance_can_be_billed():
    assert billing_problem(replace(PLAN, monthly_rate_micros=0, included_bytes=0)) is None


def test_day_classes_count_active_days_with_both_ends():
    activated = pl.Series(
        [date(2020, 1, 1), date(2024, 2, 27), date(2024, 2, 28), date(2024, 3, 1), None]
    )
    classes = day_classes(activated, BillingPolicy(cycle=FOUR_DAYS))
    assert classes.tolist() == [4, 4, 3, 1, 4]
    assert classes.dtype.name == "int32"


def test_day_classes_are_zero_without_cycle_dates():
    assert day_classes(pl.Series([date(2024, 3, 1), None]), BillingPolicy()).tolist() == [0, 0]


def test_activation_after_the_cycle_is_refused():
    activated = pl.Series([None, date(2024, 3, 2)])
    with pytest.raises(ValueError, match="1 SIMs were activated after the cycle's end 2024-03-01"):
        day_classes(activated, BillingPolicy(cycle=FOUR_DAYS))


def test_day_classes_of_no_sims_and_of_only_nulls():
    policy = BillingPolicy(cycle=FOUR_DAYS)
    assert day_classes(pl.Series([], dtype=pl.Date), policy).tolist() == []
    assert day_classes(pl.Series([None], dtype=pl.Date), policy).tolist() == [4]


# Tiers and caps, B8.


def tiers(*pairs):
    return tuple(OverageTier(from_bytes=volume, rate_micros=rate) for volume, rate in pairs)


def test_a_tier_begins_with_the_first_block_at_or_beyond_its_volume():
    """Blocks of 4 start at 0, 4, 8, 12: a tier from 8 holds from block 2 on, one from 9 from block 3."""
    plans = [
        replace(PLAN, code="A", overage_tiers=tiers((8, 8), (9, 9))),
        replace(PLAN, code="B"),
        replace(PLAN, code="C", overage_tiers=tiers((0, 5))),
        replace(PLAN, code="D", overage_tiers=tiers((5, 8), (8, 9))),  # both begin with block 2
    ]
    tariff = build_tariff(plans, BillingPolicy())
    assert tariff.tier_from_block.tolist() == [
        [0, 2, 3], [0, NEVER, NEVER], [0, NEVER, NEVER], [0, 2, NEVER],
    ]  # fmt: skip
    assert tariff.tier_rate_micros.tolist() == [[7, 8, 9], [7, 7, 7], [5, 5, 5], [7, 9, 9]]
    assert tariff.overage_rate_micros.tolist() == [7, 7, 5, 7]


def test_a_plan_without_a_cap_has_one_that_nothing_reaches():
    plans = [replace(PLAN, is_pooled=False, code=code) for code in "AB"]
    plans[1] = replace(plans[1], overage_cap_micros=0)
    assert build_tariff(plans, BillingPolicy()).overage_cap_micros.tolist() == [NO_CAP, 0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"overage_cap_micros": 0}, "pooled and has an overage cap"),
        ({"overage_tiers": tiers((4, 6))}, "tiers whose price falls"),
        ({"overage_tiers": tiers((4, 9), (8, 8))}, "tiers whose price falls"),
    ],
)
def test_what_a_pool_cannot_have_is_refused_where_the_plan_is_pooled(change, words):
    plan = replace(PLAN, code="POOL-1", **change)
    with pytest.raises(DataError, match=rf"'POOL-1' cannot be priced: .*{words}.*is_pooled = no"):
        build_tariff([plan], BillingPolicy())
    assert build_tariff([plan], BillingPolicy(pooling_enabled=False)).codes == ("POOL-1",)
    assert build_tariff([replace(plan, is_pooled=False)], BillingPolicy()).codes == ("POOL-1",)


@pytest.mark.parametrize("pairs", [[(4, 7)], [(4, 8), (8, 8), (12, 9)], [(0, 5), (4, 6)]])
def test_a_pool_may_have_tiers_whose_price_never_falls(pairs):
    assert pooling_problem(replace(PLAN, overage_tiers=tiers(*pairs))) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"overage_tiers": tiers((-1, 5))}, "tier starts at -1 bytes, allowed are 0 to"),
        ({"overage_tiers": tiers((MAX_USAGE_BYTES + 1, 5))}, "tier starts at"),
        ({"overage_tiers": tiers((1, 0))}, "from 1 bytes is 0 micro-units, allowed are 1 to"),
        ({"overage_tiers": tiers((1, -1))}, "is -1 micro-units"),
        ({"overage_tiers": tiers((1, MAX_PRICE_MICROS + 1))}, "allowed are 1 to 100000000000"),
        ({"overage_tiers": tiers((9, 5), (8, 6))}, "from 9 and 8 bytes .* must ascend"),
        ({"overage_tiers": tiers((9, 5), (9, 6))}, "each volume once"),
        ({"overage_tiers": tiers(*((k, 5) for k in range(33)))}, "33 overage tiers, at most 32"),
        ({"overage_cap_micros": -1}, "overage_cap_micros is -1"),
        ({"overage_cap_micros": MAX_PRICE_MICROS + 1}, "allowed are 0 to 100000000000"),
    ],
)
def test_tiers_and_caps_have_their_ranges(change, words):
    problem = billing_problem(replace(PLAN, **change))
    assert problem is not None
    assert re.search(words, problem)


@pytest.mark.parametrize(
    "change",
    [
        {"overage_tiers": tiers((0, 1), (MAX_USAGE_BYTES, MAX_PRICE_MICROS))},
        {"overage_tiers": tiers(*((k, 5) for k in range(32)))},
        {"overage_cap_micros": 0},
        {"overage_cap_micros": MAX_PRICE_MICROS},
    ],
)
def test_tiers_and_caps_at_the_ends_of_their_ranges_can_be_billed(change):
    assert billing_problem(replace(PLAN, **change)) is None
