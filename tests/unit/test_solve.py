from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from core.billing.tariff import build_tariff
from core.domain import BillingPolicy, ChargeType, RatePlan, SolveStatus, Strategy
from core.errors import InfeasibleError
from core.optimiser.result import SolveParams
from core.optimiser.solve import solve
from core.problem import INDIVIDUAL, NO_LIMIT, Group, Problem


def plan(code, fee, included, *, is_pooled=True):
    """Overage costs 1 micro-unit per byte."""
    return RatePlan(
        code=code,
        monthly_rate_micros=fee,
        included_bytes=included,
        overage_rate_micros=1,
        overage_block_bytes=1,
        is_pooled=is_pooled,
    )


def group(eligible, sequences=(), *, group_id="G0001", is_fixed=False):
    return Group(
        group_id=group_id,
        eligible=tuple(eligible),
        sequences=tuple(sequences),
        is_fixed=is_fixed,
    )


def make_problem(plans, usage, current, groups, *, group_of=None, charge_type="rate_and_overage"):
    """One pool per pooled plan, shared by all groups."""
    tariff = build_tariff(plans, BillingPolicy())
    n = len(usage)
    pool_of = np.where(tariff.is_pooled, np.arange(len(plans)), INDIVIDUAL).astype(np.int32)
    return Problem(
        unit_id="U0001",
        tariff=tariff,
        groups=tuple(groups),
        usage_bytes=np.array(usage, dtype=np.int64),
        sms_count=np.zeros(n, dtype=np.int64),
        voice_seconds=np.zeros(n, dtype=np.int64),
        day_class=np.zeros(n, dtype=np.int32),
        group=np.array([0] * n if group_of is None else group_of, dtype=np.int32),
        comm_plan=np.zeros(n, dtype=np.int32),
        current=np.array(current, dtype=np.int32),
        pool_of=np.repeat(pool_of[:, np.newaxis], len(groups), axis=1),
        pool_block_bytes=np.ones(len(plans), dtype=np.int64),
        pool_tier_from_block=np.zeros((len(plans), 1), dtype=np.int64),
        pool_tier_rate_micros=np.ones((len(plans), 1), dtype=np.int64),
        is_locked=np.zeros(n, dtype=bool),
        min_sims=np.zeros(len(tariff.codes), dtype=np.int64),
        max_sims=np.full(len(tariff.codes), NO_LIMIT, dtype=np.int64),
        charge_type=ChargeType(charge_type),
    )


POOLED = [plan("A", 10, 10), plan("B", 20, 40)]
WALKS_ONLY = SolveParams(is_certified=False)
"""Walks, the best single plan and the present plans compete; the certified solver does not."""

INDIVIDUAL_PLANS = [
    plan("A", 10, 10, is_pooled=False),
    plan("B", 20, 40, is_pooled=False),
    plan("C", 20, 40, is_pooled=False),
]


def test_individual_plans_are_solved_exactly():
    """5 bytes: 10 in A; 30 bytes: 20 in B, the first of two equal plans; 45 bytes: 25."""
    result = solve(
        make_problem(INDIVIDUAL_PLANS, [5, 30, 45], [1, 0, 0], [group([0, 1, 2])]), SolveParams()
    )
    assert result.status is SolveStatus.OPTIMAL
    assert result.strategy is Strategy.CHEAPEST_PLAN_PER_SIM
    assert result.assignment.tolist() == [0, 1, 1]
    assert result.cost_micros == 10 + 20 + 25
    assert result.baseline_cost_micros == 20 + 30 + 45
    assert result.legacy_best_cost_micros == 55
    assert result.lower_bound_micros == result.certificate.bound_micros == 55
    assert result.walks == ()


def test_a_sim_keeps_its_plan_where_no_other_is_cheaper():
    result = solve(
        make_problem(INDIVIDUAL_PLANS, [30, 30], [2, 0], [group([0, 1, 2])]), SolveParams()
    )
    assert result.assignment.tolist() == [2, 1]


def test_a_sim_may_keep_a_plan_that_its_list_lacks():
    problem = make_problem(INDIVIDUAL_PLANS, [5, 30], [0, 0], [group([1, 2])])
    result = solve(problem, SolveParams())
    assert result.assignment.tolist() == [0, 1]
    assert result.legacy_best_cost_micros == 20 + 20  # walks know the list only


def test_with_rate_only_every_sim_takes_the_lowest_fee():
    problem = make_problem(POOLED, [5, 999], [1, 1], [group([0, 1], [(0, 1)])], charge_type="rate")
    result = solve(problem, SolveParams())
    assert (result.status, result.cost_micros) == (SolveStatus.OPTIMAL, 20)
    assert result.assignment.tolist() == [0, 0]


def test_with_overage_only_fees_do_not_count():
    problem = make_problem(
        POOLED, [30, 10], [0, 0], [group([0, 1], [(0, 1), (1,)])], charge_type="overage"
    )
    result = solve(problem, SolveParams())
    assert result.baseline_cost_micros == 40 - 20
    assert result.cost_micros == 0


def test_one_sim_gets_its_cheapest_plan_even_if_that_is_pooled():
    result = solve(make_problem(POOLED, [30], [0], [group([0, 1])]), SolveParams())
    assert result.status is SolveStatus.OPTIMAL
    assert (result.assignment.tolist(), result.cost_micros) == ([1], 20)


def test_pooled_plans_take_the_cheapest_walk():
    """Largest first: 30 bytes in B, 10 and 5 in A: 40 (all in A: 45, all in B: 60)."""
    problem = make_problem(POOLED, [30, 10, 5], [1, 1, 1], [group([0, 1], [(0, 1)])])
    result = solve(problem, WALKS_ONLY)
    assert result.status is SolveStatus.FEASIBLE
    assert result.strategy is Strategy.NO_GROUPING_LARGEST_TO_SMALLEST
    assert result.group_strategy == (result.strategy,)
    assert result.cost_micros == result.legacy_best_cost_micros == 40
    assert len(result.walks) == 1


def test_the_bound_is_that_of_the_linear_relaxation_rounded_up():
    """With a part t of the 30 bytes in B, fees are 30 + 10 t and the overage in A is 15 - 20 t.

    The least is 37.5, at t = 3/4. Multipliers that prove it: 1/2 for A, where 30 bytes cost 10 + 10
    as in B, 10 bytes 10 and 5 bytes 7.5; and 0 for B. No assignment costs less than 40.
    """
    problem = make_problem(POOLED, [30, 10, 5], [1, 1, 1], [group([0, 1], [(0, 1)])])
    for params in (SolveParams(), WALKS_ONLY):
        result = solve(problem, params)
        assert (result.cost_micros, result.lower_bound_micros) == (40, 38)
        assert result.gap == 2 / 38
        scale = 1 << result.certificate.scale_bits
        of_a, of_b = result.certificate.pool_multipliers
        assert abs(of_a / scale - 0.5) < 1e-6
        assert of_b / scale < 1e-6


def test_the_certified_solver_wins_a_tie_by_name_and_proves_an_optimum_above_its_bound():
    problem = make_problem(POOLED, [30, 10, 5], [1, 1, 1], [group([0, 1], [(0, 1)])])
    result = solve(problem, SolveParams())
    assert result.status is SolveStatus.OPTIMAL
    assert result.strategy is Strategy.CERTIFIED
    assert result.assignment.tolist() == [1, 0, 0]
    assert result.cost_micros == result.legacy_best_cost_micros == 40
    assert result.group_sequence == ()


def test_only_the_given_strategies_are_walked():
    params = replace(WALKS_ONLY, strategies=(Strategy.NO_GROUPING_SMALLEST_TO_LARGEST,))
    problem = make_problem(POOLED, [30, 10, 5], [1, 1, 1], [group([0, 1], [(0, 1)])])
    result = solve(problem, params)
    assert result.cost_micros == 45
    assert result.walks[0].strategies == params.strategies


def test_the_current_assignment_wins_where_nothing_is_cheaper():
    problem = make_problem(POOLED, [30, 10, 5], [1, 0, 0], [group([0, 1], [(0,)])])
    result = solve(problem, WALKS_ONLY)
    assert result.strategy is Strategy.CURRENT_ASSIGNMENT
    assert result.assignment.tolist() == [1, 0, 0]
    assert result.cost_micros == result.baseline_cost_micros == 40
    assert result.legacy_best_cost_micros == 45
    result = solve(problem, SolveParams())
    assert result.assignment.tolist() == [1, 0, 0]  # found by the certified solver as well
    assert (result.status, result.cost_micros) == (SolveStatus.OPTIMAL, 40)


def test_skip_lower_cost_check_takes_the_best_changed_assignment():
    problem = make_problem(POOLED, [30, 10, 5], [1, 0, 0], [group([0, 1], [(0,)])])
    result = solve(problem, SolveParams(skip_lower_cost_check=True))
    assert result.cost_micros == 45 > result.baseline_cost_micros
    assert result.assignment.tolist() == [0, 0, 0]


def test_the_best_single_plan_wins_where_walks_are_poorer():
    """The only sequence is (B): 60. All in A: 45."""
    problem = make_problem(POOLED, [30, 10, 5], [1, 1, 1], [group([0, 1], [(1,)])])
    result = solve(problem, WALKS_ONLY)
    assert result.strategy is Strategy.BEST_SINGLE_PLAN
    assert (result.cost_micros, result.legacy_best_cost_micros) == (45, 60)


def test_a_plan_that_sims_have_is_one_for_all_though_it_is_not_on_their_list():
    """A is the present plan of the second group, whose list is B; 45 with all on A."""
    groups = [group([0, 1], [(1,)]), group([1], [(1,)])]
    problem = make_problem(POOLED, [30, 10, 5], [1, 1, 0], groups, group_of=[0, 0, 1])
    result = solve(problem, WALKS_ONLY)
    assert result.strategy is Strategy.BEST_SINGLE_PLAN
    assert (result.cost_micros, result.assignment.tolist()) == (45, [0, 0, 0])


def test_of_equally_cheap_assignments_the_one_with_fewer_changes_wins():
    """All in A costs as much as all in its twin B, where the only walk ends."""
    twins = [plan("A", 10, 10), plan("B", 10, 10)]
    problem = make_problem(twins, [5, 5], [0, 0], [group([0, 1], [(1,)])])
    result = solve(problem, SolveParams())
    assert result.legacy_best_cost_micros == result.cost_micros == 20
    assert result.assignment.tolist() == [0, 0]


def test_of_equal_sims_those_stay_on_a_plan_that_are_on_it():
    """Three SIMs with 100 bytes belong in B, where five without usage lend them their allowance.

    There they use 300 of 8 * 40 bytes, at 8 * 20. A sixth lender would cost 10 more than in A, and
    with four 20 bytes would have to be paid. Five without usage are in B today: these stay.
    """
    plans = [plan("A", 10, 0), plan("B", 20, 40)]
    current = [0] * 3 + [1] * 5 + [0] * 5
    problem = make_problem(plans, [100] * 3 + [0] * 10, current, [group([0, 1])])
    result = solve(problem, SolveParams())
    assert result.cost_micros == 8 * 20 + 5 * 10
    assert result.assignment.tolist() == [1] * 8 + [0] * 5


def test_a_sim_keeps_its_individual_plan_beside_a_pool_where_none_is_cheaper():
    """A and its twin cost the same; the pool C is too dear, and only makes the unit inseparable."""
    plans = [
        plan("A", 10, 10, is_pooled=False),
        plan("B", 10, 10, is_pooled=False),
        plan("C", 99, 9),
    ]
    problem = make_problem(plans, [5, 15, 0, 12], [1, 0, 1, 2], [group([0, 1, 2])])
    result = solve(problem, SolveParams())
    assert result.strategy is Strategy.CERTIFIED
    assert result.assignment.tolist() == [1, 0, 1, 0]
    assert result.cost_micros == result.lower_bound_micros == 10 + 15 + 10 + 12


def test_a_group_without_sequences_leaves_no_legacy_candidate():
    problem = make_problem(POOLED, [30, 10, 5], [1, 1, 1], [group([0, 1])])
    result = solve(problem, WALKS_ONLY)
    assert result.legacy_best_cost_micros is None
    assert result.strategy is Strategy.BEST_SINGLE_PLAN
    result = solve(problem, SolveParams())
    assert result.legacy_best_cost_micros is None
    assert result.cost_micros == 40


def test_a_group_with_an_empty_list_keeps_its_plans():
    for plans in (POOLED, INDIVIDUAL_PLANS):
        for skip in (False, True):
            problem = make_problem(plans, [30, 10], [0, 1], [group([])])
            result = solve(problem, SolveParams(skip_lower_cost_check=skip))
            assert result.assignment.tolist() == [0, 1]
            assert result.legacy_best_cost_micros is None


def test_a_fixed_group_keeps_its_plans_and_shares_its_pools():
    """The fixed SIM leaves 40 - 0 bytes in B, so that 30 and 45 bytes share 80 + 40 there."""
    groups = [group([0, 1], is_fixed=True), group([0, 1], [(0, 1), (1,)], group_id="G0002")]
    problem = make_problem(POOLED, [0, 60, 60], [1, 0, 0], groups, group_of=[0, 1, 1])
    result = solve(problem, SolveParams())
    assert result.assignment.tolist() == [1, 1, 1]
    assert result.cost_micros == 60  # 120 bytes in a pool of 120
    assert result.group_strategy[0] is Strategy.CURRENT_ASSIGNMENT
    assert [walks.group_id for walks in result.walks] == ["G0002"]


def test_a_unit_of_fixed_groups_is_constant():
    problem = make_problem(POOLED, [30, 10], [1, 0], [group([0, 1], is_fixed=True)])
    result = solve(problem, SolveParams(skip_lower_cost_check=True))
    assert result.status is SolveStatus.FEASIBLE  # with its plans unlocked it may be cheaper
    assert result.strategy is Strategy.CURRENT_ASSIGNMENT
    assert result.cost_micros == result.baseline_cost_micros == result.legacy_best_cost_micros


@pytest.mark.parametrize("is_pooled", [True, False])
def test_skip_lower_cost_check_changes_something_although_nothing_is_saved(is_pooled):
    """All SIMs have the cheapest plan already; the other costs more and is taken nevertheless."""
    plans = [plan("A", 10, 50, is_pooled=is_pooled), plan("B", 20, 60, is_pooled=is_pooled)]
    problem = make_problem(plans, [30, 10], [0, 0], [group([0, 1], [(0, 1), (1,)])])
    assert solve(problem, SolveParams()).assignment.tolist() == [0, 0]
    result = solve(problem, SolveParams(skip_lower_cost_check=True))
    assert result.assignment.tolist() != [0, 0]
    assert result.status is SolveStatus.FEASIBLE
    assert result.cost_micros > result.baseline_cost_micros


def test_sims_without_a_choice_are_an_optimum():
    result = solve(make_problem(POOLED, [30, 10], [0, 0], [group([0], [(0,)])]), SolveParams())
    assert result.status is SolveStatus.OPTIMAL


def test_a_present_plan_in_a_pool_is_left_by_those_who_save_by_it():
    """30 bytes cost 30 in A and 20 in B, 10 bytes 10 in A; both in B 40, both in A 40."""
    plans = [plan("A", 10, 10, is_pooled=False), plan("B", 20, 40)]
    problem = make_problem(plans, [30, 10], [1, 1], [group([0])])
    result = solve(problem, SolveParams())
    assert result.assignment.tolist() == [1, 0]
    assert result.status is SolveStatus.OPTIMAL
    assert result.cost_micros == result.lower_bound_micros == 20 + 10
    result = solve(problem, WALKS_ONLY)
    assert result.status is SolveStatus.FEASIBLE
    assert (result.cost_micros, result.lower_bound_micros) == (40, 30)


def test_groups_are_walked_with_private_pools_and_priced_together():
    groups = [group([0, 1], [(0,)]), group([0, 1], [(0,)], group_id="G0002")]
    problem = make_problem(POOLED, [15, 5], [1, 1], groups, group_of=[0, 1])
    result = solve(problem, SolveParams())
    assert [int(walks.cost_micros.min()) for walks in result.walks] == [15, 10]
    assert result.legacy_best_cost_micros == 20  # together 20 bytes in a pool of 20


def test_a_unit_without_sims_is_an_optimum_of_nothing():
    result = solve(make_problem(POOLED, [], [], [group([0, 1], [(0,)])]), SolveParams())
    assert (result.status, result.cost_micros) == (SolveStatus.OPTIMAL, 0)


@pytest.mark.parametrize("usage", [[7] * 9, [0] * 9, [0] * 8 + [10**12]])
def test_equal_zero_and_giant_usages_are_normal_inputs(usage):
    sequences = [(0, 1), (0,), (1,)]
    problem = make_problem(POOLED, usage, [1] * 9, [group([0, 1], sequences)])
    result = solve(problem, SolveParams())
    assert result.cost_micros <= result.baseline_cost_micros


def test_the_order_of_rows_does_not_change_the_cost():
    usage = [30, 10, 5, 0, 0, 22, 17]
    sequences = [(0, 1), (0,), (1,), (1, 0)]
    there = make_problem(POOLED, usage, [1] * 7, [group([0, 1], sequences)])
    back = make_problem(POOLED, usage[::-1], [1] * 7, [group([0, 1], sequences)])
    one, other = solve(there, SolveParams()), solve(back, SolveParams())
    assert one.cost_micros == other.cost_micros
    assert one.assignment.tolist() == other.assignment.tolist()[::-1]


def test_the_legacy_figure_is_that_of_the_first_sequences_and_a_later_one_may_win():
    """For 190 and 0 bytes B alone costs 200; with A for the second SIM 110."""
    plans = [plan("A", 10, 10), plan("B", 100, 200)]
    problem = make_problem(plans, [190, 0], [0, 0], [group([0, 1], [(1,), (0, 1)])])
    result = solve(problem, replace(WALKS_ONLY, first_instance_limit=1))
    assert result.legacy_best_cost_micros == 200
    assert (result.cost_micros, result.group_sequence) == (110, (1,))
    for limit, legacy in ((1, 200), (2, 110)):
        result = solve(problem, SolveParams(first_instance_limit=limit))
        assert (result.legacy_best_cost_micros, result.cost_micros) == (legacy, 110)


def test_the_first_sequences_win_where_a_later_one_is_dearer_at_true_scope():
    """20 bytes cost 10 + 10 in A and 15 in B, but a fixed group leaves 10 bytes in the pool of A."""
    plans = [plan("A", 10, 10), plan("B", 15, 40), plan("C", 100, 200)]
    groups = [
        group([0, 1, 2], [(0, 2), (1, 2)]),
        group([0], group_id="G0002", is_fixed=True),
    ]
    problem = make_problem(plans, [20, 190, 0], [0, 0, 0], groups, group_of=[0, 0, 1])
    result = solve(problem, replace(WALKS_ONLY, first_instance_limit=1))
    assert result.walks[0].best_sequence == 1
    assert result.cost_micros == result.legacy_best_cost_micros == 120
    assert result.assignment.tolist() == [0, 2, 0]
    assert result.group_sequence == (0, -1)


@pytest.mark.parametrize("size", [1, 7, 256])
def test_the_result_does_not_depend_on_the_size_of_batches_of_sequences(size):
    rng = np.random.default_rng(4)
    plans = [plan(f"P{k}", 10 * k + 3, 12 * k * k) for k in range(5)]
    sequences = list(permutations(range(5), 3))
    usage = rng.lognormal(3, 1.5, 60).astype(np.int64).tolist()
    problem = make_problem(plans, usage, [0] * 60, [group(range(5), sequences)])
    one = solve(problem, SolveParams(first_instance_limit=10, sequence_batch_size=60))
    other = solve(problem, SolveParams(first_instance_limit=10, sequence_batch_size=size))
    assert one.walks[0].is_pruned.any()
    assert not one.walks[0].is_pruned[10:].all()
    for name in ("assignment", "cost_micros", "group_sequence", "legacy_best_cost_micros"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert np.array_equal(one.walks[0].cost_micros, other.walks[0].cost_micros)


def test_walks_that_break_a_limit_end_in_words_where_todays_plans_break_it_too():
    """Two SIMs have to leave A; walks and the best single plan put all on one plan."""
    plans = [plan("A", 1, 10), plan("B", 9, 10)]
    problem = make_problem(plans, [5] * 4, [0] * 4, [group([0, 1], sequences=[(0, 1), (1, 0)])])
    limits = np.full(2, 2, dtype=np.int64)
    problem = replace(problem, max_sims=limits)
    strategy = Strategy.NO_GROUPING_LARGEST_TO_SMALLEST
    walk = SolveParams(strategies=(strategy,), is_certified=False)
    with pytest.raises(InfeasibleError, match=r"neither today's plans nor walks.*'A'.*certified"):
        solve(problem, walk)
    assert sorted(solve(problem, SolveParams()).assignment.tolist()) == [0, 0, 1, 1]
