"""Pools of odd fleets: each answer has a certificate that the check confirms (O3, O11, O12)."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from core.domain import BillingPolicy, CommunicationPlan, PoolScope, RatePlan, SolveStatus
from core.fleet import normalise_fleet
from core.group_sequences import fleet_sequences
from core.grouping import group_fleet, iter_problems
from core.optimisation import solve_unit
from core.optimiser.check import check
from core.optimiser.result import SolveParams

MB, GB = 1 << 20, 1 << 30
QUICK = SolveParams(repair_kicks=2, polish_nodes=50)
NO_PROGRAM = SolveParams(repair_kicks=0, polish_nodes=0)


def plan(code, fee, included, *, block=MB, rate=50_000, is_pooled=True):
    return RatePlan(
        code=code, monthly_rate_micros=fee, included_bytes=included, overage_rate_micros=rate,
        overage_block_bytes=block, is_pooled=is_pooled,
    )  # fmt: skip


LADDER = [
    plan("A", 500_000, MB),
    plan("B", 2_000_000, 50 * MB),
    plan("C", 9_000_000, GB),
    plan("S", 3_000_000, 20 * MB, is_pooled=False),
]


def fleet_of(usages, *, plans="BC", lists=("X",), locked=False):
    """SIMs whose present plans and communication plans take turns."""
    n = len(usages)
    return normalise_fleet(
        pl.DataFrame(
            {
                "iccid": [f"{k:05d}" for k in range(n)],
                "communication_plan": [lists[k % len(lists)] for k in range(n)],
                "rate_plan": [plans[k % len(plans)] for k in range(n)],
                "usage_bytes": usages,
                "is_locked": [locked] * n,
            },
            schema_overrides={
                "iccid": pl.String, "communication_plan": pl.String, "rate_plan": pl.String,
                "usage_bytes": pl.Int64, "is_locked": pl.Boolean,
            },
        )
    )  # fmt: skip


def solved(
    fleet, catalogue, comm_plans=None, *, scope=PoolScope.PLAN, max_rate_plans=15, params=None
):
    """Results of all units, each confirmed by its certificate and no dearer than today."""
    policy = BillingPolicy(pool_scope=scope)
    grouping = group_fleet(fleet, catalogue, comm_plans, policy, max_rate_plans=max_rate_plans)
    results = []
    for problem in iter_problems(grouping, fleet_sequences(grouping, 16)):
        result = solve_unit(problem, params or QUICK).result
        check(problem, result)
        assert result.lower_bound_micros <= result.cost_micros <= result.baseline_cost_micros
        results.append(result)
    return results


FLEETS = {
    "no SIM": [],
    "one SIM": [7 * MB],
    "one SIM without usage": [0],
    "all equal": [12 * MB] * 60,
    "all zero": [0] * 60,
    "one giant": [0] * 59 + [900 * GB],
    "one giant among others": [k * MB for k in range(59)] + [900 * GB],
    "two kinds": [0, 50 * MB] * 30,
}


@pytest.mark.parametrize("block", [1, MB, 1 << 44], ids=["byte", "MB", "larger than any usage"])
@pytest.mark.parametrize("name", list(FLEETS))
def test_an_odd_fleet_in_pools_is_certified(name, block):
    catalogue = [
        plan(p.code, p.monthly_rate_micros, p.included_bytes, block=block, is_pooled=p.is_pooled)
        for p in LADDER
    ]
    results = solved(fleet_of(FLEETS[name]), catalogue)
    assert len(results) == (1 if FLEETS[name] else 0)


def test_a_fleet_without_usage_pays_the_lowest_fee_and_that_is_proven():
    (result,) = solved(fleet_of([0] * 60), LADDER)
    assert result.status is SolveStatus.OPTIMAL
    assert result.cost_micros == result.lower_bound_micros == 60 * 500_000


def test_equal_sims_mix_two_plans_so_that_their_allowances_just_suffice():
    """60 SIMs with 12 MB need 720 MB: with x on B and the rest on A the pool has 60 + 49 x.

    13 on B leave 23 MB, which cost 1.15: less than the 1.5 that another one on B costs more. 12 on B
    leave 72 MB, at 3.6. So 13 are on B, at 13 * 2 + 47 * 0.5 + 1.15.
    """
    catalogue = [replace(p, pool_group="G") for p in LADDER[:2]]
    fleet = fleet_of([12 * MB] * 60, plans="B")
    (result,) = solved(fleet, catalogue, scope=PoolScope.POOL_GROUP)
    assert result.cost_micros == 26_000_000 + 23_500_000 + 1_150_000
    assert result.assignment.tolist().count(1) == 13
    assert result.status is SolveStatus.OPTIMAL


@pytest.mark.parametrize("scope", list(PoolScope))
def test_with_one_plan_there_is_nothing_to_choose(scope):
    (result,) = solved(fleet_of([5 * MB] * 40, plans="A"), LADDER[:1], scope=scope)
    assert result.status is SolveStatus.OPTIMAL
    assert result.cost_micros == result.lower_bound_micros == 40 * 500_000 + 160 * 50_000


@pytest.mark.parametrize("scope", list(PoolScope))
def test_locked_sims_are_a_constant_that_is_its_own_bound(scope):
    (result,) = solved(fleet_of([k * MB for k in range(60)], locked=True), LADDER, scope=scope)
    assert result.status is SolveStatus.OPTIMAL
    assert result.cost_micros == result.baseline_cost_micros
    # A pool without rounding up to whole blocks is at most a block cheaper.
    assert result.cost_micros - result.lower_bound_micros <= 2 * 50_000


@pytest.mark.parametrize("scope", [PoolScope.PLAN, PoolScope.POOL_GROUP])
def test_a_group_with_an_empty_list_keeps_its_plans_and_shares_the_pools(scope):
    """Its 30 SIMs leave allowance, which the others use."""
    comm_plans = [
        CommunicationPlan(name="X", rate_plan_codes=("A", "B", "C")),
        CommunicationPlan(name="Y", rate_plan_codes=("A", "B")),
    ]
    fleet = fleet_of([k % 2 * 45 * MB for k in range(60)], plans="BBC", lists=("Y", "X"))
    grouping = group_fleet(
        fleet, LADDER, comm_plans, BillingPolicy(pool_scope=scope), max_rate_plans=15
    )
    (problem,) = iter_problems(grouping, fleet_sequences(grouping, 16))
    empty = [k for k, group in enumerate(problem.groups) if group.eligible == (0, 1)]
    groups = [
        replace(group, eligible=(), sequences=()) if k in empty else group
        for k, group in enumerate(problem.groups)
    ]
    problem = replace(problem, groups=tuple(groups))
    result = solve_unit(problem, QUICK).result
    check(problem, result)
    stays = problem.group == empty[0]
    assert stays.sum() == 30
    assert (result.assignment[stays] == problem.current[stays]).all()
    assert result.lower_bound_micros <= result.cost_micros < result.baseline_cost_micros


def test_sixty_four_pooled_plans_are_optimised_where_so_many_are_allowed():
    catalogue = [
        plan(f"P{k:02d}", 400_000 + 300_000 * k, (1 + k * k) * MB, rate=40_000 + 100 * k)
        for k in range(64)
    ]
    usages = [(k * k * 37) % 1_500 * MB for k in range(200)]
    fleet = fleet_of(usages, plans=[p.code for p in catalogue])
    (result,) = solved(fleet, catalogue, max_rate_plans=64, params=NO_PROGRAM)
    assert result.cost_micros < result.baseline_cost_micros
    assert result.gap < 0.01
    (skipped,) = solved(fleet, catalogue, max_rate_plans=63, params=NO_PROGRAM)
    assert skipped.cost_micros == skipped.baseline_cost_micros
    assert skipped.status is SolveStatus.FEASIBLE
