"""Small fleets against the optimum of an integer program of our own: cost and bound (O1, O2, O6)."""

from __future__ import annotations

import random
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.assembly import assemble, assignments_of
from core.domain import BillingCycle, BillingPolicy, CommunicationPlan, PoolScope, RatePlan
from core.fleet import normalise_fleet
from core.grouping import group_fleet, iter_problems
from core.optimisation import fleet_sequences, solve_unit
from core.optimiser.result import SolveParams
from tests.oracles.milp_oracle import Terms, best_of_all, milp_optimum, price

START, DAYS = date(2026, 2, 1), 28
END = START + timedelta(days=DAYS - 1)
MB, CENT = 1 << 20, 10_000
LADDER_MB = (1, 2, 5, 10, 25, 50, 100, 250)


def catalogue(rng, *, kind, n_plans, is_prorated):
    """Plans of a ladder, prices in whole cents; two pooled plans may share a pool group."""
    plans = []
    shared = rng.randint(1, 900) * CENT, rng.choice([1, 10, 50]) * MB
    steps = sorted(rng.sample(LADDER_MB, n_plans))
    for k, allowance_mb in enumerate(steps):
        fee = round((70 + 25 * allowance_mb**0.54) * rng.uniform(0.94, 1.06))
        block_mb = rng.choice([1, 1, 10, 50])
        rate = max(1, round(fee / allowance_mb * rng.uniform(1.5, 6) * block_mb))
        is_pooled = kind == "pooled" or (kind == "mixed" and k % 2 == rng.randint(0, 1))
        pool_group = "A" if is_pooled and rng.random() < 0.4 else None
        plans.append(
            RatePlan(
                code=f"P{allowance_mb:03d}",
                monthly_rate_micros=fee * CENT,
                included_bytes=allowance_mb * MB,
                overage_rate_micros=shared[0] if pool_group else rate * CENT,
                overage_block_bytes=shared[1] if pool_group else block_mb * MB,
                is_pooled=is_pooled,
                is_prorated=is_prorated and rng.random() < 0.5,
                included_sms=rng.choice([0, 10]),
                sms_rate_micros=rng.choice([0, 1, 5]) * CENT,
                regulatory_fee_micros=rng.choice([0, 15 * CENT]),
                pool_group=pool_group,
            )
        )
    return plans


def fleet(seed, *, kind, n_sims, n_plans=5, n_lists=1, scope=PoolScope.PLAN, is_prorated=False):
    """SIMs with zeros, a body and a few large ones; plan lists drawn from the catalogue."""
    rng = random.Random(seed)  # noqa: S311 - a fleet, not a secret
    plans = catalogue(rng, kind=kind, n_plans=n_plans, is_prorated=is_prorated)
    codes = [plan.code for plan in plans]
    lists = {"C0": codes} | {
        f"C{k}": rng.sample(codes, rng.randint(2, n_plans)) for k in range(1, n_lists)
    }
    sims = [
        {
            "iccid": f"{k:03d}",
            "communication_plan": rng.choice(list(lists)),
            "rate_plan": rng.choice(codes),
            "usage_bytes": usage(rng),
            "sms_count": rng.choice([0, 0, rng.randint(0, 40)]),
            "voice_seconds": 0,
            "activated_date": rng.choice([None, START + timedelta(days=rng.randrange(DAYS))]),
        }
        for k in range(n_sims)
    ]
    return sims, plans, lists, scope


def usage(rng):
    return rng.choice(
        [0, round(rng.lognormvariate(1.5, 1.2) * MB), round(rng.uniform(0, 200) * MB)]
    )


def terms_of(plans, lists, scope):
    return Terms(
        plans={plan.code: plan for plan in plans},
        lists=lists,
        scope=scope.value,
        first_day=START,
        last_day=END,
    )


def solved(sims, plans, lists, scope):
    """Results per unit, and the recommended plan of every SIM."""
    policy = BillingPolicy(cycle=BillingCycle(start_date=START, end_date=END), pool_scope=scope)
    frame = pl.DataFrame(
        sims, schema_overrides={"activated_date": pl.Date}, infer_schema_length=None
    )
    comm_plans = [
        CommunicationPlan(name=name, rate_plan_codes=tuple(codes)) for name, codes in lists.items()
    ]
    grouping = group_fleet(normalise_fleet(frame), plans, comm_plans, policy, max_rate_plans=15)
    problems = iter_problems(grouping, fleet_sequences(grouping, 64))
    solutions = [solve_unit(problem, SolveParams()) for problem in problems]
    outcome = assemble(grouping, solutions, assignments_of(grouping, solutions))
    recommended = outcome.assignments.sort("iccid")["recommended_rate_plan"].to_list()
    return [solution.result for solution in solutions], recommended


def check(instance, optimum):
    """The answer is feasible, costs what it says and the optimum; the bound lies below both."""
    sims, plans, lists, scope = instance
    terms = terms_of(plans, lists, scope)
    results, recommended = solved(sims, plans, lists, scope)
    for sim, code in zip(sims, recommended, strict=True):
        assert code in terms.may_have(sim)
    cost = sum(result.cost_micros for result in results)
    assert cost == price(sims, recommended, terms)
    bounds = [result.lower_bound_micros for result in results]
    assert None not in bounds
    assert sum(bounds) <= optimum
    assert cost == optimum


CASES = {
    "one SIM": {"kind": "pooled", "n_sims": 1},
    "5 pooled": {"kind": "pooled", "n_sims": 5},
    "8 mixed": {"kind": "mixed", "n_sims": 8},
    "12 pooled": {"kind": "pooled", "n_sims": 12, "n_plans": 8},
    "15 mixed": {"kind": "mixed", "n_sims": 15, "n_plans": 8},
    "15 prorated": {"kind": "pooled", "n_sims": 15, "is_prorated": True},
    "18 in 3 lists": {"kind": "pooled", "n_sims": 18, "n_lists": 3},
    "18 in 3 lists, mixed": {"kind": "mixed", "n_sims": 18, "n_lists": 3},
    "20 in 2 lists with pools of their own": {
        "kind": "pooled", "n_sims": 20, "n_lists": 2, "scope": PoolScope.COMM_GROUP,
    },
    "20 in shared pools": {"kind": "pooled", "n_sims": 20, "scope": PoolScope.POOL_GROUP},
    "20 mixed in shared pools, prorated": {
        "kind": "mixed", "n_sims": 20, "n_lists": 2, "scope": PoolScope.POOL_GROUP,
        "is_prorated": True,
    },
    "25 individual": {"kind": "individual", "n_sims": 25},
    "25 pooled": {"kind": "pooled", "n_sims": 25},
    "25 mixed, prorated": {"kind": "mixed", "n_sims": 25, "is_prorated": True},
    "50 mixed": {"kind": "mixed", "n_sims": 50, "n_plans": 6},
    "50 in 4 lists": {"kind": "pooled", "n_sims": 50, "n_lists": 4, "n_plans": 4},
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_a_small_fleet_costs_what_the_integer_program_says(name):
    instance = fleet(list(CASES).index(name), **CASES[name])
    sims, *rest = instance
    optimum = milp_optimum(sims, terms_of(*rest))
    assert optimum is not None, "the oracle's limit of nodes is too low for this case"
    check(instance, optimum)


@st.composite
def tiny_fleets(draw):
    """At most 5 SIMs and 4 plans of every kind, with amounts so small that ties are frequent."""
    rng = draw(st.randoms(use_true_random=True))
    shared = rng.randint(1, 9) * CENT, rng.randint(1, 8)
    plans = []
    for k in range(rng.randint(1, 4)):
        pool_group = rng.choice([None, "A"])
        plans.append(
            RatePlan(
                code=f"P{k}",
                monthly_rate_micros=rng.randint(0, 30) * CENT,
                included_bytes=rng.randint(0, 20),
                overage_rate_micros=shared[0] if pool_group else rng.randint(1, 9) * CENT,
                overage_block_bytes=shared[1] if pool_group else rng.randint(1, 8),
                is_pooled=rng.random() < 0.7,
                is_prorated=rng.random() < 0.3,
                pool_group=pool_group,
            )
        )
    codes = [plan.code for plan in plans]
    lists = {f"C{k}": rng.sample(codes, rng.randint(1, len(codes))) for k in range(2)}
    sims = [
        {
            "iccid": f"{k:03d}",
            "communication_plan": rng.choice(["C0", "C1"]),
            "rate_plan": rng.choice(codes),
            "usage_bytes": rng.choice([0, rng.randint(0, 10), rng.randint(0, 60)]),
            "sms_count": 0,
            "voice_seconds": 0,
            "activated_date": rng.choice([None, START + timedelta(days=rng.randrange(DAYS))]),
        }
        for k in range(rng.randint(1, 5))
    ]
    return sims, plans, lists, rng.choice(list(PoolScope))


@given(tiny_fleets())
@settings(max_examples=100)
def test_a_tiny_fleet_costs_what_the_best_of_all_assignments_costs(instance):
    sims, *rest = instance
    check(instance, best_of_all(sims, terms_of(*rest)))


@given(tiny_fleets())
@settings(max_examples=60)
def test_the_integer_program_of_the_oracle_finds_the_best_of_all_assignments(instance):
    sims, *rest = instance
    terms = terms_of(*rest)
    assert milp_optimum(sims, terms) == best_of_all(sims, terms)
