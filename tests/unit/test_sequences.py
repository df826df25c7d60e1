from __future__ import annotations

from fractions import Fraction
from itertools import combinations, islice, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.billing.tariff import build_tariff
from core.domain import BillingPolicy, ChargeType, OverageTier, PoolScope, RatePlan
from core.sequences import generate_sequences, iter_sequences, max_average_usage, undominated

BOTH = ChargeType.RATE_AND_OVERAGE


def plan(code, fee, included, rate=10, block=1, *, is_pooled=True, **more):
    return RatePlan(
        code=code,
        monthly_rate_micros=fee,
        included_bytes=included,
        overage_rate_micros=rate,
        overage_block_bytes=block,
        is_pooled=is_pooled,
        **more,
    )


def tariff_of(*plans):
    return build_tariff(plans, BillingPolicy())


def ladder(n):
    """Plans of which none dominates another: more allowance, higher fee."""
    return tariff_of(*(plan(f"P{k:02d}", 10 * k, 100 * k) for k in range(1, n + 1)))


def test_the_max_average_usage_is_where_overage_makes_up_for_the_dearer_fee():
    # 100 included + (35 - 20) / (9 per block of 4) = 100 + 15 * 4 / 9
    tariff = tariff_of(
        plan("A", 20, 100, rate=9, block=4), plan("B", 30, 200, regulatory_fee_micros=5)
    )
    assert max_average_usage(tariff, 0, 1, BOTH) == 100 + Fraction(60, 9)


def test_the_max_average_usage_is_the_allowance_where_the_next_plan_is_not_dearer():
    tariff = tariff_of(plan("A", 20, 100), plan("B", 20, 200), plan("C", 10, 300))
    assert max_average_usage(tariff, 0, 1, BOTH) == 100
    assert max_average_usage(tariff, 1, 2, BOTH) == 200


def test_fees_move_no_limit_where_only_overage_counts():
    tariff = tariff_of(plan("A", 20, 100), plan("B", 30, 200))
    assert max_average_usage(tariff, 0, 1, ChargeType.OVERAGE) == 100


def test_all_ascending_subsets_come_first_and_then_every_other_order():
    tariff = ladder(4)
    found = list(iter_sequences(tariff, range(4), BOTH))
    ascending = {s for k in range(1, 5) for s in combinations(range(4), k)}
    every = {s for k in range(1, 5) for s in permutations(range(4), k)}
    assert set(found[:15]) == ascending
    assert len(found) == len(every)
    assert set(found) == every


def test_six_plans_fit_into_64_sequences_in_every_ascending_subset():
    found = generate_sequences(ladder(6), range(6), BOTH, max_sequences=63)
    assert set(found) == {s for k in range(1, 7) for s in combinations(range(6), k)}


def test_the_whole_ladder_comes_first_in_order_of_allowance():
    tariff = tariff_of(plan("A", 30, 300), plan("B", 10, 100), plan("C", 20, 200))
    assert generate_sequences(tariff, [0, 1, 2], BOTH, max_sequences=1) == [(1, 2, 0)]


@pytest.mark.parametrize("n", [15, 64])
def test_sequences_of_many_plans_are_made_lazily_and_never_twice(n):
    found = list(islice(iter_sequences(ladder(n), range(n), BOTH), 2000))
    assert len(set(found)) == 2000
    assert all(list(sequence) == sorted(sequence) for sequence in found)


def test_only_plans_of_the_list_are_in_sequences():
    found = generate_sequences(ladder(5), [1, 3], BOTH, max_sequences=64)
    assert found == [(1, 3), (1,), (3,), (3, 1)]


def test_an_empty_list_has_no_sequences():
    assert generate_sequences(ladder(2), [], BOTH, max_sequences=64) == []


def test_max_sequences_is_at_least_one():
    with pytest.raises(ValueError, match="at least 1"):
        generate_sequences(ladder(2), [0, 1], BOTH, max_sequences=0)


def test_a_plan_that_another_beats_in_everything_is_left_out():
    tariff = tariff_of(plan("A", 20, 100), plan("B", 20, 101), plan("C", 30, 101))
    assert undominated(tariff, [0, 1, 2], BOTH) == [1]


def test_of_equal_plans_the_first_code_stays():
    tariff = tariff_of(plan("B", 20, 100), plan("A", 20, 100))
    assert [tariff.codes[p] for p in undominated(tariff, [0, 1], BOTH)] == ["A"]


def test_pooled_and_individual_plans_are_kept_apart():
    tariff = tariff_of(plan("A", 20, 100), plan("B", 10, 200, is_pooled=False))
    assert undominated(tariff, [0, 1], BOTH) == [0, 1]


def test_no_plan_of_a_shared_pool_is_left_out():
    tariff = tariff_of(
        plan("A", 20, 100, pool_group="X"),
        plan("B", 10, 200),
        plan("C", 20, 100, is_pooled=False),
        plan("D", 10, 200, is_pooled=False),
    )
    kept = undominated(tariff, range(4), BOTH, pool_scope=PoolScope.POOL_GROUP)
    assert kept == [0, 1, 3]


@pytest.mark.parametrize(
    ("better", "worse", "is_dominated"),
    [
        ((3, 2), (4, 2), True),  # a lower price of the same block
        ((3, 2), (6, 4), True),  # 2 blocks of 2 cost as much as one of 4
        ((3, 2), (5, 4), False),  # 4 bytes cost 6 against 5
        ((3, 3), (6, 4), True),
        ((3, 3), (5, 4), False),  # 4 bytes need 2 blocks of 3
        ((4, 4), (3, 2), False),  # 1 byte costs 4 against 3
        ((4, 4), (4, 2), True),
    ],
)
def test_overage_dominates_exactly_if_it_is_never_dearer(better, worse, is_dominated):
    (r_q, b_q), (r_p, b_p) = better, worse
    never_dearer = all(-(-z // b_q) * r_q <= -(-z // b_p) * r_p for z in range(1, 60))
    assert never_dearer == is_dominated
    tariff = tariff_of(plan("A", 10, 100, r_q, b_q), plan("B", 20, 100, r_p, b_p))
    assert (undominated(tariff, [0, 1], BOTH) == [0]) == is_dominated


@pytest.mark.parametrize(
    "worse",
    [
        {"included_sms": 0},
        {"sms_rate_micros": 2},
        {"included_voice_minutes": 0},
        {"voice_rate_micros": 2},
    ],
)
def test_a_plan_with_worse_messages_dominates_nothing(worse):
    messages = {
        "included_sms": 1, "sms_rate_micros": 1, "included_voice_minutes": 1, "voice_rate_micros": 1,
    }  # fmt: skip
    tariff = tariff_of(plan("A", 10, 100, **{**messages, **worse}), plan("B", 20, 100, **messages))
    assert undominated(tariff, [0, 1], BOTH) == [0, 1]


def test_what_does_not_count_in_the_objective_saves_no_plan():
    tariff = tariff_of(plan("A", 20, 200), plan("B", 10, 100))
    assert undominated(tariff, [0, 1], ChargeType.OVERAGE) == [0]
    assert undominated(tariff, [0, 1], ChargeType.RATE) == [1]


def test_the_same_list_in_any_order_gives_the_same_sequences():
    tariff = ladder(7)
    shuffled = np.random.default_rng(1).permutation(7).tolist()
    assert generate_sequences(tariff, shuffled, BOTH, max_sequences=99) == generate_sequences(
        tariff, range(7), BOTH, max_sequences=99
    )


def test_every_sequence_has_a_plan_of_each_required_set():
    tariff = ladder(4)
    required = [[0, 1], [2]]
    found = list(iter_sequences(tariff, range(4), BOTH, required=required))
    every = {s for k in range(1, 5) for s in permutations(range(4), k)}
    assert len(found) == len(set(found))
    assert set(found) == {s for s in every if 2 in s and (0 in s or 1 in s)}


def test_required_sets_leave_the_order_of_the_other_sequences():
    tariff = ladder(5)
    free = list(iter_sequences(tariff, range(5), BOTH))
    met = [s for s in free if {0, 1} & set(s) and {3, 4} & set(s)]
    assert list(iter_sequences(tariff, range(5), BOTH, required=[[0, 1], [3, 4]])) == met


def test_where_every_plan_is_required_only_the_order_varies():
    found = list(iter_sequences(ladder(3), range(3), BOTH, required=[[0], [1], [2]]))
    assert found[0] == (0, 1, 2)
    assert set(found) == set(permutations(range(3)))


def test_a_required_plan_stays_though_one_outside_its_set_dominates_it():
    tariff = tariff_of(plan("A", 20, 100), plan("B", 10, 200), plan("C", 30, 100))
    assert generate_sequences(tariff, range(3), BOTH, max_sequences=9) == [(1,)]
    found = generate_sequences(tariff, range(3), BOTH, max_sequences=9, required=[[0, 2]])
    assert set(found) == {(0,), (0, 1), (1, 0)}


def test_required_sets_of_many_plans_are_met_lazily():
    required = [[k] for k in range(0, 64, 2)] + [[1, 3], [5, 7]]
    found = list(islice(iter_sequences(ladder(64), range(64), BOTH, required=required), 1024))
    assert len(set(found)) == 1024
    assert all(set(range(0, 64, 2)) <= set(s) and {5, 7} & set(s) for s in found)


# --- Dominance with tiers and caps (B8)


def tiers(*pairs):
    return tuple(OverageTier(from_bytes=volume, rate_micros=rate) for volume, rate in pairs)


@pytest.mark.parametrize(
    ("better", "worse", "is_dominated"),
    [
        ({"overage_tiers": tiers((5, 3))}, {"overage_tiers": tiers((5, 3))}, True),
        ({"overage_tiers": tiers((5, 3))}, {}, True),
        ({}, {"overage_tiers": tiers((5, 3))}, False),
        ({}, {"overage_tiers": tiers((5, 30))}, True),
        ({"overage_tiers": tiers((5, 30))}, {}, False),
        ({"overage_cap_micros": 9}, {}, True),
        ({}, {"overage_cap_micros": 9}, False),
        ({"overage_cap_micros": 9}, {"overage_cap_micros": 9}, True),
        ({"overage_cap_micros": 9}, {"overage_cap_micros": 8}, False),
    ],
)
def test_an_individual_plan_dominates_if_no_block_of_it_is_dearer(better, worse, is_dominated):
    tariff = tariff_of(
        plan("A", 10, 100, is_pooled=False, **better), plan("B", 20, 100, is_pooled=False, **worse)
    )
    assert (undominated(tariff, [0, 1], BOTH) == [0]) == is_dominated


@pytest.mark.parametrize(
    ("better", "worse", "is_dominated"),
    [
        ({"overage_tiers": tiers((5, 20))}, {"overage_tiers": tiers((5, 20))}, False),
        ({}, {"overage_tiers": tiers((5, 20))}, True),
        ({"overage_tiers": tiers((5, 10))}, {}, True),  # the same price under another name
    ],
)
def test_a_pooled_plan_whose_price_rises_dominates_nothing(better, worse, is_dominated):
    """Two pools with 5 bytes of overage each are cheaper than one with 10 where tiers rise."""
    tariff = tariff_of(plan("A", 10, 100, **better), plan("B", 20, 100, **worse))
    assert (undominated(tariff, [0, 1], BOTH) == [0]) == is_dominated


def block_by_block(plan, volume):
    """Charge for so much beyond the allowance."""
    total = 0
    for start in range(0, max(0, volume), plan.overage_block_bytes):
        rates = [t.rate_micros for t in plan.overage_tiers if t.from_bytes <= start]
        total += rates[-1] if rates else plan.overage_rate_micros
    return total if plan.overage_cap_micros is None else min(total, plan.overage_cap_micros)


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=True), st.booleans())
def test_of_every_plan_that_is_left_out_a_plan_that_stays_is_never_dearer(rng, is_pooled):
    """Individual: at any usage. Pooled: for any two volumes, both in the pool that stays."""
    plans = []
    for code in "ABCD":
        rates = [rng.randint(1, 3) for _ in range(rng.choice([1, 1, 2, 3]))]
        first, *others = sorted(rates) if is_pooled else rates
        edges = sorted(rng.sample(range(1, 9), len(others)))
        plans.append(
            plan(
                code, rng.randint(0, 1), rng.randint(0, 2), first, rng.randint(1, 3),
                is_pooled=is_pooled, overage_tiers=tiers(*zip(edges, others, strict=True)),
                overage_cap_micros=None if is_pooled else rng.choice([None, 0, 4, 9]),
            )
        )  # fmt: skip
    kept = undominated(tariff_of(*plans), range(4), BOTH)
    assert kept

    def is_never_dearer(q, p):
        less = p.included_bytes - q.included_bytes
        fees = q.monthly_rate_micros <= p.monthly_rate_micros and less <= 0
        alone = all(block_by_block(q, z + less) <= block_by_block(p, z) for z in range(40))
        together = not is_pooled or all(
            block_by_block(q, y + z) <= block_by_block(q, y) + block_by_block(p, z)
            for y in range(14)
            for z in range(14)
        )
        return fees and alone and together

    for p in set(range(4)) - set(kept):
        assert any(is_never_dearer(plans[q], plans[p]) for q in kept)
