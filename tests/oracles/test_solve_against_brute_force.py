"""Every assignment of tiny fleets, priced in plain loops, against what the optimiser says (O1, O7)."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction
from itertools import product

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from core.assembly import assemble, assignments_of
from core.domain import (
    BillingCycle,
    BillingPolicy,
    ChargeType,
    CommunicationPlan,
    OverageTier,
    PoolScope,
    RatePlan,
    SolveStatus,
)
from core.fleet import normalise_fleet
from core.grouping import group_fleet, iter_problems
from core.optimisation import fleet_sequences, solve_unit
from core.optimiser.result import SolveParams

START, DAYS = date(2026, 2, 1), 28
KINDS = {"individual": [False], "pooled": [True], "mixed": [False, True]}


def half_even(value: Fraction) -> int:
    return round(value)  # Python rounds fractions half to even


def ceiling(numerator, denominator):
    return -(-max(0, numerator) // denominator)


def pool_name(plan, sim, scope, key_of):
    """Who shares with whom: None outside pools."""
    if not plan.is_pooled:
        return None
    if scope is PoolScope.COMM_GROUP:
        return key_of[sim["communication_plan"]], plan.code
    if scope is PoolScope.POOL_GROUP and plan.pool_group:
        return "shared", plan.pool_group
    return "plan", plan.code


def data_price(plan, volume):
    """Each block at the rate of the tier in which it starts (B8)."""
    total = 0
    for start in range(0, max(0, volume), plan.overage_block_bytes):
        tiers = [tier for tier in plan.overage_tiers if tier.from_bytes <= start]
        total += tiers[-1].rate_micros if tiers else plan.overage_rate_micros
    return total


def price(sims, plans, scope, key_of, charge_type):
    """Cost of the whole fleet with these plans, from the rules B2 to B8 alone."""
    rate = overage = 0
    over, priced_as = {}, {}
    for sim, plan in zip(sims, plans, strict=True):
        days = (
            DAYS - max(0, (sim["activated_date"] - START).days) if sim["activated_date"] else DAYS
        )
        part = Fraction(days, DAYS) if plan.is_prorated else 1
        rate += half_even(plan.monthly_rate_micros * part) + plan.regulatory_fee_micros
        included = half_even(plan.included_bytes * part)
        overage += max(0, sim["sms_count"] - plan.included_sms) * plan.sms_rate_micros
        minutes = ceiling(sim["voice_seconds"], 60)
        overage += max(0, minutes - plan.included_voice_minutes) * plan.voice_rate_micros
        pool = pool_name(plan, sim, scope, key_of)
        if pool is None:
            charge = data_price(plan, sim["usage_bytes"] - included)
            cap = plan.overage_cap_micros
            overage += charge if cap is None else min(charge, cap)
        else:
            over[pool] = over.get(pool, 0) + sim["usage_bytes"] - included
            priced_as[pool] = plan
    for pool, total in over.items():
        overage += data_price(priced_as[pool], total)
    parts = {"rate": rate, "overage": overage, "rate_and_overage": rate + overage}
    return parts[charge_type.value]


def overage_of(rng, *, is_pooled):
    """Price fields of a plan; a pool's rates never fall and have no cap (B8)."""
    rates = [rng.randint(1, 9) for _ in range(rng.choice([1, 1, 2, 3]))]
    first, *others = sorted(rates) if is_pooled else rates
    edges = sorted(rng.sample(range(1, 30), len(others)))
    return {
        "overage_rate_micros": first,
        "overage_block_bytes": rng.randint(1, 8),
        "overage_tiers": tuple(
            OverageTier(from_bytes=edge, rate_micros=rate)
            for edge, rate in zip(edges, others, strict=True)
        ),
        "overage_cap_micros": None if is_pooled else rng.choice([None, None, rng.randint(0, 40)]),
    }


@st.composite
def fleets(draw):
    """At most 6 SIMs in at most 2 groups, and at most 4 plans."""
    rng = draw(st.randoms(use_true_random=True))
    kind = rng.choice(list(KINDS))
    shared = overage_of(rng, is_pooled=True)
    plans = []
    for k in range(rng.randint(1, 4)):
        pool_group = rng.choice([None, "A"])
        is_pooled = rng.choice(KINDS[kind])
        plans.append(
            RatePlan(
                code=f"P{k}",
                monthly_rate_micros=rng.randint(0, 30),
                included_bytes=rng.randint(0, 20),
                is_pooled=is_pooled,
                **(shared if pool_group else overage_of(rng, is_pooled=is_pooled)),
                is_prorated=rng.random() < 0.3,
                included_sms=rng.randint(0, 2),
                sms_rate_micros=rng.randint(0, 3),
                included_voice_minutes=rng.randint(0, 2),
                voice_rate_micros=rng.randint(0, 3),
                regulatory_fee_micros=rng.randint(0, 2),
                pool_group=pool_group,
            )
        )
    codes = [plan.code for plan in plans]
    comm_plans = [
        CommunicationPlan(
            name=f"C{k}", rate_plan_codes=tuple(rng.sample(codes, rng.randint(1, len(codes))))
        )
        for k in range(2)
    ]
    sims = [
        {
            "iccid": f"{k:03d}",
            "communication_plan": rng.choice(["C0", "C1"]),
            "rate_plan": rng.choice(codes),
            "usage_bytes": rng.choice([0, rng.randint(0, 10), rng.randint(0, 60)]),
            "sms_count": rng.randint(0, 3),
            "voice_seconds": rng.randint(0, 150),
            "activated_date": rng.choice([None, START + timedelta(days=rng.randrange(DAYS))]),
        }
        for k in range(rng.randint(1, 6))
    ]
    return (
        sims, plans, comm_plans, rng.choice(list(PoolScope)), rng.choice(list(ChargeType)),
        rng.choice([1, 2, 15]), rng.random() < 0.2,
    )  # fmt: skip


def solved(sims, plans, comm_plans, scope, charge_type, max_rate_plans, skip):
    policy = BillingPolicy(
        cycle=BillingCycle(start_date=START, end_date=START + timedelta(days=DAYS - 1)),
        pool_scope=scope,
        charge_type=charge_type,
    )
    fleet = normalise_fleet(
        pl.DataFrame(sims, schema_overrides={"activated_date": pl.Date}, infer_schema_length=None)
    )
    grouping = group_fleet(fleet, plans, comm_plans, policy, max_rate_plans=max_rate_plans)
    params = SolveParams(skip_lower_cost_check=skip)
    problems = iter_problems(grouping, fleet_sequences(grouping, 64))
    solutions = [solve_unit(problem, params) for problem in problems]
    return solutions, assemble(grouping, solutions, assignments_of(grouping, solutions))


@given(fleets())
@settings(max_examples=250, deadline=None)
def test_no_assignment_of_a_tiny_fleet_contradicts_the_optimiser(instance):
    sims, plans, comm_plans, scope, charge_type, max_rate_plans, skip = instance
    solutions, outcome = solved(*instance)
    by_code = {plan.code: plan for plan in plans}
    key_of = {plan.name: frozenset(plan.rate_plan_codes) for plan in comm_plans}

    def total(chosen):
        assigned = [by_code[code] for code in chosen]
        return price(sims, assigned, scope, key_of, charge_type)

    def listed(sim):
        key = key_of[sim["communication_plan"]]
        return key if len(key) <= max_rate_plans else {sim["rate_plan"]}

    current = [sim["rate_plan"] for sim in sims]
    recommended = outcome.assignments["recommended_rate_plan"].to_list()
    for sim, code in zip(sims, recommended, strict=True):
        assert code in listed(sim) | {sim["rate_plan"]}
    assert outcome.baseline.objective_micros == total(current)
    assert outcome.optimized.objective_micros == total(recommended)
    assert outcome.assignments["recommended_cost_micros"].sum() == total(recommended)

    unit_of = outcome.assignments["unit_id"].to_list()
    for solution in solutions:
        result = solution.result
        inside = [k for k, unit in enumerate(unit_of) if unit == result.unit_id]
        choices = [
            sorted(listed(sim) | {sim["rate_plan"]}) if k in inside else [sim["rate_plan"]]
            for k, sim in enumerate(sims)
        ]
        elsewhere = total(current) - result.baseline_cost_micros
        optimum = min(total(chosen) for chosen in product(*choices)) - elsewhere
        assert optimum <= result.cost_micros
        if result.status is SolveStatus.OPTIMAL:
            assert result.cost_micros == optimum
        is_individual = not any(by_code[code].is_pooled for k in inside for code in choices[k])
        is_whole = not any(
            len(key_of[sims[k]["communication_plan"]]) > max_rate_plans for k in inside
        )
        if (is_individual or len(inside) == 1) and is_whole and not skip:
            assert result.status is SolveStatus.OPTIMAL
        if not is_whole:
            assert result.status is SolveStatus.FEASIBLE
        if not skip or result.status is SolveStatus.OPTIMAL:
            assert result.cost_micros <= result.baseline_cost_micros
        is_fixed = [len(key_of[sim["communication_plan"]]) > max_rate_plans for sim in sims]
        check_singles(result, sims, inside, current, listed, total, elsewhere, is_fixed)
        if result.legacy_best_cost_micros is not None and not skip:
            assert result.cost_micros <= result.legacy_best_cost_micros


def check_singles(result, sims, inside, current, listed, total, elsewhere, is_fixed):
    """No change to one plan that is listed for all SIMs outside fixed groups is cheaper."""
    free = [k for k in inside if not is_fixed[k]]
    for code in set.intersection(*(set(listed(sims[k])) for k in free)) if free else ():
        chosen = [code if k in free else plan for k, plan in enumerate(current)]
        if chosen != current:
            assert result.cost_micros <= total(chosen) - elsewhere
