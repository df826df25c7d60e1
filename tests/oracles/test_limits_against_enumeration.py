"""Every assignment of tiny units, counted in plain loops, against the limits of O8."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.billing.tariff import build_tariff
from core.domain import BillingPolicy, RatePlan
from core.errors import InfeasibleError
from core.optimiser.limits import least_change_assignment, require_feasible, violations
from core.problem import INDIVIDUAL, NO_LIMIT, Group, Problem

CODES = "ABCD"
TARIFF = build_tariff(
    [
        RatePlan(
            code=code, monthly_rate_micros=1, included_bytes=1, overage_rate_micros=1,
            overage_block_bytes=1, is_pooled=False,
        )
        for code in CODES
    ],
    BillingPolicy(),
)  # fmt: skip


def problem_of(sims, groups, *, least=None, most=None, max_changes=None):
    """SIMs as (group, current plan, locked); groups as (plan list, fixed)."""
    n, limits = len(sims), range(len(CODES))
    zeros = np.zeros(n, dtype=np.int64)
    return Problem(
        unit_id="U0001",
        tariff=TARIFF,
        groups=tuple(
            Group(group_id=f"G{k}", eligible=tuple(plans), is_fixed=is_fixed)
            for k, (plans, is_fixed) in enumerate(groups)
        ),
        usage_bytes=zeros,
        sms_count=zeros,
        voice_seconds=zeros,
        day_class=zeros.astype(np.int32),
        group=np.array([sim[0] for sim in sims], dtype=np.int32),
        comm_plan=zeros.astype(np.int32),
        current=np.array([sim[1] for sim in sims], dtype=np.int32),
        pool_of=np.full((len(CODES), len(groups)), INDIVIDUAL, dtype=np.int32),
        pool_block_bytes=np.zeros(0, dtype=np.int64),
        pool_tier_from_block=np.zeros((0, 1), dtype=np.int64),
        pool_tier_rate_micros=np.zeros((0, 1), dtype=np.int64),
        is_locked=np.array([sim[2] for sim in sims], dtype=bool),
        min_sims=np.array([(least or {}).get(p, 0) for p in limits], dtype=np.int64),
        max_sims=np.array([(most or {}).get(p, NO_LIMIT) for p in limits], dtype=np.int64),
        max_changes=max_changes,
    )


def is_allowed(assignment, sims, groups, least, most, max_changes):
    """The rule, SIM by SIM."""
    changes = 0
    for plan, (group, current, is_locked) in zip(assignment, sims, strict=True):
        plans, is_fixed = groups[group]
        if plan != current:
            changes += 1
            if is_locked or is_fixed or plan not in plans:
                return False
    if any(assignment.count(plan) < number for plan, number in least.items()):
        return False
    if any(assignment.count(plan) > number for plan, number in most.items()):
        return False
    return max_changes is None or changes <= max_changes


plan_numbers = st.integers(0, len(CODES) - 1)
is_rare = st.sampled_from([False, False, True])


def limits_of(*numbers):
    """A limit per plan, in tight numbers; None for no limit."""
    each = st.sampled_from([None, *numbers])
    return st.tuples(*[each] * len(CODES)).map(
        lambda row: {plan: number for plan, number in enumerate(row) if number is not None}
    )


units = st.tuples(
    st.lists(st.tuples(st.integers(0, 2), plan_numbers, is_rare), max_size=4),
    st.tuples(*[st.tuples(st.sets(plan_numbers).map(sorted), is_rare)] * 3),
    limits_of(0, 1, 2),
    limits_of(0, 1, 2, 3),
    st.none() | st.integers(0, 3),
)


@settings(max_examples=150, deadline=None)
@given(units)
def test_fewest_changes_and_infeasibility_are_those_of_all_assignments(unit):
    sims, groups, least, most, max_changes = unit
    problem = problem_of(sims, groups, least=least, most=most, max_changes=max_changes)
    best = None
    for assignment in product(range(len(CODES)), repeat=len(sims)):
        allowed = is_allowed(assignment, sims, groups, least, most, max_changes)
        found = np.array(assignment, dtype=np.int32)
        assert (violations(problem, found) is None) == allowed
        if allowed:
            changes = sum(p != sim[1] for p, sim in zip(assignment, sims, strict=True))
            best = changes if best is None else min(best, changes)
    if best is None:
        with pytest.raises(InfeasibleError):
            least_change_assignment(problem)
        with pytest.raises(InfeasibleError):
            require_feasible(problem)
        return
    require_feasible(problem)
    answer = least_change_assignment(problem).tolist()
    assert is_allowed(tuple(answer), sims, groups, least, most, max_changes)
    assert sum(p != sim[1] for p, sim in zip(answer, sims, strict=True)) == best


A, B, C, D = range(4)
FREE = ([A, B, C, D], False)

INFEASIBLE = {
    "too few SIMs may get a plan": (
        [(0, A, False), (0, A, True)], [([A, B], False)], {"least": {B: 2}},
        "'B': min is 2, but only 1 SIMs have it or may get it",
    ),
    "locked SIMs fill a plan": (
        [(0, A, True)] * 3, [FREE], {"most": {A: 2}},
        "'A': max is 2, but 3 SIMs on it are locked or in a group that is skipped",
    ),
    "a skipped group fills a plan": (
        [(0, A, False)], [([A, B], True)], {"most": {A: 0}}, "'A': max is 0, but 1 SIMs on it",
    ),
    "SIMs have nowhere to go": (
        [(0, A, False)] * 5, [([A, B], False)], {"most": {A: 1, B: 2}},
        "rate plans with a max, all of them full: 'A' (max 1), 'B' (max 2)",
    ),
    "two plans need the same SIMs": (
        [(0, C, False)] * 3, [([A, B], False)], {"least": {A: 2, B: 2}},
        "min is 2, but the limits of all plans together leave it 1 SIMs short",
    ),
    "a plan needs more SIMs than there are changes": (
        [(0, A, False)] * 4, [FREE], {"least": {B: 3}, "max_changes": 2},
        "max_changes is 2, but the limits of the rate plans need at least 3 changes",
    ),
    "a unit without SIMs": ([], [FREE], {"least": {B: 1}}, "'B': min is 1, but only 0 SIMs"),
}  # fmt: skip


@pytest.mark.parametrize("case", INFEASIBLE)
def test_the_constraint_that_cannot_be_kept_is_named(case):
    sims, groups, limits, words = INFEASIBLE[case]
    with pytest.raises(InfeasibleError) as refused:
        require_feasible(problem_of(sims, groups, **limits))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ([C, A, A], "the SIM in row 0 of the unit may not get rate plan 'C'"),
        ([A, B, A], "the SIM in row 1 of the unit may not get rate plan 'B'"),
        ([A, A, A], "rate plan 'A': max is 2, and 3 SIMs are on it"),
        ([B, A, B], "max_changes is 1, and 2 SIMs change"),
        ([D, A, B], "rate plan 'D': max is 0, and 1 SIMs are on it"),
        ([A, A, B], None),
    ],
)
def test_the_violated_constraint_is_named(assignment, words):
    sims = [(0, A, False), (0, A, True), (0, A, False)]
    problem = problem_of(sims, [([A, B, D], False)], most={A: 2, D: 0}, max_changes=1)
    assert violations(problem, np.array(assignment, dtype=np.int32)) == words


def test_who_is_on_a_plan_stays_rather_than_another_comes():
    """Both could fill A, whose max is its min; the second one is there."""
    groups = [([A, D], False), ([D], False)]
    problem = problem_of([(0, C, False), (1, A, False)], groups, least={A: 1}, most={A: 1})
    assert least_change_assignment(problem).tolist() == [C, A]


def test_a_locked_sim_counts_towards_the_least_number():
    problem = problem_of([(0, A, True), (0, B, False)], [([A, B], False)], least={A: 1})
    assert least_change_assignment(problem).tolist() == [A, B]


def test_without_limits_nothing_changes():
    problem = problem_of([(0, A, False), (0, D, False)], [([A], False)])
    assert least_change_assignment(problem).tolist() == [A, D]


def test_a_plan_off_the_list_may_be_kept_and_is_left_for_good():
    """C is on no list: of three SIMs on it one has to leave, for the first plan without limits."""
    problem = problem_of([(0, C, False)] * 3, [([A, B], False)], most={C: 2, A: 0})
    assert least_change_assignment(problem).tolist() == [C, C, B]
    problem = problem_of([(0, A, False)] * 3, [([A, B], False)], least={C: 1})
    with pytest.raises(InfeasibleError, match="'C': min is 1"):
        require_feasible(problem)


def test_first_rows_stay_and_the_next_go_to_plans_in_order():
    sims = [(0, A, False)] * 6
    problem = problem_of(sims, [FREE], most={A: 2}, least={C: 2, B: 1})
    assert least_change_assignment(problem).tolist() == [A, A, B, B, C, C]


def test_two_million_sims_in_a_thousand_groups_are_counted_not_walked():
    """A chain of moves: A is too full, only B may take its SIMs, and B's must make room."""
    n, n_groups = 2_000_000, 1_000
    rows = np.arange(n)
    problem = problem_of(
        [(g, A, False) for g in range(n_groups)] * 2,
        [([A, B] if g % 2 else [B, C], False) for g in range(n_groups)],
    )
    zeros = np.zeros(n, dtype=np.int64)
    group = (rows % n_groups).astype(np.int32)
    current = np.where(group % 2, A, B).astype(np.int32)
    problem = replace(
        problem, usage_bytes=zeros, sms_count=zeros, voice_seconds=zeros, group=group,
        day_class=zeros.astype(np.int32), comm_plan=zeros.astype(np.int32), current=current,
        is_locked=rows % 10 == 0,
        max_sims=np.array([600_001, 1_100_000, NO_LIMIT, NO_LIMIT]),
    )  # fmt: skip
    answer = least_change_assignment(problem)
    assert violations(problem, answer) is None
    assert np.bincount(answer, minlength=4).tolist() == [600_001, 1_100_000, 299_999, 0]
    assert np.count_nonzero(answer != current) == 399_999 + 299_999
