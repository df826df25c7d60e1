"""The independent check refuses every result that is not what it claims to be (O3, O8)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.billing.tariff import build_tariff
from core.domain import BillingPolicy, ChargeType, RatePlan, SolveStatus, Strategy
from core.errors import CheckFailedError
from core.optimiser.check import certify, check, derive, input_hash
from core.optimiser.result import Result
from core.problem import INDIVIDUAL, NO_LIMIT, Group, Problem

BITS = 40
POOLED = RatePlan(
    code="POOL",
    monthly_rate_micros=1_000,
    included_bytes=100,
    overage_rate_micros=7,
    overage_block_bytes=10,
    is_pooled=True,
)
ALONE = replace(POOLED, code="SOLO", is_pooled=False, monthly_rate_micros=900)
THIRD = replace(ALONE, code="THIRD", monthly_rate_micros=1)
MULTIPLIERS = ((7 << BITS) // 10, (0, 0, 0), 3)


def problem(**changes):
    """Four SIMs, today all on plan 0; plan 2 is on no list; at most three changes."""
    n = 4
    fields = {
        "unit_id": "U0001",
        "tariff": build_tariff([POOLED, ALONE, THIRD], BillingPolicy()),
        "groups": (
            Group(group_id="G0001", eligible=(0, 1)),
            Group(group_id="G0002", eligible=(1,), is_fixed=True),
        ),
        "usage_bytes": np.array([300, 0, 5, 90], dtype=np.int64),
        "sms_count": np.zeros(n, dtype=np.int64),
        "voice_seconds": np.zeros(n, dtype=np.int64),
        "day_class": np.zeros(n, dtype=np.int32),
        "group": np.array([0, 0, 0, 1], dtype=np.int32),
        "comm_plan": np.zeros(n, dtype=np.int32),
        "current": np.zeros(n, dtype=np.int32),
        "pool_of": np.array([[0, 0], [INDIVIDUAL] * 2, [INDIVIDUAL] * 2], dtype=np.int32),
        "pool_block_bytes": np.array([10], dtype=np.int64),
        "pool_tier_from_block": np.zeros((1, 1), dtype=np.int64),
        "pool_tier_rate_micros": np.full((1, 1), 7, dtype=np.int64),
        "is_locked": np.zeros(n, dtype=bool),
        "min_sims": np.zeros(3, dtype=np.int64),
        "max_sims": np.full(3, NO_LIMIT, dtype=np.int64),
        "max_changes": 3,
    }
    return Problem(**fields | changes)


def plans(*numbers):
    return np.array(numbers, dtype=np.int32)


def result(unit=None, assignment=None):
    unit = problem() if unit is None else unit
    assignment = plans(0, 1, 0, 0) if assignment is None else assignment
    pool, of_plans, change = MULTIPLIERS
    cost = derive(unit, assignment, BITS, [pool], of_plans, change).cost_micros
    certificate = certify(unit, assignment, cost, BITS, [pool], of_plans, change)
    return Result(
        unit_id="U0001",
        status=SolveStatus.FEASIBLE,
        assignment=assignment,
        cost_micros=cost,
        baseline_cost_micros=0,
        lower_bound_micros=certificate.bound_micros,
        strategy=Strategy.CERTIFIED,
        group_strategy=(Strategy.CERTIFIED,) * 2,
        legacy_best_cost_micros=None,
        certificate=certificate,
    )


def test_a_sound_result_passes():
    """3 fees of 1000, one of 900, and 95 bytes beyond the pool's 300: ten blocks of 7."""
    found = result()
    assert found.cost_micros == 3_970
    check(problem(), found)


CERTIFICATE_MUTATIONS = {
    "another scale": {"scale_bits": BITS + 1},
    "a negative scale": {"scale_bits": -1},
    "a scale out of range": {"scale_bits": 63},
    "a multiplier outside the box": {"pool_multipliers": (MULTIPLIERS[0] + 1,)},
    "a negative multiplier": {"pool_multipliers": (-1,)},
    "another multiplier in the box": {"pool_multipliers": (MULTIPLIERS[0] // 2,)},
    "no multiplier": {"pool_multipliers": ()},
    "too many plan multipliers": {"plan_multipliers": (0, 0, 0, 0)},
    "another plan multiplier": {"plan_multipliers": (0, 1 << BITS, 0)},
    "a plan multiplier out of range": {"plan_multipliers": (0, -(1 << 62), 0)},
    "another change multiplier": {"change_multiplier": 10_000 << BITS},
    "a negative change multiplier": {"change_multiplier": -1},
    "a change multiplier out of range": {"change_multiplier": 1 << 62},
    "a higher bound": {"bound_micros": 3_971},
    "another bound": {"bound_micros": 1},
    "another cost": {"cost_micros": 3_969},
    "another input": {"input_hash": "0" * 64},
}


@pytest.mark.parametrize("changes", CERTIFICATE_MUTATIONS.values(), ids=CERTIFICATE_MUTATIONS)
def test_every_field_of_a_certificate_is_checked(changes):
    sound = result()
    certificate = replace(sound.certificate, **changes)
    claimed = replace(
        sound,
        certificate=certificate,
        cost_micros=certificate.cost_micros,
        lower_bound_micros=certificate.bound_micros,
    )
    with pytest.raises(CheckFailedError, match="solve unit U0001 fails its check"):
        check(problem(), claimed)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cost_micros": 1}, "the result's cost is 1 micro-units, its certificate's 3970"),
        ({"lower_bound_micros": 2}, "the result's bound is 2 micro-units"),
        ({"lower_bound_micros": None}, "the result's bound is None"),
        ({"unit_id": "U0002"}, "that of unit U0002"),
        ({"certificate": None}, "no certificate"),
        ({"assignment": plans(0, 1, 0)}, "shape"),
        ({"assignment": plans(0, 3, 0, 0)}, "outside 0 to 2"),
        ({"assignment": plans(0, -1, 0, 0)}, "outside 0 to 2"),
        ({"assignment": plans(0, 2, 0, 0)}, "row 2 may not have rate plan 'THIRD'"),
        ({"assignment": plans(0, 0, 0, 1)}, "row 4 may not have rate plan 'SOLO'"),
        ({"assignment": plans(1, 1, 0, 0)}, "costs 3940 micro-units, not the claimed 3970"),
    ],
)
def test_a_result_that_is_not_what_its_certificate_is_about_is_refused(changes, words):
    with pytest.raises(CheckFailedError, match=words):
        check(problem(), replace(result(), **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"is_locked": np.array([False, True, False, False])}, "row 2 may not have"),
        ({"max_sims": np.array([2, 9, 9])}, "'POOL' has 3 SIMs: allowed are 0 to 2"),
        ({"min_sims": np.array([0, 2, 0])}, "'SOLO' has 1 SIMs: allowed are 2 to"),
        ({"max_changes": 0}, "1 SIMs change: allowed are 0"),
        ({"min_saving_per_change_micros": 10_000}, "row 2 saves less than the least saving"),
    ],
)
def test_a_limit_that_is_broken_is_named(changes, words):
    with pytest.raises(CheckFailedError, match=words):
        derive(problem(**changes), plans(0, 1, 0, 0), BITS, [0], [0] * 3, 0)


def test_a_change_that_saves_exactly_the_least_saving_is_kept():
    """Plan 1 costs 100 less for a SIM without usage; the prices of limits are no saving."""
    unit = problem(min_saving_per_change_micros=100)
    for limits, change in ([0] * 3, 0), ([-7, 0, 0], 1), ([0, 9, 0], 5):
        assert derive(unit, plans(0, 1, 0, 0), 0, [0], limits, change).changes == 1
    more = replace(unit, min_saving_per_change_micros=101)
    for limits in [0] * 3, [50, 0, 0], [0, -50, 0]:
        with pytest.raises(CheckFailedError, match="row 2 saves less"):
            derive(more, plans(0, 1, 0, 0), 0, [0], limits, 0)


def test_a_change_has_no_multiplier_without_a_limit_of_changes():
    unit = problem(max_changes=None)
    with pytest.raises(CheckFailedError, match="limit of changes is 1: allowed are 0 to 0"):
        derive(unit, plans(0, 1, 0, 0), BITS, [0], [0] * 3, 1)


def test_pools_have_no_multiplier_where_overage_does_not_count():
    unit = problem(charge_type=ChargeType.RATE)
    assert derive(unit, plans(0, 1, 0, 0), BITS, [0], [0] * 3, 0).cost_micros == 3_900
    with pytest.raises(CheckFailedError, match="outside its box"):
        derive(unit, plans(0, 1, 0, 0), BITS, [1], [0] * 3, 0)


def test_a_pool_whose_price_falls_has_no_bound():
    unit = problem(
        pool_tier_from_block=np.array([[0, 5]]), pool_tier_rate_micros=np.array([[7, 6]])
    )
    with pytest.raises(CheckFailedError, match=r"prices of pool 0, \[7, 6\], fall"):
        derive(unit, plans(0, 1, 0, 0), BITS, [0], [0] * 3, 0)


def test_a_part_of_a_micro_unit_lifts_the_bound_to_the_next_whole_one():
    """Two SIMs would go to plan 1 at half a micro-unit each, and one of them may: 3800 and a half."""
    unit = problem(max_sims=np.array([4, 1, 0]))
    whole, half = (
        derive(unit, plans(0, 1, 0, 0), 1, [0], [0, multiplier, 0], 0) for multiplier in (0, 1)
    )
    assert (whole.bound_micros, half.bound_micros) == (3_800, 3_801)


def test_a_cost_beyond_the_exact_floats_is_exact():
    dear = replace(POOLED, monthly_rate_micros=100_000_000_000)
    n = 4_001
    unit = problem(
        tariff=build_tariff([dear, ALONE, THIRD], BillingPolicy()),
        groups=(Group(group_id="G0001", eligible=(0,)),),
        pool_of=np.array([[0], [INDIVIDUAL], [INDIVIDUAL]], dtype=np.int32),
        **{name: np.zeros(n, dtype=np.int64) for name in ("sms_count", "voice_seconds")},
        **{name: np.zeros(n, np.int32) for name in ("day_class", "group", "comm_plan", "current")},
        usage_bytes=np.full(n, 1 << 50, dtype=np.int64) - 1,
        is_locked=np.zeros(n, dtype=bool),
        pool_tier_rate_micros=np.array([[1]]),
    )
    over = n * ((1 << 50) - 1 - 100)
    expected = n * 100_000_000_000 + -(-over // 10)
    multiplier = (1 << 62) // 10
    found = derive(unit, np.zeros(n, dtype=np.int32), 62, [multiplier], [0] * 3, 0)
    assert found.cost_micros == expected > 1 << 53
    exact = (n * 100_000_000_000 << 62) + multiplier * over
    assert found.bound_micros == -(-exact >> 62)


@pytest.mark.parametrize(
    "changes",
    [
        {"unit_id": "U2"},
        {"usage_bytes": np.array([300, 0, 5, 91])},
        {"sms_count": np.array([1, 0, 0, 0])},
        {"voice_seconds": np.array([0, 0, 0, 1])},
        {"current": plans(0, 1, 0, 0)},
        {"group": plans(0, 0, 1, 1)},
        {"is_locked": np.array([True, False, False, False])},
        {"min_sims": np.array([1, 0, 0])},
        {"max_changes": None},
        {"min_saving_per_change_micros": 1},
        {"charge_type": ChargeType.RATE},
        {"pool_block_bytes": np.array([11])},
        {"groups": (Group(group_id="G0001", eligible=(0,)), problem().groups[1])},
    ],
)
def test_the_input_hash_depends_on_everything_that_the_answer_depends_on(changes):
    assert input_hash(problem(**changes)) != input_hash(problem())


def test_the_input_hash_does_not_depend_on_what_guides_the_search():
    groups = (replace(problem().groups[0], sequences=((0, 1),)), problem().groups[1])
    assert input_hash(problem(groups=groups, comm_plan=plans(1, 1, 1, 1))) == input_hash(problem())
