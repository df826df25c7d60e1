"""The independent check agrees with plain integer arithmetic on cost, feasibility and bound (O3, O8)."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.billing.tariff import NEVER, NO_CAP, Tariff
from core.domain import ChargeType
from core.errors import CheckFailedError
from core.optimiser import check_kernel
from core.optimiser.check import derive
from core.problem import INDIVIDUAL, NO_LIMIT, Group, Problem

_SPEC = importlib.util.spec_from_file_location(
    "certificate_oracle", Path(__file__).with_name("certificate_oracle.py")
)
assert _SPEC is not None
assert _SPEC.loader is not None
oracle = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(oracle)

N_DAYS = 2


SEEDS = st.integers(0, 2**32 - 1)


def tiers_of(rng, top):
    """One to three tiers with rising prices, the first from block 0 on."""
    firsts = [0, *sorted(rng.sample(range(1, 40), rng.choice([0, 0, 1, 2])))]
    return list(zip(firsts, sorted(rng.randint(1, top) for _ in firsts), strict=True))


def volume(rng, data):
    return rng.choice([rng.randint(0, 60) * data, rng.randint(0, 60 * data)])


def unit_of(rng):
    """Up to five SIMs, three plans, two pools, two groups; small, large and mixed numbers."""
    top = rng.choice([9, 9, 1000, 10**11])
    data = rng.choice([1, 1, 1000, 1 << 42])
    n_plans, n_groups, n_pools = rng.randint(1, 3), rng.randint(1, 2), rng.randint(0, 2)
    plans = [
        {
            "fee": [rng.randint(0, top) for _ in range(N_DAYS)],
            "included": [volume(rng, data) for _ in range(N_DAYS)],
            "block": rng.randint(1, 12) * data,
            "tiers": tiers_of(rng, top),
            "cap": rng.choice([None, rng.randint(0, 5 * top)]),
            "sms": rng.randint(0, 3),
            "sms_rate": rng.randint(0, 5),
            "minutes": rng.randint(0, 3),
            "minute_rate": rng.randint(0, 5),
            "pool": [rng.choice([None, *range(n_pools)]) for _ in range(n_groups)],
            "least": rng.choice([0] * 8 + [1]),
            "most": rng.choice([None] * 4 + [2, 5]),
        }
        for _ in range(n_plans)
    ]
    sims = [
        {
            "usage": volume(rng, data),
            "sms": rng.randint(0, 6),
            "seconds": rng.randint(0, 400),
            "day": rng.randrange(N_DAYS),
            "group": rng.randrange(n_groups),
            "current": rng.randrange(n_plans),
            "locked": rng.random() < 0.1,
        }
        for _ in range(rng.choice([0, 1, 2, 3, 4, 5]))
    ]
    pools = [
        {"block": rng.randint(1, 12) * data, "tiers": tiers_of(rng, top)} for _ in range(n_pools)
    ]
    groups = [
        {
            "plans": sorted(rng.sample(range(n_plans), rng.randint(0, n_plans))),
            "fixed": rng.random() < 0.1,
        }
        for _ in range(n_groups)
    ]
    return {
        "sims": sims,
        "plans": plans,
        "pools": pools,
        "groups": groups,
        "charge": rng.choice(["rate_and_overage"] * 4 + ["overage", "rate"]),
        "max_changes": rng.choice([None, None, None, 0, 2, 4]),
        "saving": rng.choice([0, 0, 0, 1, top]),
    }


def pool_multiplier(rng, pool, bits, charge):
    """Inside the box, at its edge, rarely beyond it."""
    edge = 0 if charge == "rate" else (pool["tiers"][-1][1] << bits) // pool["block"]
    within = min(edge, (1 << 62) - 1)
    if rng.random() < 0.05:
        return min(edge + 1, (1 << 62) - 1)
    return rng.choice([0, within, rng.randint(0, within), rng.randint(0, within)])


def certificate_of(seed):
    """A unit, multipliers, mostly inside their box, and a plan for each SIM, mostly an eligible one."""
    rng = random.Random(seed)  # noqa: S311 - test data
    unit = unit_of(rng)
    bits = rng.choice([0, 3, 20, 40, 62])
    prices = [0, 0, 0, rng.randint(0, 9 << bits) % (1 << 62), (1 << 62) - 1 - rng.randint(0, 3)]
    multipliers = {
        "bits": bits,
        "pools": [pool_multiplier(rng, pool, bits, unit["charge"]) for pool in unit["pools"]],
        "plans": [rng.choice([1, 1, -1]) * rng.choice(prices) for _ in unit["plans"]],
        "change": 0 if unit["max_changes"] is None else rng.choice(prices),
    }
    plans = [
        rng.choice([*oracle.eligible(unit, sim)])
        if rng.random() < 0.95
        else rng.randrange(len(unit["plans"]))
        for sim in unit["sims"]
    ]
    if unit["saving"] and rng.random() < 0.7:
        plans = [rng.choice([*oracle.allowed(unit, sim, multipliers)]) for sim in unit["sims"]]
    return unit, multipliers, plans


def as_problem(unit):
    def column(values, dtype=np.int64):
        return np.array(values, dtype=dtype)

    def padded(all_tiers):
        first = np.full((len(all_tiers), 3), NEVER, dtype=np.int64)
        rate = np.zeros((len(all_tiers), 3), dtype=np.int64)
        for row, of_row in enumerate(all_tiers):
            first[row, : len(of_row)] = [start for start, _ in of_row]
            rate[row] = ([price for _, price in of_row] + [of_row[-1][1]] * 3)[:3]
        return first, rate

    plans, sims, pools = unit["plans"], unit["sims"], unit["pools"]
    first, rate = padded([plan["tiers"] for plan in plans])
    pool_first, pool_rate = padded([pool["tiers"] for pool in pools])
    tariff = Tariff(
        codes=tuple("ABCDEF"[: len(plans)]),
        full_cycle=N_DAYS - 1,
        fee_micros=column([plan["fee"] for plan in plans]),
        included_bytes=column([plan["included"] for plan in plans]),
        overage_rate_micros=rate[:, 0].copy(),
        overage_block_bytes=column([plan["block"] for plan in plans]),
        tier_from_block=first,
        tier_rate_micros=rate,
        overage_cap_micros=column([NO_CAP if p["cap"] is None else p["cap"] for p in plans]),
        is_pooled=column([any(s is not None for s in p["pool"]) for p in plans], bool),
        included_sms=column([plan["sms"] for plan in plans]),
        sms_rate_micros=column([plan["sms_rate"] for plan in plans]),
        included_voice_minutes=column([plan["minutes"] for plan in plans]),
        voice_rate_micros=column([plan["minute_rate"] for plan in plans]),
    )
    return Problem(
        unit_id="U0001",
        tariff=tariff,
        groups=tuple(
            Group(group_id=f"G{k}", eligible=tuple(group["plans"]), is_fixed=group["fixed"])
            for k, group in enumerate(unit["groups"])
        ),
        usage_bytes=column([sim["usage"] for sim in sims]),
        sms_count=column([sim["sms"] for sim in sims]),
        voice_seconds=column([sim["seconds"] for sim in sims]),
        day_class=column([sim["day"] for sim in sims], np.int32),
        group=column([sim["group"] for sim in sims], np.int32),
        comm_plan=column([0] * len(sims), np.int32),
        current=column([sim["current"] for sim in sims], np.int32),
        pool_of=column(
            [[INDIVIDUAL if s is None else s for s in plan["pool"]] for plan in plans], np.int32
        ),
        pool_block_bytes=column([pool["block"] for pool in pools]),
        pool_tier_from_block=pool_first,
        pool_tier_rate_micros=pool_rate,
        is_locked=column([sim["locked"] for sim in sims], bool),
        min_sims=column([plan["least"] for plan in plans]),
        max_sims=column([NO_LIMIT if p["most"] is None else p["most"] for p in plans]),
        charge_type=ChargeType(unit["charge"]),
        max_changes=unit["max_changes"],
        min_saving_per_change_micros=unit["saving"],
    )


def derived(unit, multipliers, plans):
    return derive(
        as_problem(unit),
        np.array(plans, dtype=np.int32),
        multipliers["bits"],
        multipliers["pools"],
        multipliers["plans"],
        multipliers["change"],
    )


@settings(max_examples=400)
@given(SEEDS)
def test_cost_and_bound_are_those_of_plain_integers_and_the_infeasible_is_refused(seed):
    unit, multipliers, plans = certificate_of(seed)
    if not oracle.is_in_box(unit, multipliers):
        with pytest.raises(CheckFailedError, match="outside its box"):
            derived(unit, multipliers, plans)
        return
    if not oracle.is_feasible(unit, plans, multipliers):
        with pytest.raises(
            CheckFailedError, match=r"may not have|saves less|SIMs: allowed|change: al"
        ):
            derived(unit, multipliers, plans)
        return
    found = derived(unit, multipliers, plans)
    assert found.cost_micros == oracle.cost(unit, plans)
    assert found.bound_micros == oracle.bound(unit, multipliers)


@given(SEEDS)
def test_no_feasible_assignment_costs_less_than_the_bound(seed):
    """The formula itself is a bound, whatever the multipliers inside their box."""
    unit, multipliers, _ = certificate_of(seed)
    least = oracle.cheapest(unit, multipliers)
    if least is not None and oracle.is_in_box(unit, multipliers):
        assert oracle.bound(unit, multipliers) <= least


WORDS = st.integers(-(1 << 63), (1 << 63) - 1)
PAIRS = st.integers(-(1 << 127), (1 << 127) - 1)


def pair(value):
    return np.uint64((value >> 64) % (1 << 64)), np.uint64(value % (1 << 64))


def number(high, low):
    value = (int(high) << 64) + int(low)
    return value - (1 << 128) if value >> 127 else value


def wrapped(value):
    return (value + (1 << 127)) % (1 << 128) - (1 << 127)


@given(st.integers(0, (1 << 62) - 1), WORDS)
def test_a_product_keeps_all_128_bits(multiplier, value):
    assert number(*check_kernel.multiplied(np.uint64(multiplier), value)) == multiplier * value


@given(st.integers(0, (1 << 62) - 1), st.integers(0, 63))
def test_a_shift_keeps_all_128_bits(value, bits):
    assert number(*check_kernel.shifted(value, np.uint64(bits))) == value << bits


@given(PAIRS, PAIRS)
def test_sums_opposites_and_comparisons_are_those_of_integers(left, right):
    assert number(*check_kernel.added(*pair(left), *pair(right))) == wrapped(left + right)
    assert number(*check_kernel.negated(*pair(left))) == wrapped(-left)
    assert check_kernel.is_less(*pair(left), *pair(right)) == (left < right)
