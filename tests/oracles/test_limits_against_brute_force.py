"""Tiny units under limits against every assignment there is, priced in plain loops (O1, O2, O7, O8).

Units are those of :mod:`tests.oracles.certificate_oracle`, with pools whose prices are those of the
plans in them, as a catalogue makes them.
"""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations, product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.domain import SolveStatus
from core.errors import InfeasibleError
from core.optimisation import solve_unit
from core.optimiser.result import SolveParams
from tests.oracles import certificate_oracle as oracle
from tests.oracles.test_certificate_against_oracle import as_problem

SEEDS = st.integers(0, 2**32 - 1)
SCOPES = ("plan", "comm_group", "pool_group")


def prices_of(rng, top):
    """One tier or two, with a rising price."""
    first, second = sorted((rng.randint(1, top), rng.randint(1, top)))
    tiers = [(0, first), (rng.randint(1, 9), second)] if rng.random() < 0.4 else [(0, first)]
    return {"block": rng.randint(1, 12), "tiers": tiers}


def unit_of(rng):
    """At most six SIMs, four plans and two groups; amounts so small that ties are frequent."""
    top = rng.choice([9, 30, 400])
    scope, n_groups = rng.choice(SCOPES), rng.randint(1, 2)
    pooled = rng.choice([[True], [False], [True, False], [True, True, False]])
    pools, plans, shared = [], [], None
    for _ in range(rng.randint(1, 4)):
        is_pooled = rng.choice(pooled)
        price, numbers = prices_of(rng, top), [None] * n_groups
        if is_pooled and scope == "pool_group" and shared is not None and rng.random() < 0.7:
            price, numbers = shared
        elif is_pooled and scope == "comm_group":
            numbers = [len(pools) + g for g in range(n_groups)]
            pools += [price] * n_groups
        elif is_pooled:
            numbers = [len(pools)] * n_groups
            pools.append(price)
            shared = price, numbers
        plans.append(
            {
                "fee": [rng.randint(0, top), rng.randint(0, top)],
                "included": [rng.randint(0, 30), rng.randint(0, 30)],
                **price,
                "cap": None if is_pooled else rng.choice([None, None, rng.randint(0, 3 * top)]),
                "sms": rng.randint(0, 2),
                "sms_rate": rng.choice([0, 0, rng.randint(0, 5)]),
                "minutes": rng.randint(0, 2),
                "minute_rate": rng.choice([0, 0, rng.randint(0, 5)]),
                "pool": numbers,
                "least": 0,
                "most": None,
            }
        )
    n_plans = len(plans)
    sims = [
        {
            "usage": rng.choice([0, rng.randint(0, 20), rng.randint(0, 90)]),
            "sms": rng.randint(0, 4),
            "seconds": rng.choice([0, rng.randint(0, 200)]),
            "day": rng.choice([1, 1, 0]),
            "group": rng.randrange(n_groups),
            "current": rng.randrange(n_plans),
            "locked": rng.random() < 0.15,
        }
        for _ in range(rng.randint(1, 6))
    ]
    lists = [sorted(rng.sample(range(n_plans), rng.randint(0, n_plans))) for _ in range(n_groups)]
    if rng.random() < 0.6:
        lists[0] = list(range(n_plans))
    unit = {
        "sims": sims,
        "plans": plans,
        "pools": pools,
        "groups": [{"plans": plans_of, "fixed": rng.random() < 0.05} for plans_of in lists],
        "charge": rng.choice(["rate_and_overage"] * 6 + ["overage", "rate"]),
        "max_changes": None,
        "saving": 0,
    }
    add_limits(rng, unit)
    return unit


def add_limits(rng, unit):
    """Nothing, one kind of limit or several; often more than can be kept."""
    n = len(unit["sims"])
    for plan in unit["plans"]:
        if rng.random() < 0.25:
            plan["least"] = rng.randint(1, 2)
        if rng.random() < 0.25:
            plan["most"] = rng.randint(0, n)
    if rng.random() < 0.4:
        unit["max_changes"] = rng.randint(0, n)


def problem_of(unit):
    """With a few sequences, so that walks have something to walk."""
    problem = as_problem(unit)
    groups = []
    for group in problem.groups:
        orders = (
            order
            for size in range(1, len(group.eligible) + 1)
            for order in permutations(group.eligible, size)
        )
        sequences = () if group.is_fixed else tuple(list(orders)[-8:])
        groups.append(replace(group, sequences=sequences))
    return replace(problem, groups=tuple(groups))


def keeps_limits(unit, plans):
    """SIMs per plan and changes, counted; who may have which plan is left to the caller."""
    for p, plan in enumerate(unit["plans"]):
        count = plans.count(p)
        if count < plan["least"] or (plan["most"] is not None and count > plan["most"]):
            return False
    changes = sum(p != sim["current"] for p, sim in zip(plans, unit["sims"], strict=True))
    return unit["max_changes"] is None or changes <= unit["max_changes"]


def cheapest(unit):
    """Least cost within the limits over all assignments; None if no assignment keeps them."""
    choices = [sorted(oracle.eligible(unit, sim)) for sim in unit["sims"]]
    kept = (plans for plans in product(*choices) if keeps_limits(unit, plans))
    return min((oracle.cost(unit, plans) for plans in kept), default=None)


def multipliers_of(certificate):
    return {
        "bits": certificate.scale_bits,
        "pools": certificate.pool_multipliers,
        "plans": certificate.plan_multipliers,
        "change": certificate.change_multiplier,
    }


def simple_candidates(unit):
    """Today's plans, and the same plan for all who may change and have it on their list."""
    current = [sim["current"] for sim in unit["sims"]]
    yield current
    groups = unit["groups"]
    free = [not (sim["locked"] or groups[sim["group"]]["fixed"]) for sim in unit["sims"]]
    for p in range(len(unit["plans"])):
        chosen = [p if is_free else q for is_free, q in zip(free, current, strict=True)]
        listed = (
            p in groups[sim["group"]]["plans"]
            for is_free, sim in zip(free, unit["sims"], strict=True)
            if is_free
        )
        if all(listed):
            yield chosen


@settings(max_examples=150)
@given(SEEDS)
def test_the_answer_is_the_cheapest_assignment_within_the_limits(seed):
    unit = unit_of(random.Random(seed))  # noqa: S311 - test data
    problem, optimum = problem_of(unit), cheapest(unit)
    if optimum is None:
        with pytest.raises(InfeasibleError):
            solve_unit(problem, SolveParams())
        return
    result = solve_unit(problem, SolveParams()).result
    plans = result.assignment.tolist()
    multipliers = multipliers_of(result.certificate)
    assert oracle.is_feasible(unit, plans, multipliers)
    assert result.cost_micros == oracle.cost(unit, plans) == optimum
    assert result.lower_bound_micros == oracle.bound(unit, multipliers) <= optimum
    for candidate in simple_candidates(unit):
        if keeps_limits(unit, candidate):
            assert result.cost_micros <= oracle.cost(unit, candidate)
    if result.legacy_best_cost_micros is not None:
        assert result.cost_micros <= result.legacy_best_cost_micros
    if any(group["fixed"] for group in unit["groups"]):
        assert result.status is SolveStatus.FEASIBLE


@settings(max_examples=60)
@given(SEEDS)
def test_without_the_certified_solver_nothing_is_claimed_that_is_not_so(seed):
    """Walks, single plans and today's plans alone may be dear, their claims are checked all the same."""
    unit = unit_of(random.Random(seed))  # noqa: S311 - test data
    for plan in unit["plans"]:
        plan["least"], plan["most"] = 0, None
    result = solve_unit(problem_of(unit), SolveParams(is_certified=False)).result
    optimum = cheapest(unit)
    assert result.lower_bound_micros <= optimum <= result.cost_micros
    if result.status is SolveStatus.OPTIMAL:
        assert result.cost_micros == optimum


def result_or_refusal(problem):
    try:
        return solve_unit(problem, SolveParams()).result
    except InfeasibleError as refused:
        return str(refused)


@settings(max_examples=150)
@given(SEEDS)
@example(7607)  # moves towards one limit get stuck, and the others hold
def test_no_sim_changes_for_less_than_the_least_saving_at_the_multipliers(seed):
    rng = random.Random(seed)  # noqa: S311 - test data
    unit = unit_of(rng)
    unit["saving"] = rng.choice([1, 3, 10, 50])
    problem = problem_of(unit)
    if cheapest(unit) is None:
        with pytest.raises(InfeasibleError):
            solve_unit(problem, SolveParams())
        return
    current = [sim["current"] for sim in unit["sims"]]
    is_kept = keeps_limits(unit, current)
    result = result_or_refusal(problem)
    if isinstance(result, str):
        assert not is_kept, "today's plans keep every constraint"
        assert "min_saving_per_change is 0.0000" in result
        return
    plans = result.assignment.tolist()
    multipliers = multipliers_of(result.certificate)
    for sim, p in zip(unit["sims"], plans, strict=True):
        before, after = (oracle.bare_line(unit, sim, q, multipliers) for q in (sim["current"], p))
        assert p == sim["current"] or before - after >= unit["saving"]
    assert oracle.is_feasible(unit, plans, multipliers)
    least = oracle.cheapest(unit, multipliers)
    assert result.lower_bound_micros == oracle.bound(unit, multipliers) <= least
    assert least <= result.cost_micros == oracle.cost(unit, plans)
    if result.status is SolveStatus.OPTIMAL:
        assert result.cost_micros == least
    if is_kept:
        assert result.cost_micros <= result.baseline_cost_micros == oracle.cost(unit, current)


@settings(max_examples=150)
@given(SEEDS)
def test_where_no_pool_is_the_least_saving_is_refused_only_if_it_cannot_be_kept(seed):
    """Without pools a change saves the same at all multipliers, and limits ask for what they do."""
    rng = random.Random(seed)  # noqa: S311 - test data
    unit = unit_of(rng)
    unit["saving"] = rng.choice([1, 3, 10, 50])
    unit["pools"] = []
    for plan in unit["plans"]:
        plan["pool"] = [None] * len(unit["groups"])
    nothing = {"bits": 0, "pools": [], "plans": [0] * len(unit["plans"]), "change": 0}
    optimum = oracle.cheapest(unit, nothing)
    try:
        result = solve_unit(problem_of(unit), SolveParams()).result
    except InfeasibleError:
        assert optimum is None
        return
    assert oracle.is_feasible(unit, result.assignment.tolist(), nothing)
    assert result.lower_bound_micros <= optimum <= result.cost_micros


def one_sim(unit_saving):
    """Today 442 and two blocks of 133 in a pool: 708, or 442 + 19 * 133 / 12 = 652.6 by the byte."""
    pool = {"block": 12, "tiers": [(0, 133)]}
    nothing = {"cap": None, "sms": 0, "sms_rate": 0, "minutes": 0, "minute_rate": 0}
    nothing |= {"least": 0, "most": None}
    plans = [
        {"fee": [442] * 2, "included": [19] * 2, **pool, "pool": [0], **nothing},
        {"fee": [600] * 2, "included": [99] * 2, **pool, "pool": [None], **nothing},
    ]
    sim = {"usage": 38, "sms": 0, "seconds": 0, "day": 1, "group": 0, "current": 0, "locked": False}
    return problem_of(
        {
            "sims": [sim], "plans": plans, "pools": [pool],
            "groups": [{"plans": [0, 1], "fixed": False}], "charge": "rate_and_overage",
            "max_changes": None, "saving": unit_saving,
        }
    )  # fmt: skip


def test_the_saving_of_a_single_sim_in_a_pool_is_measured_at_the_multiplier_too():
    """The other plan costs 600: by whole blocks that saves 108, at the multiplier at most 52.6."""
    assert solve_unit(one_sim(0), SolveParams()).result.cost_micros == 600
    assert solve_unit(one_sim(100), SolveParams()).result.cost_micros == 708


def test_pools_of_tiny_blocks_and_huge_usage_are_polished_too():
    """Up to 10**13 blocks of two bytes: numbers among which an integer program would lose its way."""
    nothing = {"cap": None, "sms": 9, "sms_rate": 0, "minutes": 9, "minute_rate": 0}
    nothing |= {"least": 0, "most": None}
    pools = [{"block": 10, "tiers": [(0, 41_976)]}, {"block": 2, "tiers": [(0, 95_082)]}]
    included = [[4_947_802_324_993, 2_199_023_255_555], [9_895_604_649_987, 4_398_046_511_104]]
    plans = [
        {"fee": [83_316] * 2, "included": included[k], **pools[k], "pool": [k], **nothing}
        for k in (0, 1)
    ]
    usage = [
        35_184_372_088_835,
        2,
        549_755_813_888,
        2_748_779_069_442,
        3_848_290_697_216,
        15_942_918_602_754,
    ]
    sims = [
        {"usage": used, "sms": 0, "seconds": 0, "day": int(k not in (2, 4)), "group": 0,
         "current": int(k > 2), "locked": False}
        for k, used in enumerate(usage)
    ]  # fmt: skip
    unit = {
        "sims": sims, "plans": plans, "pools": pools,
        "groups": [{"plans": [0, 1], "fixed": False}], "charge": "overage", "max_changes": 5,
        "saving": 0,
    }  # fmt: skip
    result = solve_unit(problem_of(unit), SolveParams()).result
    assert result.lower_bound_micros <= cheapest(unit) == result.cost_micros


def test_limits_are_drawn_that_bind_that_do_not_and_that_cannot_be_kept():
    """What the other tests meet is worth their while."""
    found = {"impossible": 0, "binding": 0, "not binding": 0}
    for seed in range(150):
        unit = unit_of(random.Random(seed))  # noqa: S311 - test data
        optimum = cheapest(unit)
        free = {**unit, "max_changes": None}
        free["plans"] = [{**plan, "least": 0, "most": None} for plan in unit["plans"]]
        kind = "impossible" if optimum is None else "not binding"
        if optimum is not None and cheapest(free) < optimum:
            kind = "binding"
        found[kind] += 1
    assert min(found.values()) >= 20, found
