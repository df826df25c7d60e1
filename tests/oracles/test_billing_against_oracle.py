"""Billing agrees with a plain reading of its rules, to the micro-unit (B1-B5, B7-B10, O11)."""

from __future__ import annotations

import importlib.util
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.billing.allocation import allocate
from core.billing.bill import bill, total_cost
from core.billing.individual import individual_costs
from core.domain import (
    BillingCycle,
    BillingPolicy,
    ChargeType,
    CommunicationPlan,
    OverageTier,
    PoolScope,
    ProrationBasis,
    RatePlan,
)
from core.fleet import normalise_fleet
from core.grouping import group_fleet, iter_problems
from core.units import bytes_from_text, parse_decimal, to_bytes, to_micros

_SPEC = importlib.util.spec_from_file_location(
    "billing_oracle", Path(__file__).with_name("billing_oracle.py")
)
assert _SPEC is not None
assert _SPEC.loader is not None
oracle = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(oracle)

FIRST = date(2024, 2, 10)
CODES = ("A", "B", "C", "D")


def overages(rng, scale, is_pooled):
    """Rate, block, tiers and cap; a pool's prices never fall and have no cap (B8)."""
    rate, block = rng.randint(1, 9), rng.randint(1, 12) * scale
    # On the edge of a block, just beyond it, or anywhere, also two within one block.
    edges = [rng.randint(0, 6) * block + rng.choice([0, 0, 1]) for _ in range(2)]
    volumes = sorted({*edges, rng.randint(0, 40 * scale)})
    tiers = [(volume, rng.randint(1, 9)) for volume in volumes[: rng.choice([0, 1, 2, 3])]]
    if is_pooled:
        rate, *rates = sorted([rate, *(tier_rate for _, tier_rate in tiers)])
        tiers = [(volume, rates.pop(0)) for volume, _ in tiers]
    cap = None if is_pooled else rng.choice([None, rng.randint(0, 60)])
    return {"rate": rate, "block": block, "tiers": tiers, "cap": cap}


@st.composite
def catalogues(draw, scale, *, is_pooling):
    """One to four plans; plans of one pool group have the same rate, block and tiers."""
    rng = draw(st.randoms(use_true_random=True))
    shared = {name: overages(rng, scale, is_pooling) for name in ("g", "h")}
    plans = []
    for code in CODES[: draw(st.sampled_from([4, 3, 2, 1]))]:
        pool_group = draw(st.sampled_from([None, "", "g", "h"]))
        is_pooled = draw(st.sampled_from([True, True, False]))
        own = overages(rng, scale, is_pooled and is_pooling)
        plans.append(
            {
                **shared.get(pool_group, own),
                "code": code,
                "fee": draw(st.integers(0, 100)),
                "included": draw(st.integers(0, 30)) * scale + draw(st.integers(0, 3)),
                "pooled": is_pooled,
                "prorated": draw(st.booleans()),
                "included_sms": draw(st.integers(0, 3)),
                "sms_rate": draw(st.integers(0, 5)),
                "included_minutes": draw(st.integers(0, 3)),
                "voice_rate": draw(st.integers(0, 5)),
                "regulatory": draw(st.integers(0, 5)),
                "pool_group": pool_group,
            }
        )
    return plans


@st.composite
def accounts(draw):
    """A catalogue, up to six SIMs, plan lists, a policy, and a plan for each priced SIM."""
    scale = draw(st.sampled_from([1, 1, 1000, 1 << 43]))
    is_pooling = draw(st.sampled_from([True] * 5 + [False]))
    plans = draw(catalogues(scale, is_pooling=is_pooling))
    codes = [plan["code"] for plan in plans]
    has_cycle = draw(st.booleans())
    length = draw(st.sampled_from([1, 2, 28, 30, 31]))
    last = FIRST + timedelta(days=length - 1)
    policy = {
        "cycle": (FIRST, last) if has_cycle else None,
        "scope": draw(st.sampled_from([scope.value for scope in PoolScope])),
        "basis": draw(st.sampled_from(["cycle", "thirty"])) if has_cycle else "cycle",
        "uses_proration": draw(st.booleans()),
        "pooling": is_pooling,
    }
    lists = {
        name: [
            *draw(st.lists(st.sampled_from([*codes, "gone"]), max_size=3)),
            draw(st.sampled_from(codes)),
        ]
        for name in ("x", "y", "z")
    }
    activated = st.none() | st.integers(-3, length - 1).map(lambda k: FIRST + timedelta(days=k))
    n_sims = draw(st.sampled_from([6, 5, 4, 6, 2, 1, 0]))
    sims = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "usage": st.integers(0, 60).map(lambda k: k * scale)
                    | st.integers(0, 60 * scale),
                    "sms": st.integers(0, 6),
                    "voice": st.integers(0, 400),
                    "activated": activated,
                    "communication_plan": st.sampled_from(list(lists)),
                    "current": st.sampled_from([*codes, *codes, "unknown"]),
                }
            ),
            min_size=n_sims,
            max_size=n_sims,
        )
    )
    for sim in sims:
        sim["group"] = frozenset(lists[sim["communication_plan"]]) & frozenset(codes)
    max_rate_plans = draw(st.sampled_from([15, 15, 1, 2]))
    choice = draw(st.lists(st.integers(0, 99), min_size=len(sims), max_size=len(sims)))
    return plans, sims, lists, policy, max_rate_plans, choice


def as_rate_plan(plan):
    return RatePlan(
        code=plan["code"],
        monthly_rate_micros=plan["fee"],
        included_bytes=plan["included"],
        overage_rate_micros=plan["rate"],
        overage_block_bytes=plan["block"],
        is_pooled=plan["pooled"],
        is_prorated=plan["prorated"],
        included_sms=plan["included_sms"],
        sms_rate_micros=plan["sms_rate"],
        included_voice_minutes=plan["included_minutes"],
        voice_rate_micros=plan["voice_rate"],
        regulatory_fee_micros=plan["regulatory"],
        pool_group=plan["pool_group"],
        overage_tiers=tuple(
            OverageTier(from_bytes=volume, rate_micros=rate)
            for volume, rate in plan.get("tiers", ())
        ),
        overage_cap_micros=plan.get("cap"),
    )


def as_policy(policy, charge_type):
    cycle = policy["cycle"]
    return BillingPolicy(
        cycle=BillingCycle(start_date=cycle[0], end_date=cycle[1]) if cycle else None,
        pool_scope=PoolScope(policy["scope"]),
        charge_type=charge_type,
        proration_basis=ProrationBasis(policy["basis"]),
        uses_proration=policy["uses_proration"],
        pooling_enabled=policy["pooling"],
    )


def as_fleet(sims):
    return normalise_fleet(
        pl.DataFrame(
            [
                (
                    f"89{k:03d}",
                    sim["communication_plan"],
                    sim["current"],
                    sim["usage"],
                    sim["sms"],
                    sim["voice"],
                    sim["activated"],
                )
                for k, sim in enumerate(sims)
            ],
            schema={
                "iccid": pl.String,
                "communication_plan": pl.String,
                "rate_plan": pl.String,
                "usage_bytes": pl.Int64,
                "sms_count": pl.Int64,
                "voice_seconds": pl.Int64,
                "activated_date": pl.Date,
            },
            orient="row",
        )
    )


def charged(fee, over, charge_type):
    return {"rate": fee, "overage": over, "rate_and_overage": fee + over}[charge_type.value]


@settings(max_examples=500, deadline=None)
@given(account=accounts(), charge_type=st.sampled_from(list(ChargeType)))
def test_bills_of_any_assignment_equal_the_oracle(account, charge_type):
    """The oracle bills the whole account at once, core each unit by itself (O11)."""
    plans, sims, lists, policy, max_rate_plans, choice = account
    grouping = group_fleet(
        as_fleet(sims),
        [as_rate_plan(plan) for plan in plans],
        [CommunicationPlan(name=name, rate_plan_codes=tuple(lists[name])) for name in lists],
        as_policy(policy, charge_type),
        max_rate_plans=max_rate_plans,
    )
    by_code = {plan["code"]: plan for plan in plans}
    priced = [k for k, sim in enumerate(sims) if sim["current"] in by_code]
    assigned = {}
    for k in priced:
        group = sims[k]["group"]
        allowed = {sims[k]["current"]} | (group if len(group) <= max_rate_plans else set())
        assigned[k] = sorted(allowed)[choice[k] % len(allowed)]
    fees, overages = oracle.bill(
        [sims[k] for k in priced], [by_code[assigned[k]] for k in priced], policy
    )
    expected = dict(zip(priced, zip(fees, overages, strict=True), strict=True))

    unit_of_row = grouping.fleet["unit_id"].to_list()
    assert [k for k, unit in enumerate(unit_of_row) if unit is not None] == priced
    for problem in iter_problems(grouping):
        rows = [k for k, unit in enumerate(unit_of_row) if unit == problem.unit_id]
        numbers = problem.tariff.plan_number()
        assignment = np.array([numbers[assigned[k]] for k in rows], dtype=np.int32)
        assert [problem.tariff.codes[p] for p in problem.current] == [
            sims[k]["current"] for k in rows
        ]
        result = bill(problem, assignment)
        assert result.rate_micros.tolist() == [expected[k][0] for k in rows]
        assert result.overage_micros.tolist() == [expected[k][1] for k in rows]
        objective = [charged(*expected[k], charge_type) for k in rows]
        assert result.objective(charge_type).tolist() == objective
        assert total_cost(problem, assignment) == sum(objective)
        for code, number in numbers.items():
            costs = individual_costs(
                problem.tariff,
                number,
                problem.usage_bytes,
                problem.sms_count,
                problem.voice_seconds,
                problem.day_class,
                charge_type,
            )
            assert costs.tolist() == [
                charged(*oracle.alone(sims[k], by_code[code], policy), charge_type) for k in rows
            ]


WEIGHTS = st.integers(0, 5) | st.integers(0, 1 << 50) | st.integers((1 << 50) - 3, 1 << 50)


@settings(max_examples=300, deadline=None)
@given(
    members=st.lists(st.tuples(WEIGHTS, st.integers(-1, 2)), max_size=12),
    charges=st.lists(
        st.integers(0, 9) | st.integers(0, 1 << 62) | st.just(1 << 62), min_size=3, max_size=3
    ),
)
def test_shares_of_any_charge_equal_exact_fractions(members, charges):
    weights = [weight for weight, _ in members]
    pools = [pool for _, pool in members]
    expected = [0] * len(members)
    for pool in range(3):
        rows = [k for k, at in enumerate(pools) if at == pool]
        if sum(weights[k] for k in rows) == 0:
            charges[pool] = 0
            continue
        shares = oracle.share_out(charges[pool], [weights[k] for k in rows])
        for k, share in zip(rows, shares, strict=True):
            expected[k] = share
    shares = allocate(
        np.array(charges, dtype=np.int64),
        np.array(weights, dtype=np.int64),
        np.array(pools, dtype=np.int32),
    )
    assert shares.tolist() == expected


DIGITS = st.text("0123456789", min_size=1, max_size=10)
NUMBERS = st.one_of(
    DIGITS,
    st.tuples(DIGITS, st.text("0123456789", max_size=24)).map(".".join),
    st.tuples(DIGITS, st.integers(-30, 12)).map(lambda part: f"{part[0]}e{part[1]}"),
    st.tuples(st.integers(0, 99), st.integers(0, 999_999)).map(
        lambda part: f"{part[0]}.{part[1]:06d}5"  # half a micro-unit
    ),
    st.integers(0, 99).map(lambda whole: f"{whole}.5"),
    st.tuples(st.integers(0, 1 << 44), st.integers(1, 21)).map(
        # k = 21: an odd number of half bytes of 2**-20 MB
        lambda part: f"{(2 * part[0] + 1) * 5 ** part[1]}e-{part[1]}"
    ),
    st.floats(0, 1e9).map(repr),
    DIGITS.map(lambda text: f" +{text} "),
)


@settings(max_examples=500, deadline=None)
@given(text=NUMBERS, unit=st.sampled_from([1 << 20, 10**6, 1, 1 << 30]))
def test_texts_become_whole_bytes_and_micros_half_up(text, unit):
    n_bytes, micros = oracle.half_up(text, unit), oracle.half_up(text, 10**6)
    converted = bytes_from_text(pl.Series("value", [text, None]), unit).to_list()
    if n_bytes <= 1 << 50:
        assert converted == [n_bytes, None]
        assert to_bytes(parse_decimal(text), unit) == n_bytes
    else:
        assert converted == [None, None]
    if micros <= 10**11:
        assert to_micros(parse_decimal(text)) == micros


@pytest.mark.parametrize("odd", [0, 1])
def test_a_pool_past_2_to_the_53_counts_its_last_byte(odd):
    """Sums in float64 lose the byte that starts another block."""
    plan = {
        "code": "A", "fee": 0, "included": 0, "rate": 7, "block": 1 << 50, "pooled": True,
        "prorated": False, "included_sms": 0, "sms_rate": 0, "included_minutes": 0,
        "voice_rate": 0, "regulatory": 0, "pool_group": None,
    }  # fmt: skip
    sims = [
        {"usage": usage, "sms": 0, "voice": 0, "activated": None, "group": "g",
         "communication_plan": "x", "current": "A"}
        for usage in [1 << 50] * 20 + [odd]
    ]  # fmt: skip
    policy = {
        "cycle": None, "scope": "plan", "basis": "cycle", "uses_proration": True, "pooling": True,
    }  # fmt: skip
    grouping = group_fleet(
        as_fleet(sims),
        [as_rate_plan(plan)],
        None,
        as_policy(policy, ChargeType.OVERAGE),
        max_rate_plans=15,
    )
    (problem,) = iter_problems(grouping)
    _, overages = oracle.bill(sims, [plan] * len(sims), policy)
    assert total_cost(problem, problem.current) == sum(overages) == 7 * (20 + odd)
    assert bill(problem, problem.current).overage_micros.tolist() == overages


BARE = {
    "code": "A", "fee": 0, "included": 0, "rate": 7, "block": 1, "pooled": False,
    "prorated": False, "included_sms": 0, "sms_rate": 0, "included_minutes": 0,
    "voice_rate": 0, "regulatory": 0, "pool_group": None,
}  # fmt: skip


def only_problem(plan, usages, **policy):
    """All SIMs on one plan, without dates."""
    sims = [
        {"usage": usage, "sms": 0, "voice": 0, "activated": None, "communication_plan": "x",
         "current": "A"}
        for usage in usages
    ]  # fmt: skip
    grouping = group_fleet(
        as_fleet(sims),
        [as_rate_plan({**BARE, **plan})],
        None,
        BillingPolicy(charge_type=ChargeType.OVERAGE, **policy),
        max_rate_plans=15,
    )
    (problem,) = iter_problems(grouping)
    return problem


P50 = 1 << 50


@pytest.mark.parametrize("extra", [0, 1])
def test_tiers_of_a_pool_past_2_to_the_53_begin_with_their_block_and_count_its_last_byte(extra):
    """96 blocks of 2**47: 4 at 7, one at 11, 3 at 13 from the block after that tier's edge, then 15."""
    tiers = [(P50 // 2, 11), (P50 // 2 + 1, 13), (P50, 15)]
    problem = only_problem(
        {"block": P50 // 8, "tiers": tiers, "pooled": True}, [P50] * 12 + [extra]
    )
    assert total_cost(problem, problem.current) == 4 * 7 + 11 + 3 * 13 + (88 + extra) * 15


@pytest.mark.parametrize(("cap", "expected"), [(None, 3 * 7 + (P50 - 6) * 5), (99, 99), (0, 0)])
def test_tiers_and_caps_hold_for_a_sim_with_the_largest_usage(cap, expected):
    """2**50 blocks of a byte, of which 3 at 7 and, but for 3 that are included, the others at 5."""
    problem = only_problem({"tiers": [(3, 5)], "included": 3, "cap": cap}, [P50])
    assert total_cost(problem, problem.current) == expected


def test_a_tier_at_the_end_of_the_range_is_reached_by_the_last_byte_of_a_pool_alone():
    plan = {"tiers": [(P50, 4000)], "pooled": True}
    for usages, last in ([P50, 0], 0), ([P50, 1], 4000):
        problem = only_problem(plan, usages)
        assert total_cost(problem, problem.current) == P50 * 7 + last
