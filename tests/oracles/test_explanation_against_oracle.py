"""The next best plan and its reduced cost are those of plain fractions (O9)."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.optimiser.certificate import Certificate
from core.optimiser.explain import NO_OTHER_PLAN, explain
from core.optimiser.explain_kernel import whole_micros
from tests.oracles import certificate_oracle as oracle
from tests.oracles import test_certificate_against_oracle as units


def certificate(multipliers):
    return Certificate(
        scale_bits=multipliers["bits"],
        pool_multipliers=tuple(multipliers["pools"]),
        plan_multipliers=tuple(multipliers["plans"]),
        change_multiplier=multipliers["change"],
        bound_micros=0,
        cost_micros=0,
        input_hash="",
    )


def compare(unit, multipliers, plans):
    found = explain(
        units.as_problem(unit), np.array(plans, dtype=np.int32), certificate(multipliers)
    )
    expected = [
        oracle.next_best(unit, sim, p, multipliers) or (NO_OTHER_PLAN, 0)
        for sim, p in zip(unit["sims"], plans, strict=True)
    ]
    pairs = zip(found.next_plan.tolist(), found.reduced_cost_micros.tolist(), strict=True)
    assert list(pairs) == expected


@settings(max_examples=300)
@given(units.SEEDS)
def test_every_sim_gets_the_cheapest_other_line_and_what_it_lies_above_its_own(seed):
    unit, multipliers, plans = units.certificate_of(seed)
    plans = [
        p if p in oracle.eligible(unit, sim) else sim["current"]
        for sim, p in zip(unit["sims"], plans, strict=True)
    ]
    compare(unit, multipliers, plans)


@settings(max_examples=300)
@given(units.SEEDS)
def test_it_is_so_where_every_sim_may_have_several_plans_that_are_close(seed):
    rng = random.Random(seed)  # noqa: S311 - test data
    bits = rng.choice([0, 1, 20])
    plans = [
        {
            "fee": [rng.randint(0, 40)] * 2, "included": [rng.randint(0, 9)] * 2, "block": 1,
            "tiers": [(0, rng.randint(1, 9))], "cap": rng.choice([None, 20]), "sms": 0,
            "sms_rate": rng.randint(0, 3), "minutes": 0, "minute_rate": 0,
            "pool": [rng.choice([None, 0, 0])], "least": 0, "most": None,
        }
        for _ in range(3)
    ]  # fmt: skip
    sims = [
        {
            "usage": rng.randint(0, 12), "sms": rng.randint(0, 1), "seconds": 0, "day": 0,
            "group": 0, "current": rng.randrange(3), "locked": False,
        }
        for _ in range(6)
    ]  # fmt: skip
    unit = {
        "sims": sims, "plans": plans, "pools": [{"block": 1, "tiers": [(0, 9)]}],
        "groups": [{"plans": [0, 1, 2], "fixed": False}],
        "charge": "rate_and_overage", "max_changes": 3, "saving": 0,
    }  # fmt: skip
    multipliers = {
        "bits": bits, "pools": [rng.randint(0, 9 << bits)],
        "plans": [rng.randint(-9 << bits, 9 << bits) for _ in plans],
        "change": rng.randint(0, 9 << bits),
    }  # fmt: skip
    compare(unit, multipliers, [rng.randrange(3) for _ in sims])


def test_of_equal_lines_the_plan_with_the_lower_number_is_next_even_where_the_sim_has_the_other():
    plan = {
        "fee": [5, 5], "included": [0, 0], "block": 1, "tiers": [(0, 1)], "cap": None,
        "sms": 0, "sms_rate": 0, "minutes": 0, "minute_rate": 0, "pool": [None],
        "least": 0, "most": None,
    }  # fmt: skip
    sim = {"usage": 0, "sms": 0, "seconds": 0, "day": 0, "group": 0, "current": 2, "locked": False}
    unit = {
        "sims": [sim], "plans": [plan] * 3, "pools": [],
        "groups": [{"plans": [0, 1], "fixed": False}],
        "charge": "rate_and_overage", "max_changes": None, "saving": 0,
    }  # fmt: skip
    nothing = {"bits": 0, "pools": [], "plans": [0, 0, 0], "change": 0}
    found = explain(units.as_problem(unit), np.array([0], dtype=np.int32), certificate(nothing))
    assert (found.next_plan.tolist(), found.reduced_cost_micros.tolist()) == ([1], [0])


@given(st.integers(-(1 << 127), (1 << 127) - 1), st.integers(0, 62))
@example(3, 1)  # 1.5 becomes 2
@example(5, 1)  # 2.5 as well
@example(-1, 1)  # -0.5 becomes 0
@example(-(1 << 63), 0)
@example((1 << 64) - 1, 1)  # rounds up beyond what 64 bits hold
@example((1 << 64) + (1 << 63), 0)
@example((1 << 126) - 1, 62)
def test_a_scaled_difference_is_rounded_half_even_and_stops_at_the_largest_number(value, bits):
    most = (1 << 63) - 1
    expected = max(-most, min(most, round(Fraction(value, 1 << bits))))
    assert whole_micros(*units.pair(value), np.uint64(bits)) == expected


@given(st.integers(-(1 << 66), 1 << 66), st.integers(0, 62), st.integers(-1, 1))
def test_halves_and_their_neighbours_are_rounded_to_even(halves, bits, off):
    value = (halves << bits >> 1) + off
    most = (1 << 63) - 1
    expected = max(-most, min(most, round(Fraction(value, 1 << bits))))
    assert whole_micros(*units.pair(value), np.uint64(bits)) == expected
