from __future__ import annotations

import numpy as np
import pytest

from core.billing.tariff import build_tariff
from core.domain import (
    WALK_STRATEGIES,
    BillingPolicy,
    ChargeType,
    Portal,
    RatePlan,
    Strategy,
    walk_strategies,
)
from core.errors import DataError
from core.optimiser import walks
from core.optimiser.result import NOT_WALKED, SolveParams
from core.optimiser.walks import walk_group
from core.problem import INDIVIDUAL, NO_LIMIT, Group, Problem

DOWN, UP, PLANS_DOWN, PLANS_UP = WALK_STRATEGIES


def plan(code, fee, included, *, is_pooled=True, **more):
    """Overage costs 1 micro-unit per byte."""
    return RatePlan(
        code=code,
        monthly_rate_micros=fee,
        included_bytes=included,
        overage_rate_micros=1,
        overage_block_bytes=1,
        is_pooled=is_pooled,
        **more,
    )


def make_problem(plans, usage, sequences, *, comm_plan=None, current=None, sms=None):
    tariff = build_tariff(plans, BillingPolicy())
    n = len(usage)

    def column(values, dtype):
        return np.array([0] * n if values is None else values, dtype=dtype)

    pool_of = np.where(tariff.is_pooled, np.arange(len(plans)), INDIVIDUAL).astype(np.int32)
    return Problem(
        unit_id="U0001",
        tariff=tariff,
        groups=(
            Group(group_id="G0001", eligible=tuple(range(len(plans))), sequences=tuple(sequences)),
        ),
        usage_bytes=column(usage, np.int64),
        sms_count=column(sms, np.int64),
        voice_seconds=column(None, np.int64),
        day_class=column(None, np.int32),
        group=column(None, np.int32),
        comm_plan=column(comm_plan, np.int32),
        current=column(current, np.int32),
        pool_of=pool_of[:, np.newaxis],
        pool_block_bytes=np.ones(len(plans), dtype=np.int64),
        pool_tier_from_block=np.zeros((len(plans), 1), dtype=np.int64),
        pool_tier_rate_micros=np.ones((len(plans), 1), dtype=np.int64),
        is_locked=np.zeros(len(usage), dtype=bool),
        min_sims=np.zeros(len(tariff.codes), dtype=np.int64),
        max_sims=np.full(len(tariff.codes), NO_LIMIT, dtype=np.int64),
        charge_type=ChargeType.RATE_AND_OVERAGE,
    )


def walk(problem, *strategies):
    params = SolveParams(strategies=strategies or None)
    return walk_group(problem, 0, np.arange(problem.n_sims), params)


# A's max average usage before B: 10 + (20 - 10) / 1 = 20 bytes.
A, B = plan("A", 10, 10), plan("B", 20, 40)


def test_small_users_first_make_room_for_a_large_one():
    """5, 10 and 30 bytes average 15 in A: 3 fees of 10 and 45 - 30 = 15 of overage."""
    walked = walk(make_problem([A, B], [30, 10, 5], [(0, 1)]), UP)
    assert walked.best.tolist() == [0, 0, 0]
    assert walked.walks.cost_micros.tolist() == [[45]]


def test_a_large_user_that_comes_first_goes_to_the_larger_plan():
    """30 bytes exceed 20 and go to B; A then holds 10 and 5: 20 + 10 + 10 and no overage."""
    walked = walk(make_problem([A, B], [30, 10, 5], [(0, 1)]), DOWN)
    assert walked.best.tolist() == [1, 0, 0]
    assert walked.walks.cost_micros.tolist() == [[40]]


def test_a_communication_plan_goes_to_one_plan_as_a_whole():
    """Plan 0 averages 25 and exceeds 20; plan 1 averages 5."""
    problem = make_problem([A, B], [40, 5, 10, 5], [(0, 1)], comm_plan=[0, 1, 0, 1])
    assert walk(problem, PLANS_DOWN).best.tolist() == [1, 0, 1, 0]
    assert walk(problem, PLANS_UP).best.tolist() == [0, 0, 0, 0]  # (10 + 50) / 4 = 15


def test_communication_plans_of_equal_usage_are_walked_by_name():
    """Plan 1 (1 SIM, 25 bytes) comes after plan 0 (5 SIMs, 25 bytes) and fits: 50 / 6."""
    usage, comm_plan = [25, 5, 5, 5, 5, 5], [1, 0, 0, 0, 0, 0]
    problem = make_problem([A, B], usage, [(0, 1)], comm_plan=comm_plan)
    assert set(walk(problem, PLANS_DOWN).best.tolist()) == {0}
    problem = make_problem([A, B], usage, [(0, 1)], comm_plan=[0, 1, 1, 1, 1, 1])
    assert walk(problem, PLANS_DOWN).best.tolist() == [1, 0, 0, 0, 0, 0]


def test_individual_plans_take_no_part_in_averages_and_the_cheapest_one_is_taken():
    """On individual plans 30 bytes cost 10 + 20 in A and 20 in B, whatever the others use."""
    plans = [plan("A", 10, 10, is_pooled=False), plan("B", 20, 40, is_pooled=False)]
    for strategy in (UP, DOWN):
        walked = walk(make_problem(plans, [30, 10, 5], [(0, 1)]), strategy)
        assert walked.best.tolist() == [1, 0, 0]


def test_a_sim_that_stops_at_an_individual_plan_takes_the_cheapest_of_the_sequence():
    """9 bytes stop at A (10 included), but C costs 5 instead of 10."""
    plans = [
        plan("A", 10, 10, is_pooled=False),
        plan("B", 20, 40),
        plan("C", 5, 9, is_pooled=False),
    ]
    assert walk(make_problem(plans, [9], [(0, 1, 2)]), UP).best.tolist() == [2]
    assert walk(make_problem(plans, [9], [(0, 1)]), UP).best.tolist() == [0]


def test_messages_are_part_of_a_walks_cost():
    walked = walk(
        make_problem([plan("A", 10, 10, included_sms=1, sms_rate_micros=7)], [1], [(0,)], sms=[3]),
        UP,
    )
    assert walked.walks.cost_micros.tolist() == [[10 + 2 * 7]]


def test_of_equally_cheap_walks_the_one_with_fewer_changes_wins():
    twins = [plan("A", 10, 10), plan("B", 10, 10)]
    problem = make_problem(twins, [5, 5], [(0,), (1,)], current=[1, 1])
    walked = walk(problem)
    assert walked.best.tolist() == [1, 1]
    assert walked.walks.best_sequence == 1


def test_of_equal_walks_strategy_name_and_then_sequence_decide():
    walked = walk(make_problem([A, B], [5], [(0, 1), (0,)]))
    chosen = walked.walks.strategies[walked.walks.best_strategy]
    assert chosen is Strategy.GROUP_BY_COMM_PLAN_LARGEST_TO_SMALLEST
    assert walked.walks.best_sequence == 0


def test_a_later_sequence_that_may_be_cheaper_is_walked():
    """A costs 10 for 5 bytes, B 20: A alone comes second."""
    problem = make_problem([A, B], [5], [(1,), (0,)])
    params = SolveParams(strategies=(UP,), first_instance_limit=1)
    walked = walk_group(problem, 0, np.arange(1), params)
    assert walked.walks.cost_micros.tolist() == [[20], [10]]
    assert (walked.walks.first_sequence, walked.walks.best_sequence) == (0, 1)
    assert (walked.first.tolist(), walked.best.tolist()) == ([1], [0])


def test_a_later_sequence_that_must_be_dearer_is_pruned():
    problem = make_problem([A, B], [5], [(0,), (1,)])
    params = SolveParams(first_instance_limit=1)
    walks = walk_group(problem, 0, np.arange(1), params).walks
    assert walks.is_pruned.tolist() == [False, True]
    assert walks.cost_micros.tolist() == [[10] * 4, [NOT_WALKED] * 4]


def test_a_later_sequence_that_may_cost_the_same_is_walked():
    """It may need fewer changes, as here."""
    twins = [plan("A", 10, 10), plan("B", 10, 10)]
    problem = make_problem(twins, [5, 5], [(0,), (1,)], current=[1, 1])
    walked = walk_group(problem, 0, np.arange(2), SolveParams(first_instance_limit=1))
    assert walked.walks.is_pruned.tolist() == [False, False]
    assert walked.best.tolist() == [1, 1]
    assert walked.first.tolist() == [0, 0]


def test_the_first_sequences_are_walked_however_dear_they_are():
    problem = make_problem([A, B], [5], [(0,), (1,)])
    walks = walk_group(problem, 0, np.arange(1), SolveParams(first_instance_limit=2)).walks
    assert not walks.is_pruned.any()


def test_later_sequences_are_measured_by_the_first_ones_and_not_by_each_other():
    """A alone (10) is found in the first later batch; B (20) is not above the figure of 30."""
    problem = make_problem([A, B, plan("C", 30, 90)], [5], [(2,), (0,), (1,)])
    for size in (1, 2):
        params = SolveParams(strategies=(UP,), first_instance_limit=1, sequence_batch_size=size)
        walks = walk_group(problem, 0, np.arange(1), params).walks
        assert walks.cost_micros.tolist() == [[30], [10], [20]]


@pytest.mark.parametrize("name", ["first_instance_limit", "sequence_batch_size"])
def test_limits_of_sequences_are_at_least_one(name):
    with pytest.raises(ValueError, match=f"{name} is at least 1"):
        SolveParams(**{name: 0})


def test_mobility_walks_without_grouping():
    assert walk_strategies(Portal.M2M) == WALK_STRATEGIES
    assert walk_strategies(Portal.MOBILITY) == (
        Strategy.NO_GROUPING_LARGEST_TO_SMALLEST,
        Strategy.NO_GROUPING_SMALLEST_TO_LARGEST,
    )


@pytest.mark.parametrize("portal", [Portal.CUSTOMER, Portal.CROSS_PROVIDER])
def test_other_kinds_of_run_have_no_strategies_of_their_own(portal):
    with pytest.raises(ValueError, match="give m2m or mobility"):
        walk_strategies(portal)


def test_more_sequences_than_one_pass_takes_give_the_same_costs():
    sequences = [(0, 1), (1, 0), (0,), (1,)] * 40
    problem = make_problem([A, B], [30, 10, 5], sequences)
    params = SolveParams(first_instance_limit=1000)
    costs = walk_group(problem, 0, np.arange(3), params).walks.cost_micros
    assert costs.shape == (160, 4)
    assert (costs == np.tile(costs[:4], (40, 1))).all()


def test_a_group_without_sequences_has_no_walk():
    walked = walk(make_problem([A, B], [5], []))
    assert walked.best is None
    assert walked.walks.best_sequence == walked.walks.best_strategy == -1
    assert walked.walks.cost_micros.shape == (0, 4)


def test_walks_of_some_rows_of_a_unit_see_only_these():
    problem = make_problem([A, B], [30, 10, 5], [(0, 1)])
    walked = walk_group(problem, 0, np.array([0]), SolveParams(strategies=(UP,)))
    assert walked.best.tolist() == [1]


def test_a_group_beyond_the_range_of_the_arithmetic_is_refused(monkeypatch):
    monkeypatch.setattr(walks, "MAX_SIMS", 2)
    with pytest.raises(DataError, match="group G0001 has 3 SIMs"):
        walk(make_problem([A, B], [1, 2, 3], [(0, 1)]))
