"""Lines that no float tells apart are compared exactly by the check (O3)."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.optimiser.check import unit_columns
from core.optimiser.line_floors import line_ceiling, line_floors
from tests.oracles import certificate_oracle as oracle
from tests.oracles import test_certificate_against_oracle as units

MOST = 5


def plan_of(fee, included, tiers, pool, *, cap=None, block=1):
    return {
        "fee": [fee] * 2, "included": [included] * 2, "block": block, "tiers": tiers, "cap": cap,
        "sms": 0, "sms_rate": 1, "minutes": 0, "minute_rate": 0, "pool": [pool], "least": 0,
        "most": MOST,
    }  # fmt: skip


def kin_of(rng, bits, price):
    """Two or three plans, all pooled or all individual, whose lines differ by up to two units.

    What a plan costs more, or includes more, the multiplier of its limits takes away again.
    """
    step, usage = rng.choice([0, 1]), rng.choice([0, 7, 1 << 30, (1 << 50) - 9])
    fee, start = rng.choice([2, 10**6, 10**11 - 1]), rng.randint(2, 1 << rng.choice([3, 55, 61]))
    block = rng.choice([1, 3, 1 << 20, 1 << 40])
    tiers = [(0, rng.choice([1, 7, 500]))]
    if rng.random() < 0.5:
        tiers.append((rng.randint(1, 5), rng.choice([1, 500])))
    is_pooled = rng.random() < 0.5
    allowance = usage if is_pooled else max(0, usage - rng.randint(0, 9) * block)
    cap = None if is_pooled else rng.choice([None, None, 3])
    plans, multipliers = [], []
    for _ in range(rng.choice([2, 3])):
        dearer, more = rng.choice([0, step]), rng.choice([0, 1, 2]) if is_pooled else 0
        pool = rng.randint(0, 1) if is_pooled else None
        plans.append(plan_of(fee + dearer, allowance + more, tiers, pool, cap=cap, block=block))
        multipliers.append(start - (dearer << bits) + more * price + rng.randint(-1, 1))
    return plans, multipliers, usage


def near_ties_of(seed):
    """A unit whose bound is a whole number exactly, so that one unit of a line more would show.

    The last plan is on no list. The multiplier of its limit takes the part of a micro-unit away.
    """
    rng = random.Random(seed)  # noqa: S311 - test data
    bits = rng.choice([62, 62, 61, 40, 3])
    price = rng.choice([0, 1, rng.randint(0, 1 << 59)]) % (1 << (bits + 36))
    plans, of_plans, usages = [], [], [0]
    for _ in range(rng.choice([1, 1, 2])):
        more_plans, more_multipliers, usage = kin_of(rng, bits, price)
        plans, of_plans, usages = plans + more_plans, of_plans + more_multipliers, [*usages, usage]
    plans, of_plans = plans[:5], of_plans[:5]
    sims = [
        {
            "usage": max(0, rng.choice(usages) + rng.randint(-3, 3)), "sms": rng.choice([0, 0, 1]),
            "seconds": 0, "day": 0, "group": 0, "current": rng.randrange(len(plans)),
            "locked": rng.random() < 0.1,
        }
        for _ in range(rng.randint(1, MOST))
    ]  # fmt: skip
    max_changes = rng.choice([None, MOST])
    unit = {
        "sims": sims,
        "plans": [*plans, {**plans[0], "most": 1}],
        "pools": [{"block": 1, "tiers": [(0, 10**11)]}] * 2,
        "groups": [{"plans": list(range(len(plans))), "fixed": False}],
        "charge": rng.choice(["rate_and_overage", "rate_and_overage", "overage"]),
        "max_changes": max_changes,
        "saving": rng.choice([0, 0, 0, 1]),
    }
    multipliers = {
        "bits": bits,
        "pools": [price] * 2,
        "plans": [*of_plans, 0],
        "change": 0 if max_changes is None else rng.choice([0, 1, 2]),
    }
    part = oracle.unrounded_bound(unit, multipliers) % 1 * (1 << bits)
    multipliers["plans"][-1] = int(part)
    chosen = [rng.choice(sorted(oracle.allowed(unit, sim, multipliers))) for sim in sims]
    return unit, multipliers, chosen


@settings(max_examples=400)
@given(units.SEEDS)
def test_of_lines_that_differ_by_one_unit_the_least_is_found(seed):
    unit, multipliers, plans = near_ties_of(seed)
    assert oracle.is_in_box(unit, multipliers)
    exact = oracle.unrounded_bound(unit, multipliers)
    found = units.derived(unit, multipliers, plans)
    assert exact.denominator == 1
    assert found.bound_micros == exact
    assert found.cost_micros == oracle.cost(unit, plans)


def floors_of(unit, multipliers):
    """Tables of a unit, and its groups' plan lists one after the other."""
    columns = unit_columns(units.as_problem(unit))
    listed, list_start, pool_of, fee, _, block, _, tier_rate, cap = columns[7:16]
    return listed.tolist(), list_start.tolist(), *line_floors(
        listed, list_start, pool_of, fee, block, tier_rate, cap,
        np.array(multipliers["pools"], dtype=np.uint64),
        np.array(multipliers["plans"], dtype=np.int64), multipliers["change"],
        np.uint64(multipliers["bits"]), unit["charge"] != "overage", unit["charge"] != "rate",
    )  # fmt: skip


@settings(max_examples=300)
@given(units.SEEDS, st.sampled_from([near_ties_of, units.certificate_of]))
def test_no_line_is_below_its_floor(seed, units_of):
    unit, multipliers, _ = units_of(seed)
    listed, start, floor, rise, fall = floors_of(unit, multipliers)
    for sim in unit["sims"]:
        changed, day, g = {**sim, "current": None}, sim["day"], sim["group"]
        for k in range(start[g], start[g + 1]):
            p = listed[k]
            net = sim["usage"] - unit["plans"][p]["included"][day]
            at_least = floor[p, day] + (rise[k] if net > 0 else fall[k]) * float(net)
            exact = oracle.line(unit, changed, p, multipliers) * (1 << multipliers["bits"])
            assert Fraction(float(at_least)) <= exact


@given(st.integers(-(1 << 126), 1 << 126) | st.integers(-(1 << 70), 1 << 70))
@example(-1)
@example((1 << 63) + 1)
@example(-(1 << 63) - 1)
@example((1 << 64) - 1)
def test_the_ceiling_of_a_line_is_near_and_never_below_it(value):
    ceiling = Fraction(float(line_ceiling(*units.pair(value))))
    assert value <= ceiling <= value + Fraction(abs(value), 1 << 40)
